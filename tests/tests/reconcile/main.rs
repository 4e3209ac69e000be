//! The forms of `droptrace reconcile`. What it says of each provoked drop is a part of the test `drops`.

mod conntrack;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Finished};
use tests::folder::Folder;
use tests::kernel::{self, Known};
use tests::netns::{Netns, Resident};
use tests::trials::{self, trial_as_root};
use tests::wire::udp;

const DATAGRAMS: u64 = 9;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("counters_are_shown_as_asked", counters_are_shown_as_asked),
        trial_as_root("a_run_has_a_time_and_an_interval", a_run_has_a_time_and_an_interval),
        trial_as_root("other_namespaces_are_left_out", other_namespaces_are_left_out),
        trial_as_root("full_table_of_connection_tracking", conntrack::full_table_of_connection_tracking),
    ])
}

/// A namespace with a process, in which datagrams find no socket.
struct Host {
    netns: Netns,
    _resident: Resident,
}

impl Host {
    fn new() -> Result<Self> {
        let netns = Netns::new()?;
        netns.command("ip link set lo up")?;
        let resident = netns.resident()?;
        Ok(Self { netns, _resident: resident })
    }

    fn drops(&self) -> Result<()> {
        for _ in 0..DATAGRAMS {
            // A socket of its own for each: the kernel reports the refusal by the next call of the same socket.
            udp(&self.netns, "127.0.0.1:0".parse()?)?.send_to(b"x", "127.0.0.1:9")?;
        }
        drained()
    }

    /// `droptrace reconcile` while datagrams are dropped.
    fn reconciled(&self, arguments: &[&str]) -> Result<Finished> {
        let droptrace = Droptrace::start(&[&["reconcile"], arguments].concat())?;
        self.drops()?;
        droptrace.finish()
    }

    /// The row of the counter of these datagrams in a document.
    fn row<'d>(&self, document: &'d Value) -> Option<&'d Value> {
        let is_own = |row: &&Value| row["netns"] == self.netns.inum() && row["counter"] == "UdpNoPorts";
        document["counters"].as_array().into_iter().flatten().find(is_own)
    }
}

/// `--format`, `--output`, `--color` and `--verbose`.
fn counters_are_shown_as_asked() -> Result<()> {
    let (host, folder) = (Host::new()?, Folder::new("reconcile")?);
    let always = host.reconciled(&["--color", "always"])?.stdout;
    let never = host.reconciled(&["--color", "never"])?;
    ensure!(always.contains('\x1b') && !never.stdout.contains('\x1b'), "{always} {never:?}");
    let inum = host.netns.inum().to_string();
    let line = never.stdout.lines().find(|line| line.contains("UdpNoPorts") && line.contains(&inum));
    ensure!(line.is_some_and(|line| line.ends_with("agrees")), "{}", never.stdout);
    let path = folder.path("report");
    let document = host.reconciled(&["--format", "json", "--output", &path, "--verbose"])?;
    ensure!(document.stdout.is_empty(), "{document:?}");
    let report: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let row = host.row(&report).context("no row")?;
    // Without reasons, the function alone says so.
    let drops = if kernel::reason("NO_SOCKET")? == Known::NoReasons { "possible" } else { "explained" };
    ensure!(row["most"] == DATAGRAMS && row[drops] == DATAGRAMS && report["wrong"] == 0, "{report}");
    ensure!(document.stderr.contains("INFO") && !never.stderr.contains("INFO"), "{document:?} {never:?}");
    Ok(())
}

/// `--duration`, without which the run would not end, and `--interval`.
fn a_run_has_a_time_and_an_interval() -> Result<()> {
    let host = Host::new()?;
    let inum = host.netns.inum().to_string();
    let readings = |interval: &str| -> Result<u64> {
        let arguments = ["--duration", "1s", "--format", "json", "--netns", &inum, "--interval", interval];
        let finished = Droptrace::start(&[&["reconcile"], &arguments[..]].concat())?.wait()?;
        let report: Value = serde_json::from_str(&finished.stdout)?;
        report["readings"].as_u64().context("no readings")
    };
    let (often, seldom) = (readings("100ms")?, readings("1h")?);
    ensure!(often > 2 && seldom == 2, "{often} readings, {seldom} readings");
    Ok(())
}

/// `--netns`.
fn other_namespaces_are_left_out() -> Result<()> {
    let (host, other) = (Host::new()?, Host::new()?);
    let inum = host.netns.inum().to_string();
    let droptrace = Droptrace::start(&["reconcile", "--format", "json", "--netns", &inum])?;
    host.drops()?;
    other.drops()?;
    let report: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
    ensure!(host.row(&report).is_some() && other.row(&report).is_none(), "{report}");
    ensure!(report["namespaces"] == 1, "{report}");
    Ok(())
}
