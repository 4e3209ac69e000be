//! The real binary with bad input: it reports the error, ends in order, and never hangs.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Finished, Stat, binary, command};
use tests::folder::Folder;
use tests::frame::udp4;
use tests::netns::Netns;
use tests::storm::{REASON, Storm};
use tests::trials::{self, Unable, trial, trial_as_root};
use tests::wire::{Wire, udp};

fn main() -> ExitCode {
    trials::run([wrong_usage(), output(), endings(), vanishing()].into_iter().flatten().collect())
}

fn run(arguments: &[&str]) -> Result<Finished> {
    Droptrace::spawn(&mut command(arguments)?)?.wait()
}

/// The run must fail with `code` and say each of `words` on stderr.
fn refused(finished: &Finished, code: i32, words: &[&str]) -> Result<()> {
    let Finished { status, stderr, .. } = finished;
    ensure!(status.code() == Some(code), "{status} instead of {code}; it says: {stderr}");
    let missing = words.iter().find(|word| !stderr.contains(*word));
    ensure!(missing.is_none(), "it does not say {missing:?}: {stderr}");
    ensure!(!stderr.contains("panicked"), "it panics: {stderr}");
    Ok(())
}

fn wrong_usage() -> Vec<Trial> {
    vec![
        trial("duration_that_is_none", || refused(&run(&["--duration", "abc"])?, 2, &["--duration", "abc"])),
        trial("unknown_command", || refused(&run(&["dance"])?, 2, &["dance"])),
        trial("no_such_namespace", || refused(&run(&["--netns", "no-such"])?, 1, &["no-such"])),
        trial("no_such_namespace_by_number", || {
            refused(&run(&["--netns", "12345"])?, 1, &["inode number 12345", "lsns -t net", "pid:12345"])
        }),
        trial("option_of_another_command", || refused(&run(&["stat", "--all"])?, 2, &["--all", "droptrace trace"])),
        trial("negative_number", || refused(&run(&["--top", "-1"])?, 2, &["'-1' for '--top <N>'", "0 for all"])),
        trial("not_a_recording", || {
            refused(&run(&["replay", "/proc/version"])?, 1, &["not a recording", "trace -o FILE.dtr"])
        }),
        trial("function_without_an_explanation", || {
            refused(&run(&["explain", "vfs_read+0x91"])?, 1, &["vfs_read is a function", "--by site,reason"])
        }),
        trial("number_of_no_reason", || {
            refused(&run(&["explain", "65535"])?, 1, &["no drop reason with the number 65535"])
        }),
        trial("no_such_interface", || {
            refused(&run(&["--interface", "no-such"])?, 1, &["no-such", "no such interface"])
        }),
        trial("no_interface_with_this_index", || {
            refused(&run(&["--interface", "999999"])?, 1, &["--interface 999999", "no such interface"])
        }),
        trial("number_out_of_bounds", || {
            refused(&run(&["trace", "--snaplen", "99999"])?, 2, &["--snaplen", "write a whole number from 0 to 4096"])
        }),
    ]
}

fn output() -> Vec<Trial> {
    vec![
        trial("output_in_no_folder", || {
            refused(&run(&["--duration", "1s", "--output", "/no/such/folder"])?, 1, &["/no/such/folder"])
        }),
        trial_as_root("trace_to_a_file_that_may_not_grow", file_that_may_not_grow),
        trial_as_root("messages_that_nobody_reads_delay_nothing", messages_that_nobody_reads_delay_nothing),
        trial_as_root("stat_to_full_disk", || full_disk(&["stat", "--format", "json"])),
        trial_as_root("stat_as_text_to_full_disk", || full_disk(&["stat", "--format", "text"])),
        trial_as_root("trace_to_full_disk", || full_disk(&["trace", "--format", "json"])),
        trial_as_root("snapshot_to_full_disk", || full_disk(&["snapshot"])),
        trial_as_root("snapshot_to_closed_pipe", || closed_pipe(&["snapshot", "--duration", "500ms"])),
        trial_as_root("stat_to_closed_pipe", || closed_pipe(&["stat", "--format", "json", "--interval", "10ms"])),
        trial_as_root("stat_as_text_to_closed_pipe", || {
            closed_pipe(&["stat", "--format", "text", "--interval", "10ms"])
        }),
        trial_as_root("trace_to_closed_pipe", || closed_pipe(&["trace", "--all", "--format", "json"])),
        trial_as_root("trace_as_text_to_closed_pipe", || closed_pipe(&["trace", "--all"])),
    ]
}

