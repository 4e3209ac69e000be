//! Signals and readers that go away: droptrace ends in order, and never hangs.

use std::fs;
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tests::droptrace::{Droptrace, binary, command};
use tests::folder::Folder;
use tests::netns::Netns;
use tests::trials::{self, trial_as_root};
use tests::wire::udp;
use tests::{eventually, pause};

fn main() -> ExitCode {
    trials::run(signals())
}

fn signals() -> Vec<Trial> {
    vec![
        trial_as_root("a_terminal_that_is_closed_ends_stat_in_order", || closed_terminal(&["stat"], "accounted")),
        trial_as_root("a_terminal_that_is_closed_ends_trace_in_order", || {
            closed_terminal(&["trace", "--all"], "accounted")
        }),
        trial_as_root("a_terminal_that_is_closed_ends_snapshot_in_order", || {
            closed_terminal(&["snapshot", "--duration", "1h"], "droptrace.snapshot.v1")
        }),
        trial_as_root("nohup_is_respected", nohup_is_respected),
        trial_as_root("a_reader_that_goes_from_a_quiet_trace", || reader_goes(&["trace"])),
        trial_as_root("a_reader_that_goes_from_a_quiet_stat", || reader_goes(&["stat"])),
        trial_as_root("a_reader_that_does_not_read_holds_up_no_end", reader_does_not_read),
        trial_as_root("signals_during_the_start_change_no_backend", signals_during_the_start),
    ]
}

/// A namespace with so many drops.
fn drops(host: &Netns, count: usize) -> Result<()> {
    host.command("ip link set lo up")?;
    let socket = udp(host, (Ipv4Addr::LOCALHOST, 0).into())?;
    for _ in 0..count {
        // The kernel reports the refusal by the next call.
        _ = socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
    }
    Ok(())
}

fn closed_terminal(arguments: &[&str], word: &str) -> Result<()> {
    let (folder, host) = (Folder::new(arguments[0])?, Netns::new()?);
    let (inum, out) = (host.inum().to_string(), folder.path("out"));
    // A snapshot always covers the whole host.
    let only: &[&str] = if arguments[0] == "snapshot" { &[] } else { &["--netns", &inum] };
    let droptrace = Droptrace::start(&[arguments, only, &["--output", &out]].concat())?;
    drops(&host, 7)?;
    droptrace.signal(Signal::HUP)?;
    let finished = droptrace.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    let text = fs::read_to_string(out)?;
    ensure!(text.contains(word) && text.contains("NO_SOCKET"), "{text}");
    Ok(())
}

fn nohup_is_respected() -> Result<()> {
    let mut command = Command::new("nohup");
    command.arg(binary()?).args(["stat", "--format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut droptrace = Droptrace::spawn(&mut command)?;
    droptrace.await_attached()?;
    droptrace.signal(Signal::HUP)?;
    pause(std::time::Duration::from_millis(200));
    droptrace.signal(Signal::TERM)?;
    let finished = droptrace.wait()?;
    let document: Value = serde_json::from_str(&finished.stdout)?;
    let duration = document["duration_ns"].as_u64().context("no duration")?;
    ensure!(finished.status.success() && duration >= 200_000_000, "{finished:?}");
    Ok(())
}

fn reader_goes(arguments: &[&str]) -> Result<()> {
    let host = Netns::new()?;
    let inum = host.inum().to_string();
    let (reader, writer) = io::pipe()?;
    let mut droptrace = Droptrace::spawn(command(&[arguments, &["--netns", &inum]].concat())?.stdout(writer))?;
    droptrace.await_attached()?;
    drop(reader);
    let finished = droptrace.wait()?;
    ensure!(finished.status.success(), "{finished:?}");
    Ok(())
}

/// The kernel gives up loading a program when a signal comes, which is no fault of the program.
fn signals_during_the_start() -> Result<()> {
    for _ in 0..3 {
        let mut run = command(&["stat", "--source", "ebpf", "--duration", "300ms"])?;
        let droptrace = Droptrace::spawn(&mut run)?;
        for _ in 0..200 {
            droptrace.signal(Signal::STOP)?;
            droptrace.signal(Signal::CONT)?;
            pause(Duration::from_millis(1));
        }
        let finished = droptrace.wait()?;
        ensure!(finished.status.success() && finished.stderr.contains("(tp_btf)"), "{finished:?}");
        ensure!(!finished.stderr.contains("temporarily unavailable"), "{finished:?}");
    }
    Ok(())
}

fn reader_does_not_read() -> Result<()> {
    let host = Netns::new()?;
    let inum = host.inum().to_string();
    let (mut reader, writer) = io::pipe()?;
    let arguments = ["trace", "--all", "--format", "json", "--netns", &inum];
    let mut droptrace = Droptrace::spawn(command(&arguments)?.stdout(writer))?;
    droptrace.await_attached()?;
    let full = rustix::pipe::fcntl_getpipe_size(&reader)? as u64;
    eventually("the pipe to fill", || {
        drops(&host, 200)?;
        Ok(rustix::io::ioctl_fionread(&reader)? + 4096 > full)
    })?;
    droptrace.signal(Signal::TERM)?;
    let finished = droptrace.wait()?;
    ensure!(finished.status.code() == Some(1) && finished.stderr.contains("does not read"), "{finished:?}");
    let mut lines = String::new();
    reader.read_to_string(&mut lines)?;
    ensure!(lines.starts_with("{\"schema\":\"droptrace.drop.v1\""), "{lines}");
    Ok(())
}
