//! A storm of drops, a million of them on an ordinary machine, counted to the last one.

use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use tests::PATIENCE;
use tests::droptrace::{Droptrace, Stat};
use tests::pace::Deadline;
use tests::storm::{REASON, Storm, datagrams};
use tests::trials::{self, trial_as_root};

const DATAGRAMS: u64 = 1_000_000;
/// Datagrams sent between two looks at what a reader wrote.
const PART: u64 = 5000;
/// How often the totals must have been read while the storm went on.
const READINGS: usize = 3;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("storm_with_tp_btf", || storm(&["--mode", "tp_btf"])),
        trial_as_root("storm_with_raw_tracepoint", || storm(&["--mode", "raw_tracepoint"])),
        trial_as_root("storm_of_the_whole_host", || storm(&[])),
        trial_as_root("storm_while_read", storm_while_read),
    ])
}

/// Sends datagrams, and more of them until `is_enough`; the kernel's count of drops.
fn send(storm: &Storm, mut is_enough: impl FnMut() -> Result<bool>) -> Result<u64> {
    let least = datagrams(DATAGRAMS)?;
    let (mut sent, deadline) = (0, Deadline::after(PATIENCE));
    while sent < least || !is_enough()? {
        storm.send(PART)?;
        sent += PART;
        ensure!(sent < least || !deadline.has_passed(), "still not enough after {sent} datagrams");
    }
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
        dropped = send(&storm, || Ok(true))?;
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
    let file = env::temp_dir().join(format!("droptrace-tests-readings-{}", std::process::id()));
    let path = file.to_str().context("the folder for temporary files is not UTF-8")?;
    let arguments = ["stat", "--format", "json", "--netns", &inum, "--interval", "10ms", "--output", path];
    let droptrace = Droptrace::start(&arguments)?;
    let dropped = send(&storm, || Ok(fs::read_to_string(&file)?.lines().count() >= READINGS))?;
    droptrace.finish()?;
    let documents = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let mut last = 0;
    for document in documents.lines() {
        let now = counted(&Stat::parse(document)?, &storm)?;
        ensure!(now >= last, "the count falls from {last} to {now}");
        last = now;
    }
    ensure!(last == dropped, "droptrace counts {last}, the kernel {dropped}");
    Ok(())
}
