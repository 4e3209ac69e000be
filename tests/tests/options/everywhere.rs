//! Options that many commands have: form, file, colours, words on stderr.

use std::fs;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::droptrace::{Droptrace, command};
use tests::folder::Folder;
use tests::trials::{Unable, trial, trial_as_root};

use super::run;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("a_form_is_chosen", a_form_is_chosen),
        trial("results_go_to_a_file", results_go_to_a_file),
        trial("colours_are_wanted", colours_are_wanted),
        trial("recorded_drops_are_filtered", recorded_drops_are_filtered),
        trial("more_is_said", more_is_said),
        trial("algorithms_are_shown_as_asked", algorithms_are_shown_as_asked),
        trial_as_root("a_form_is_chosen_as_root", a_form_is_chosen_as_root),
        trial_as_root("results_go_to_a_file_as_root", results_go_to_a_file_as_root),
        trial_as_root("a_benchmark_is_shown_as_asked", a_benchmark_is_shown_as_asked),
        trial_as_root("more_is_said_as_root", more_is_said_as_root),
    ]
}

/// A recording of one drop.
pub(super) const RECORDING: &str = r#"{"schema":"droptrace.raw.v1","host":"h","kernel":"k","started_at":"2026-11-26T10:00:00Z","captured":128,"home_netns":1}
{"schema":"droptrace.raw.v1","source":"ebpf","timestamp":"2026-11-26T10:00:00Z","received_ns":1,"reason":"NO_SOCKET","reason_number":3,"subsystem":"core","symbol":"tcp_v4_rcv","offset":1,"address":"0x1","ethertype":2048,"interface":"lo","ifindex":1,"netns_name":null,"length":0,"bytes":""}
{"schema":"droptrace.ledger.v1","sources":[],"union":null}
"#;

fn recorded(folder: &Folder) -> Result<String> {
    folder.write("recording", RECORDING)
}

/// Lines that each are a document, which text never is.
fn is_json(text: &str) -> bool {
    !text.is_empty() && text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|it| it.is_object()))
}

fn has_forms(arguments: &[&str]) -> Result<()> {
    let (text, json) = (run(arguments)?.stdout, run(&[arguments, &["--format", "json"]].concat())?.stdout);
    ensure!(!text.is_empty() && !is_json(&text) && is_json(&json), "{arguments:?}: {text} {json}");
    Ok(())
}

fn goes_to_a_file(arguments: &[&str]) -> Result<()> {
    let folder = Folder::new("output")?;
    let path = folder.path("out");
    let (to_stdout, to_file) = (run(arguments)?, run(&[arguments, &["--output", &path]].concat())?);
    let written = fs::read_to_string(path)?;
    ensure!(
        !to_stdout.stdout.is_empty() && to_file.stdout.is_empty() && !written.is_empty(),
        "{arguments:?}: {to_file:?}"
    );
    Ok(())
}

fn says_more(arguments: &[&str]) -> Result<()> {
    let (less, more) = (run(arguments)?.stderr, run(&[arguments, &["--verbose"]].concat())?.stderr);
    let names_what_runs = |text: &str| text.lines().any(|line| line.contains(" INFO ") && line.contains("Linux"));
    ensure!(names_what_runs(&more) && !less.contains(" INFO "), "{arguments:?}: {less} {more}");
    Ok(())
}

/// `--format` of `replay`, `explain`, `netlink families`, `family` and `listeners`.
fn a_form_is_chosen() -> Result<()> {
    let folder = Folder::new("format")?;
    let file = recorded(&folder)?;
    has_forms(&["replay", &file])?;
    let page = run(&["replay", &file, "--format", "html"])?.stdout;
    ensure!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
    ensure!(page.contains("<dt>packets dropped</dt><dd>1</dd>"), "{page}");
    has_forms(&["explain", "NO_SOCKET"])?;
    NETLINK.iter().try_for_each(|arguments| has_forms(arguments))
}