fn full_disk(arguments: &[&str]) -> Result<()> {
    ensure!(fs::exists("/dev/full")?, Unable("no /dev/full".to_owned()));
    let finished = run(&[arguments, &["--duration", "300ms", "--output", "/dev/full"]].concat())?;
    refused(&finished, 1, &["/dev/full", "No space left"])
}

/// `ulimit -f`: as a full disk.
fn file_that_may_not_grow() -> Result<()> {
    let storm = Storm::new()?;
    let folder = Folder::new("may-not-grow")?;
    let file = folder.join("drops");
    let script = "ulimit -f 8 && exec \"$0\" trace --all --format json --duration 60s --output \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()?).arg(&file).stdin(Stdio::null());
    let mut droptrace = Droptrace::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    droptrace.await_attached()?;
    storm.send(1000)?;
    refused(&droptrace.wait()?, 1, &["drops", "File too large"])
}

/// A pipe of one page, which is full at once: the run ends all the same, and its results are whole.
fn messages_that_nobody_reads_delay_nothing() -> Result<()> {
    let (reader, writer) = io::pipe()?;
    rustix::pipe::fcntl_setpipe_size(&writer, 4096)?;
    let arguments = ["stat", "-vv", "--interval", "10ms", "--format", "json", "--duration", "2s"];
    let output = command(&arguments)?.stderr(writer).output()?;
    drop(reader);
    ensure!(output.status.success(), "{}", output.status);
    let last = String::from_utf8(output.stdout)?.lines().last().context("no results")?.to_owned();
    ensure!(serde_json::from_str::<Value>(&last)?["final"] == true, "the results are not whole: {last}");
    Ok(())
}

/// The reader is gone, as `head` is when it has seen enough: a normal end.
fn closed_pipe(arguments: &[&str]) -> Result<()> {
    let storm = Storm::new()?;
    let (reader, writer) = io::pipe()?;
    let mut droptrace = Droptrace::spawn(command(arguments)?.stdout(writer))?;
    drop(reader);
    droptrace.await_attached()?;
    storm.send(1000)?;
    let finished = droptrace.wait()?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    ensure!(!finished.stderr.contains("roken pipe"), "it complains: {}", finished.stderr);
    Ok(())
}

fn endings() -> Vec<Trial> {
    vec![
        trial_as_root("stat_interrupted_at_any_moment", || at_any_moment(&["stat", "--format", "json"], Signal::INT)),
        trial_as_root("stat_terminated_at_any_moment", || at_any_moment(&["stat", "--format", "json"], Signal::TERM)),
        trial_as_root("trace_interrupted_at_any_moment", || at_any_moment(&["trace", "--format", "json"], Signal::INT)),
        trial_as_root("snapshot_interrupted_at_any_moment", || at_any_moment(&["snapshot"], Signal::INT)),
        trial_as_root("trace_interrupted_in_a_storm", trace_interrupted_in_a_storm),
        trial_as_root("two_at_once", two_at_once),
    ]
}

/// Runs that were attached when the signal came.
const ATTACHED: usize = 3;

/// Signals runs later and later after their start, until enough of them were attached by then. Their start takes as
/// long as the machine needs: it is measured, and divided into steps.
fn at_any_moment(arguments: &[&str], signal: Signal) -> Result<()> {
    const STEPS: u32 = 8;
    let started = Instant::now();
    let droptrace = Droptrace::start(arguments)?;
    let step = started.elapsed() / STEPS;
    droptrace.finish()?;
    let (mut attached, mut delay) = (0, Duration::ZERO);
    while attached < ATTACHED {
        let mut droptrace = Droptrace::spawn(&mut command(arguments)?)?;
        thread::sleep(delay);
        attached += usize::from(droptrace.is_attached());
        droptrace.signal(signal)?;
        let finished = droptrace.wait().with_context(|| format!("after {delay:?}"))?;
        in_order(&finished, signal).with_context(|| format!("after {delay:?}"))?;
        delay += step;
    }
    Ok(())
}

