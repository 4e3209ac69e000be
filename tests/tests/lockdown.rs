//! A kernel that hides its memory from root: counts stay exact, and records have the packet's bytes where the kernel
//! has casts (6.2 and later), else none.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat, command};
use tests::frame::udp4;
use tests::kernel;
use tests::trace::Trace;
use tests::trials::{self, Unable, trial_as_root};
use tests::wire::Wire;

const PORT: u16 = 9;
const DROPS: u64 = 20;
const REASON: &str = "NO_SOCKET";

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("counts_are_exact", || confidential(counts_are_exact)),
        trial_as_root("records_have_bytes_where_casts_read_them", || {
            confidential(records_have_bytes_where_casts_read_them)
        }),
        trial_as_root("records_have_stacks", || confidential(records_have_stacks)),
        trial_as_root("hardware_drops_are_said_to_be_missing", || confidential(hardware_drops_are_said_to_be_missing)),
        trial_as_root("the_helper_is_refused", || confidential(the_helper_is_refused)),
    ])
}

fn confidential(test: fn() -> Result<()>) -> Result<()> {
    ensure!(kernel::is_confidential(), Unable("this kernel is not locked down".to_owned()));
    test()
}

fn counts_are_exact() -> Result<()> {
    let wire = Wire::new()?;
    let stat = Stat::during(&["--netns", &wire.host.inum().to_string()], || {
        wire.repeat(DROPS, &udp4(PORT)?)?;
        drained()
    })?;
    let drops = stat.drops_of(REASON)?;
    let fits = drops.iter().filter(|drop| drop.interface.as_deref() == Some("host0"));
    let counted: u64 = fits.map(|drop| drop.packets).sum();
    ensure!(counted == DROPS, "{counted} drops on host0 of {DROPS}: {drops:#?}");
    Ok(())
}

fn records_have_bytes_where_casts_read_them() -> Result<()> {
    let has_casts = kernel::has_name("bpf_rdonly_cast")?;
    let wire = Wire::new()?;
    let frame = udp4(PORT)?;
    let droptrace =
        Droptrace::start(&["trace", "--format", "json", "--all", "--netns", &wire.host.inum().to_string()])?;
    wire.repeat(DROPS, &frame)?;
    drained()?;
    let finished = droptrace.finish()?;
    let is_warned = finished.stderr.contains("packets are shown without their addresses");
    ensure!(is_warned != has_casts, "bytes can be read: {has_casts}; {}", finished.stderr);
    let lines: Vec<Value> = finished.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let fits = |line: &&Value| {
        line["reason"] == REASON
            && line["interface"] == "host0"
            && line["length"] == frame.len()
            && line["transport"].is_null() != has_casts
            && line["source"].is_null() != has_casts
    };
    let records = u64::try_from(lines.iter().filter(fits).count()).context("too many records")?;
    ensure!(records == DROPS, "{records} records of {DROPS}: {}", finished.stdout);
    Ok(())
}

/// A call stack is no memory that the kernel hides.
fn records_have_stacks() -> Result<()> {
    let wire = Wire::new()?;
    let netns = wire.host.inum().to_string();
    let trace = Trace::during(&["--all", "--stack", "--netns", &netns], || {
        wire.repeat(DROPS, &udp4(PORT)?)?;
        drained()
    })?;
    let drops = trace.drops_of(REASON)?;
    ensure!(drops.len() as u64 >= DROPS, "{} of {DROPS} drops", drops.len());
    for drop in drops {
        let (symbol, offset) = (drop["symbol"].as_str().context("no symbol")?, &drop["offset"]);
        let site = format!("{symbol}+{:#x}", offset.as_u64().context("no offset")?);
        let stack = drop["stack"].as_array().with_context(|| format!("no stack: {drop}"))?;
        ensure!(stack.len() > 3 && stack[0] == *site, "{stack:?} does not begin at {site}");
    }
    Ok(())
}

fn hardware_drops_are_said_to_be_missing() -> Result<()> {
    ensure!(
        kernel::has_name("btf_trace_devlink_trap_report")?,
        Unable("this kernel does not report hardware drops".to_owned())
    );
    let finished = Droptrace::start(&["stat", "--source", "ebpf"])?.finish()?;
    let is_known = finished.stderr.contains("drops by network devices are not counted");
    ensure!(is_known, "no warning of what is missing: {}", finished.stderr);
    Ok(())
}

fn the_helper_is_refused() -> Result<()> {
    let finished =
        Droptrace::spawn(&mut command(&["stat", "--mode", "raw_tracepoint", "--duration", "1s"])?)?.wait()?;
    ensure!(finished.status.code() == Some(1), "{}: {}", finished.status, finished.stderr);
    ensure!(finished.stderr.contains("locked down"), "it does not say why: {}", finished.stderr);
    Ok(())
}