/// `--filter` of `replay`, or its words.
fn recorded_drops_are_filtered() -> Result<()> {
    let folder = Folder::new("filter")?;
    let file = recorded(&folder)?;
    let lines = |words: &[&str]| {
        Ok::<_, anyhow::Error>(run(&[&["replay", &file, "--format", "json"], words].concat())?.stdout.lines().count())
    };
    let (matching, other) = (lines(&["--filter", "site tcp_* and iface lo"])?, lines(&["--filter", "tcp"])?);
    ensure!((matching, other) == (2, 1), "{matching} {other}");
    ensure!((lines(&["reason", "NO_SOCKET"])?, lines(&["not", "ip"])?) == (2, 1));
    Ok(())
}

const NETLINK: [&[&str]; 3] = [&["netlink", "families"], &["netlink", "family", "nlctrl"], &["netlink", "listeners"]];
const SHORT: [&str; 2] = ["--duration", "100ms"];

/// `--output` of `replay`, `explain`, `netlink families`, `family` and `listeners`.
fn results_go_to_a_file() -> Result<()> {
    let folder = Folder::new("output-of")?;
    goes_to_a_file(&["replay", &recorded(&folder)?])?;
    goes_to_a_file(&["explain", "NO_SOCKET"])?;
    NETLINK.iter().try_for_each(|arguments| goes_to_a_file(arguments))
}

/// `--format`, `--output` and `--verbose` of `netlink crypto`.
fn algorithms_are_shown_as_asked() -> Result<()> {
    const CRYPTO: [&str; 2] = ["netlink", "crypto"];
    let tried = Droptrace::spawn(&mut command(&CRYPTO)?)?.wait()?;
    ensure!(tried.status.success(), Unable(tried.stderr));
    has_forms(&CRYPTO)?;
    goes_to_a_file(&CRYPTO)?;
    says_more(&CRYPTO)
}

/// `--color` of `replay`.
fn colours_are_wanted() -> Result<()> {
    let folder = Folder::new("color")?;
    let recording = recorded(&folder)?;
    let shown = |color| run(&["replay", &recording, "--color", color]);
    let (always, never) = (shown("always")?.stdout, shown("never")?.stdout);
    ensure!(always.contains('\x1b') && !never.contains('\x1b'), "{always} {never}");
    Ok(())
}

/// `--verbose` of `netlink families`, `family` and `listeners`.
fn more_is_said() -> Result<()> {
    NETLINK.iter().try_for_each(|arguments| says_more(arguments))
}

/// `--format` of `stat`, `trace` and `doctor`.
fn a_form_is_chosen_as_root() -> Result<()> {
    has_forms(&[&["stat"], &SHORT[..]].concat())?;
    has_forms(&[&["trace"], &SHORT[..]].concat())?;
    has_forms(&["doctor"])
}

/// `--output` of `stat`, `trace`, `snapshot` and `doctor`.
fn results_go_to_a_file_as_root() -> Result<()> {
    for command in ["stat", "trace", "snapshot"] {
        goes_to_a_file(&[&[command], &SHORT[..]].concat())?;
    }
    goes_to_a_file(&["doctor"])
}

/// `--format` and `--output` of `bench`.
fn a_benchmark_is_shown_as_asked() -> Result<()> {
    let bench = ["bench", "--quick", "--series", "cost", "--only", "nothing", "--rounds", "1", "--drops", "2048"];
    has_forms(&bench)?;
    goes_to_a_file(&bench)
}

/// `--verbose` of `stat`, `trace`, `snapshot`, `doctor` and `netlink watch`.
fn more_is_said_as_root() -> Result<()> {
    for command in [&["stat"][..], &["trace"], &["snapshot"], &["netlink", "watch", "nlctrl"]] {
        says_more(&[command, &SHORT].concat())?;
    }
    says_more(&["doctor"])
}