/// Either the signal came before the program could catch it, or there is a whole result. A program that is attached
/// catches it.
fn in_order(finished: &Finished, signal: Signal) -> Result<()> {
    let Finished { status, stdout, stderr } = finished;
    if status.signal() == Some(signal.as_raw()) && !finished.was_attached() {
        ensure!(stdout.is_empty(), "killed while it printed: {stdout}");
        return Ok(());
    }
    ensure!(status.success(), "{status}: {stderr}");
    let last = stdout.lines().last().context("it prints nothing")?;
    serde_json::from_str::<Value>(last).with_context(|| format!("reading {last:?}"))?;
    Ok(())
}

fn trace_interrupted_in_a_storm() -> Result<()> {
    let storm = Storm::new()?;
    let droptrace = Droptrace::start(&["trace", "--all", "--format", "json"])?;
    storm.send(20_000)?;
    droptrace.signal(Signal::INT)?;
    storm.send(20_000)?;
    in_order(&droptrace.wait()?, Signal::INT)
}

/// Two runs at once count the same drops.
fn two_at_once() -> Result<()> {
    let storm = Storm::new()?;
    let inum = storm.host.inum().to_string();
    let mut first = None;
    let second = Stat::during(&["--netns", &inum], || {
        first = Some(Stat::during(&["--netns", &inum], || storm.send(10_000))?);
        Ok(())
    })?;
    let dropped = storm.dropped()?;
    for stat in [first.context("the inner one did not run")?, second] {
        let counted: u64 = stat.drops_of(REASON)?.iter().map(|drop| drop.packets).sum();
        ensure!(counted == dropped, "one counts {counted}, the kernel {dropped}");
    }
    Ok(())
}

fn vanishing() -> Vec<Trial> {
    vec![
        trial_as_root("namespace_by_its_name", namespace_by_its_name),
        trial_as_root("interface_gone_before_display", || {
            still_named(|wire| wire.host.command("ip link delete host0").map(|_| Some(wire)))
        }),
        trial_as_root("namespace_gone_before_display", || {
            still_named(|wire| {
                drop(wire);
                Ok(None)
            })
        }),
    ]
}

/// A namespace is found by its name, and its drops show it.
fn namespace_by_its_name() -> Result<()> {
    let name = format!("droptrace-tests-{}", std::process::id());
    let host = Netns::named(&name)?;
    host.command("ip link set lo up")?;
    let socket = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
    let stat = Stat::during(&["--netns", &name], || {
        socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9))?;
        drained()
    })?;
    let rows = stat.0["drops"].as_array().context("no drops")?;
    let fits = |row: &&Value| row["netns_name"] == *name && row["netns"] == host.inum() && row["interface"] == "lo";
    let counted = rows.iter().filter(fits).count();
    ensure!(counted == 1, "{counted} rows of {name}: {rows:#?}");
    Ok(())
}

const DROPS: u64 = 20;

/// Provokes drops whose namespace and interface `vanish` removes, so that only the counts remain.
fn still_named(vanish: impl FnOnce(Wire) -> Result<Option<Wire>>) -> Result<()> {
    let wire = Wire::new()?;
    let inum = wire.host.inum();
    let stat = Stat::during(&["--netns", &inum.to_string()], || {
        wire.repeat(DROPS, &udp4(9)?)?;
        drained()?;
        vanish(wire).map(drop)
    })?;
    named(&stat, inum)
}

fn named(stat: &Stat, inum: u32) -> Result<()> {
    let drops = stat.drops_of("NO_SOCKET")?;
    let fits = drops.iter().filter(|drop| drop.interface.as_deref() == Some("host0") && drop.netns == u64::from(inum));
    let counted: u64 = fits.map(|drop| drop.packets).sum();
    ensure!(counted == DROPS, "{counted} drops on host0 of {DROPS}: {drops:#?}");
    Ok(())
}
