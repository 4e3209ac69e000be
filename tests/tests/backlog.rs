//! The receive queues of the processors. While they are full, packets of other tests could be dropped as well: these run by
//! themselves.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat};
use tests::frame::ethernet;
use tests::kernel::{self, Known};
use tests::trials::{self, trial_as_root};
use tests::wire::Wire;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("backlog_of_a_processor_is_explained", || alone(backlog_of_a_processor_is_explained)),
        trial_as_root("backlog_of_a_processor_agrees", || alone(backlog_of_a_processor_agrees)),
    ])
}

/// One test at a time.
fn alone(test: fn() -> Result<()>) -> Result<()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock();
    test()
}

/// An `EtherType` for experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88b5;
/// Copies of each frame at each of the interfaces.
const COPIES: usize = 12;
const BACKLOG: &str = "softnet_dropped";

/// A host in which each frame becomes 12³ frames, which are more than the receive queue of a processor takes
/// (`net.core.netdev_max_backlog`, 1,000).
fn multiplier() -> Result<Wire> {
    let wire = Wire::new()?;
    let mut table = "table netdev multiplier {".to_owned();
    for (from, to) in [("host0", "a"), ("a1", "b"), ("b1", "c")] {
        wire.host.commands(&format!(
            "ip link add name {to}0 type veth peer name {to}1
             ip link set {to}0 up
             ip link set {to}1 up"
        ))?;
        let copies = format!("dup to {to}0; ").repeat(COPIES);
        write!(table, " chain {from} {{ type filter hook ingress device {from} priority 0; {copies} }};")?;
    }
    wire.host.probe(&format!("nft '{table} }}'"))?;
    Ok(wire)
}

/// Sends a frame, and returns how many packets the receive queues of all processors dropped meanwhile.
fn overrun(wire: &Wire) -> Result<u64> {
    let before = backlog_drops()?;
    wire.send(&ethernet(EXPERIMENTAL, &[0; 46]))?;
    drained()?;
    let dropped = backlog_drops()? - before;
    ensure!(dropped > 0, "no packet was dropped");
    Ok(dropped)
}

/// The second column of `softnet_seq_show` (`net/core/net-procfs.c`).
fn backlog_drops() -> Result<u64> {
    let lines = fs::read_to_string("/proc/net/softnet_stat").context("reading softnet_stat")?;
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    Ok(lines.lines().filter_map(dropped).sum())
}

/// The row of a counter in a list of counters.
fn row<'l>(list: &'l Value, counter: &str) -> Result<&'l Value> {
    let found = list.as_array().and_then(|rows| rows.iter().find(|row| row["counter"] == counter));
    found.with_context(|| format!("no {counter} in {list}"))
}

fn number(row: &Value, field: &str) -> Result<u64> {
    row[field].as_u64().with_context(|| format!("no {field} in {row}"))
}

/// Other hosts' drops in the queues may be among the rises, as the queues belong to all namespaces.
fn backlog_of_a_processor_is_explained() -> Result<()> {
    let wire = multiplier()?;
    let mut dropped = 0;
    let stat = Stat::during(&[], || {
        dropped = overrun(&wire)?;
        Ok(())
    })?;
    let row = row(&stat.0["outside"]["counters"], BACKLOG)?;
    let cpus = row["cpus"].as_array().context("no processors")?;
    let by_cpu: u64 = cpus.iter().map(|cpu| number(cpu, "rise")).sum::<Result<_>>()?;
    let rise = number(row, "rise")?;
    ensure!(rise >= dropped && by_cpu == rise && row["netns"].is_null() && row["outside"] == 0, "{dropped}: {row}");
    if kernel::reason("CPU_BACKLOG")? != Known::NoReasons {
        ensure!(number(row, "explained")? == rise, "{row}");
    }
    let stat = Droptrace::start(&["stat"])?;
    overrun(&wire)?;
    let text = stat.finish()?.stdout;
    let line = text.lines().find(|line| line.starts_with("among the drops: "));
    ensure!(line.is_some_and(|line| line.contains(" softnet_dropped (CPU ")), "{text}");
    Ok(())
}

fn backlog_of_a_processor_agrees() -> Result<()> {
    let wire = multiplier()?;
    let droptrace = Droptrace::start(&["reconcile", "--format", "json"])?;
    let dropped = overrun(&wire)?;
    let document: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
    let row = row(&document["counters"], BACKLOG)?;
    ensure!(row["verdict"] == "agrees" && number(row, "least")? >= dropped && row["outside"] == 0, "{row}");
    let own = wire.host.inum().to_string();
    let droptrace = Droptrace::start(&["reconcile", "--format", "json", "--netns", &own])?;
    overrun(&wire)?;
    let document: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
    let rows = document["counters"].as_array().context("no counters")?;
    ensure!(!rows.iter().any(|row| row["counter"] == BACKLOG), "the queues do not belong to a namespace: {document}");
    Ok(())
}
