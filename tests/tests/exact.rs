//! A storm of drops, a million of them on an ordinary machine, counted to the last one.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tests::PATIENCE;
use tests::droptrace::{Droptrace, Stat, command};
use tests::pace::Deadline;
use tests::storm::{REASON, Storm, datagrams};
use tests::trials::{self, trial_as_root};

const DATAGRAMS: u64 = 1_000_000;
/// Datagrams sent between two looks at what a reader wrote.
const PART: u64 = 5000;
/// How often the totals must have been read while the storm went on.
const READINGS: usize = 3;
/// The longest tick of the kernel, which is the resolution of times in totals.
const TICK: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("storm_with_tp_btf", || storm(&["--mode", "tp_btf"])),
        trial_as_root("storm_with_raw_tracepoint", || storm(&["--mode", "raw_tracepoint"])),
        trial_as_root("storm_of_the_whole_host", || storm(&[])),
        trial_as_root("storm_while_read", storm_while_read),
        trial_as_root("drops_are_within_the_time_of_the_run", drops_are_within_the_time_of_the_run),
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

/// Drops that go on while droptrace starts: none is counted before the time at which the run began.
fn drops_are_within_the_time_of_the_run() -> Result<()> {
    let arguments = ["stat", "--format", "json", "--netns", "self", "--duration", "300ms"];
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let has_ended = AtomicBool::new(false);
    let stdout = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                sender.send_to(b"nobody listens", nobody)?;
                thread::sleep(Duration::from_millis(1));
            }
            anyhow::Ok(())
        });
        let finished = Droptrace::spawn(&mut command(&arguments)?).and_then(Droptrace::wait);
        has_ended.store(true, Ordering::Relaxed);
        sender.join().map_err(|_| anyhow!("the sender panicked"))??;
        anyhow::Ok(finished?.stdout)
    })?;
    let last: Value = serde_json::from_str(stdout.lines().last().context("no results")?)?;
    let time = |value: &Value| Ok::<_, anyhow::Error>(humantime::parse_rfc3339(value.as_str().context("no time")?)?);
    let started = time(&last["started_at"])?;
    let drops = last["drops"].as_array().context("no drops")?;
    ensure!(!drops.is_empty(), "nothing was dropped");
    for drop in drops {
        ensure!(time(&drop["first_seen"])? + TICK >= started, "{} before {}", drop["first_seen"], last["started_at"]);
    }
    Ok(())
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
