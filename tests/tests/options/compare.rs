//! Both sources at once: `compare`, on a kernel that has the drop monitor.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished};
use tests::folder::Folder;
use tests::monitor;
use tests::trials::trial_as_root;

use super::capture::Host;
use super::last;

pub(super) fn trials() -> Vec<Trial> {
    [
        ("a_comparison_is_shown_as_asked", a_comparison_is_shown_as_asked as fn() -> Result<()>),
        ("a_comparison_has_a_time", a_comparison_has_a_time),
        ("a_comparison_has_bounds", a_comparison_has_bounds),
        ("a_comparison_has_a_filter", a_comparison_has_a_filter),
    ]
    .into_iter()
    .map(|(name, run)| {
        trial_as_root(name, move || {
            let _alone = monitor::exclusively()?;
            run()
        })
    })
    .collect()
}

/// A comparison of some drops. Its status shows whether they are explained, which this test does not check.
fn compared(arguments: &[&str], host: &Host) -> Result<Finished> {
    let droptrace = Droptrace::start(&[&["compare"], arguments].concat())?;
    host.drops()?;
    droptrace.signal(Signal::INT)?;
    droptrace.wait()
}

/// `--format`, `--output`, `--color` and `--verbose` of `compare`.
fn a_comparison_is_shown_as_asked() -> Result<()> {
    let (host, folder) = (Host::new()?, Folder::new("compare")?);
    let [always, never] = ["always", "never"].map(|color| compared(&["--color", color], &host));
    let (always, never) = (always?.stdout, never?);
    ensure!(always.contains('\x1b') && !never.stdout.contains('\x1b'), "{always} {never:?}");
    let path = folder.path("report");
    let document = compared(&["--format", "json", "--output", &path, "--verbose"], &host)?;
    ensure!(document.stdout.is_empty(), "{document:?}");
    ensure!(last(&fs::read_to_string(path)?)?["sites"].is_array(), "{document:?}");
    ensure!(last(&never.stdout).is_err(), "text is JSON: {never:?}");
    ensure!(document.stderr.lines().count() > never.stderr.lines().count(), "{document:?} {never:?}");
    Ok(())
}

/// `--duration` of `compare`: without it the run would not end.
fn a_comparison_has_a_time() -> Result<()> {
    let finished = Droptrace::start(&["compare", "--duration", "100ms"])?.wait()?;
    ensure!(finished.stdout.contains("by both sources"), "{finished:?}");
    Ok(())
}

/// The ledger of the kernel program.
fn ebpf(document: &Value) -> &Value {
    let sources = document["sources"].as_array();
    sources.into_iter().flatten().find(|it| it["source"] == "ebpf").unwrap_or(&Value::Null)
}

/// `--mode`, `--map-entries` and `--ring-size` of `compare`.
fn a_comparison_has_bounds() -> Result<()> {
    let hosts = (0..64).map(|_| Host::new()).collect::<Result<Vec<_>>>()?;
    let of = |arguments: &[&str]| -> Result<Value> {
        let droptrace = Droptrace::start(&[&["compare", "--format", "json"], arguments].concat())?;
        // The stopped process reads nothing, so the ring has all records.
        droptrace.signal(Signal::STOP)?;
        hosts.iter().try_for_each(Host::drops)?;
        droptrace.signal(Signal::CONT)?;
        droptrace.signal(Signal::INT)?;
        last(&droptrace.wait()?.stdout)
    };
    let small = of(&["--mode", "raw_tracepoint", "--map-entries", "1", "--ring-size", &tests::a_page()])?;
    let usual = of(&["--mode", "tp_btf"])?;
    ensure!(ebpf(&small)["mode"] == "raw_tracepoint" && ebpf(&usual)["mode"] == "tp_btf", "{small} {usual}");
    let reported =
        |document, pointer| Value::pointer(ebpf(document), pointer).and_then(Value::as_u64).unwrap_or_default();
    for pointer in ["/ledger/overflow", "/ledger/events/ring_full"] {
        let (small, usual) = (reported(&small, pointer), reported(&usual, pointer));
        ensure!(small > 0 && usual == 0, "{pointer}: {small} and {usual}");
    }
    Ok(())
}

/// `--filter` of `compare`: both sources leave out the same drops.
fn a_comparison_has_a_filter() -> Result<()> {
    let host = Host::new()?;
    for (filter, counted) in [(["--filter", "udp"], 3), (["--filter", "tcp"], 9)] {
        let finished = compared(&[&["--format", "json"], &filter[..]].concat(), &host)?;
        let document = last(&finished.stdout)?;
        ensure!(document["total"]["unexplained"] == 0, "{finished:?}");
        for source in document["sources"].as_array().into_iter().flatten() {
            let of = |field: &str| source["ledger"][field].as_u64().unwrap_or_default();
            ensure!(of("accounted") >= counted && of("filtered") >= 12 - counted, "{filter:?}: {source}");
        }
    }
    let refused = Droptrace::start(&["compare", "--filter", "reason NO_SOCKET"]).map(drop);
    let message = format!("{:#}", refused.err().context("a filter by reason")?);
    ensure!(message.contains("would count different drops"), "{message}");
    Ok(())
}
