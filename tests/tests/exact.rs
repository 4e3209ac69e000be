//! A storm of drops, a million of them on an ordinary machine, counted to the last one.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use tests::droptrace::{Droptrace, Stat};
use tests::storm::{REASON, Storm, datagrams};
use tests::trials::{self, trial_as_root};

const DATAGRAMS: u64 = 1_000_000;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("storm_with_tp_btf", || storm(&["--mode", "tp_btf"])),
        trial_as_root("storm_with_raw_tracepoint", || storm(&["--mode", "raw_tracepoint"])),
        trial_as_root("storm_of_the_whole_host", || storm(&[])),
        trial_as_root("storm_while_read", storm_while_read),
    ])
}

/// Sends all datagrams: the kernel's count of drops.
fn send_all(storm: &Storm) -> Result<u64> {
    let sent = datagrams(DATAGRAMS)?;
    storm.send(sent)?;
    let (dropped, received) = (storm.dropped()?, storm.received()?);
    ensure!(dropped + received == sent, "{dropped} dropped and {received} received are not {sent}");
    Ok(dropped)
}

fn counted(stat: &Stat, storm: &Storm) -> Result<u64> {
    let drops = stat.drops_of(REASON)?;
    let here = drops.iter().filter(|drop| drop.netns == u64::from(storm.host.inum()));
    Ok(here.map(|drop| drop.packets).sum())
}

fn storm(arguments: &[&str]) -> Result<()> {
    let storm = Storm::new()?;
    let inum = storm.host.inum().to_string();
    let netns = ["--netns", &inum];
    let arguments = if arguments.is_empty() { vec![] } else { [&netns, arguments].concat() };
    let mut dropped = 0;
    let stat = Stat::during(&arguments, || {
        dropped = send_all(&storm)?;
        Ok(())
    })?;
    let counted = counted(&stat, &storm)?;
    ensure!(counted == dropped, "droptrace counts {counted}, the kernel {dropped}");
    Ok(())
}

/// Reading the totals takes nothing away and adds nothing.
fn storm_while_read() -> Result<()> {
    let storm = Storm::new()?;
    let inum = storm.host.inum().to_string();
    let arguments = ["stat", "--format", "json", "--netns", &inum, "--interval", "10ms"];
    let droptrace = Droptrace::start(&arguments)?;
    let dropped = send_all(&storm)?;
    let documents = droptrace.finish()?.stdout;
    let mut last = 0;
    let mut readings = 0;
    for document in documents.lines() {
        let now = counted(&Stat::parse(document)?, &storm)?;
        ensure!(now >= last, "the count falls from {last} to {now}");
        last = now;
        readings += 1;
    }
    ensure!(last == dropped, "droptrace counts {last}, the kernel {dropped}");
    ensure!(readings > 2, "only {readings} readings in so many drops");
    Ok(())
}
