//! Drops of devices: both sources count as many packets and bytes for each trap as devlink does.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::droptrace::{Droptrace, Stat};
use tests::monitor;
use tests::netdevsim::{Device, Trap};
use tests::trials::{self, trial_as_root};

/// Packets that each trap takes at least.
const PACKETS: u64 = 5;
/// The subsystem of all hardware drops.
const HARDWARE: &str = "hardware";

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("ebpf_tp_btf", || by_the_program("tp_btf")),
        trial_as_root("ebpf_raw_tracepoint", || by_the_program("raw_tracepoint")),
        trial_as_root("ebpf_by_interface", other_interfaces_are_filtered),
        trial_as_root("ebpf_records", single_hardware_drops_are_reported),
        trial_as_root("net_dm_packet", || by_the_monitor("packet")),
        trial_as_root("net_dm_summary", || by_the_monitor("summary")),
        trial_as_root("net_dm_events", net_dm_reports_single_hardware_drops),
        trial_as_root("both_sources_see_each_hardware_drop", both_sources_see_each_hardware_drop),
    ])
}

/// The compared facts of a trap's drops; absent where a source does not report them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reported {
    group: Option<String>,
    interface: Option<String>,
    packets: u64,
    bytes: Option<u64>,
}

type Traps = BTreeMap<String, Reported>;

/// devlink's counts of the traps that drop packets.
fn counted(device: &Device) -> Result<Traps> {
    let interface = device.interface()?;
    let reported = |trap: Trap| Reported {
        group: Some(trap.group),
        interface: Some(interface.clone()),
        packets: trap.packets,
        bytes: Some(trap.bytes),
    };
    let traps: Traps =
        device.traps()?.into_iter().filter(|(_, trap)| trap.drops).map(|(name, trap)| (name, reported(trap))).collect();
    ensure!(traps.len() >= 10, "too few traps to mean anything: {traps:?}");
    Ok(traps)
}

/// The hardware drops among the rows of `stat`.
fn shown(stat: &Value) -> Result<Traps> {
    let rows = stat["drops"].as_array().context("no drops")?.iter().filter(|row| row["subsystem"] == HARDWARE);
    let mut traps = Traps::new();
    for row in rows {
        ensure!(row["symbol"].is_null() && row["address"].is_null(), "no drop site in the kernel's code: {row}");
        let text = |field: &str| row[field].as_str().map(str::to_owned);
        let reported = Reported {
            group: text("trap_group"),
            interface: text("interface"),
            packets: row["packets"].as_u64().context("no packets")?,
            bytes: row["bytes"].as_u64(),
        };
        let name = text("reason").context("no reason")?;
        ensure!(traps.insert(name, reported).is_none(), "a trap in two rows: {row}");
    }
    Ok(traps)
}

/// The hardware drops among the lines of `trace`, summed up.
fn traced(stdout: &str) -> Result<Traps> {
    let mut traps = Traps::new();
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["subsystem"] != HARDWARE {
            continue;
        }
        ensure!(line["transport"] == "udp" && line["protocol"] == "ipv4", "not the packet that was sent: {line}");
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        let reported = traps.entry(text("reason").context("no reason")?).or_default();
        (reported.group, reported.interface) = (text("trap_group"), text("interface"));
        reported.packets += 1;
        reported.bytes = Some(reported.bytes.unwrap_or(0) + line["length"].as_u64().context("no length")?);
    }
    Ok(traps)
}

fn by_the_program(mode: &str) -> Result<()> {
    let device = Device::new()?;
    let stat = Stat::during(&["--source", "ebpf", "--mode", mode], || device.run(PACKETS))?;
    let (shown, counted) = (shown(&stat.0)?, counted(&device)?);
    ensure!(shown == counted, "shown {shown:#?}, counted by devlink {counted:#?}");
    Ok(())
}

fn other_interfaces_are_filtered() -> Result<()> {
    let device = Device::new()?;
    let stat = Stat::during(&["--source", "ebpf", "--interface", "lo"], || device.run(PACKETS))?;
    let packets: u64 = counted(&device)?.values().map(|trap| trap.packets).sum();
    ensure!(shown(&stat.0)?.is_empty(), "drops of another interface: {}", stat.0["drops"]);
    let filtered = stat.ledger("filtered")?;
    ensure!(filtered >= packets, "{filtered} filtered, {packets} trapped");
    Ok(())
}

fn single_hardware_drops_are_reported() -> Result<()> {
    let device = Device::new()?;
    let droptrace = Droptrace::start(&["trace", "--format", "json", "--all", "--source", "ebpf"])?;
    device.run(PACKETS)?;
    let (traced, counted) = (traced(&droptrace.finish()?.stdout)?, counted(&device)?);
    ensure!(traced == counted, "traced {traced:#?}, counted by devlink {counted:#?}");
    Ok(())
}

fn by_the_monitor(mode: &str) -> Result<()> {
    let device = Device::new()?;
    let _alone = monitor::exclusively()?;
    let droptrace =
        Droptrace::start(&["stat", "--format", "json", "--source", "net-dm", "--net-dm-mode", mode, "--top", "0"])?;
    device.run(PACKETS)?;
    let stat: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
    let mut counted = counted(&device)?;
    if mode == "summary" {
        // In this mode, the drop monitor reports only names and numbers.
        for reported in counted.values_mut() {
            *reported = Reported { packets: reported.packets, ..Reported::default() };
        }
    }
    let shown = shown(&stat)?;
    ensure!(shown == counted, "shown {shown:#?}, counted by devlink {counted:#?}");
    let ledger = &stat["sources"][0]["ledger"];
    ensure!(ledger["drops"] == ledger["accounted"] && ledger["undecodable"] == 0, "{ledger}");
    Ok(())
}

fn net_dm_reports_single_hardware_drops() -> Result<()> {
    let device = Device::new()?;
    let _alone = monitor::exclusively()?;
    let droptrace = Droptrace::start(&["trace", "--format", "json", "--source", "net-dm"])?;
    device.run(PACKETS)?;
    let (traced, counted) = (traced(&droptrace.finish()?.stdout)?, counted(&device)?);
    ensure!(traced == counted, "traced {traced:#?}, counted by devlink {counted:#?}");
    Ok(())
}

fn both_sources_see_each_hardware_drop() -> Result<()> {
    let device = Device::new()?;
    let _alone = monitor::exclusively()?;
    let droptrace = Droptrace::start(&["trace", "--format", "json", "--all", "--source", "both"])?;
    device.run(PACKETS)?;
    let stdout = droptrace.finish()?.stdout;
    let (traced, counted) = (traced(&stdout)?, counted(&device)?);
    ensure!(traced == counted, "traced {traced:#?}, counted by devlink {counted:#?}");
    let by_both = serde_json::json!(["ebpf", "net_dm"]);
    for line in stdout.lines() {
        let line: Value = serde_json::from_str(line)?;
        ensure!(line["subsystem"] != HARDWARE || line["seen_by"] == by_both, "seen by one source only: {line}");
    }
    Ok(())
}
