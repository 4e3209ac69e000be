//! Recordings in blocks: they have the drops that another form of the same run has, and survive a sudden end.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, Finished, command};
use tests::eventually;
use tests::folder::Folder;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, udp_of};
use tests::trials::trial_as_root;

use super::owners::{behind_a_firewall, refused};
use super::processes::{name, own_process, whose};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_recording_replays_as_the_lines_of_json", a_recording_replays_as_the_lines_of_json),
        trial_as_root("a_recording_outlives_its_killed_process", a_recording_outlives_its_killed_process),
        trial_as_root("a_full_disk_ends_a_recording_with_an_error", a_full_disk_ends_a_recording_with_an_error),
    ]
}

fn provoked(host: &Netns) -> Result<()> {
    let group = ControlGroup::new()?;
    refused(&udp_of(&group, host)?)
}

fn replayed(file: &str) -> Result<Finished> {
    Droptrace::spawn(&mut command(&["replay", "--format", "json", file])?)?.wait()
}

/// The drops of a host in a replay, without their times, which two runs measure each for itself. Drops with an unknown
/// namespace are shown as well, and may belong to other hosts.
fn lines(finished: &Finished, host: &Netns) -> Result<Vec<Value>> {
    let mut lines = finished.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    lines.retain(|line| line["netns"] == host.inum());
    for line in &mut lines {
        line.as_object_mut().context("a line that is no object")?.remove("timestamp");
    }
    Ok(lines)
}

/// Drops single datagrams until the last line of each recording has this owner. droptrace bounds the time of its searches
/// for processes, so that a run may know a process later than another run does. A process that is known stays known as
/// long as it has the socket open.
fn refused_until_known(sender: &UdpSocket, files: &[String], host: &Netns, owner: &Value) -> Result<()> {
    let is_known = |file: &String| Ok(lines(&replayed(file)?, host)?.last().is_some_and(|line| whose(line) == *owner));
    eventually("the process in each recording", || {
        _ = sender.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
        let known = files.iter().map(is_known).collect::<Result<Vec<_>>>()?;
        Ok(known.into_iter().all(|is_known| is_known))
    })
}

/// The group, the socket and its process exist until all runs have ended, and the runs know them before the drops that are
/// compared.
fn a_recording_replays_as_the_lines_of_json() -> Result<()> {
    let (host, group, folder) = (behind_a_firewall()?, ControlGroup::new()?, Folder::new("recorded-blocks")?);
    let (sender, netns) = (udp_of(&group, &host)?, host.inum().to_string());
    let files = [folder.path("drops.dtr"), folder.path("drops.dtr.zst"), folder.path("drops.jsonl")];
    let start =
        |file: &String, form: &str| Droptrace::start(&["trace", form, "--stack", "--netns", &netns, "-o", file]);
    let runs = [start(&files[0], "--all")?, start(&files[1], "--all")?, start(&files[2], "--raw")?];
    let owner = json!(["owner", own_process()?, name(&group)?]);
    refused_until_known(&sender, &files, &host, &owner)?;
    refused(&sender)?;
    for run in runs {
        run.finish()?;
    }
    let mut replays = Vec::new();
    for file in &files {
        let replay = replayed(file)?;
        ensure!(replay.status.success() && replay.stderr.is_empty(), "{file}: {}: {}", replay.status, replay.stderr);
        let mut lines = lines(&replay, &host)?;
        replays.push(lines.split_off(lines.len().saturating_sub(DATAGRAMS.try_into()?)));
    }
    let [recordings @ .., json] = &replays[..] else { bail!("no recording") };
    ensure!(json.len() as u64 == DATAGRAMS, "{} drops", json.len());
    let other = json.iter().find(|line| whose(line) != owner || !line["stack"].is_array());
    ensure!(other.is_none(), "without the owner {owner} or without a stack: {other:?}");
    for (recording, file) in recordings.iter().zip(&files) {
        let other = recording.iter().zip(json).find(|(block, line)| block != line);
        ensure!(recording.len() == json.len() && other.is_none(), "{file} has {} drops, {other:?}", recording.len());
    }
    has_folded_stacks(&files[0])
}

/// The call stacks of a recording have the drops of the firewall, which run in the sender's system call.
fn has_folded_stacks(file: &str) -> Result<()> {
    let folded = Droptrace::spawn(&mut command(&["replay", "--format", "folded", file])?)?.wait()?;
    let of_the_sender = folded.stdout.lines().filter(|line| line.contains("__sys_sendto;"));
    let drops: u64 = of_the_sender.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum();
    ensure!(folded.status.success() && folded.stderr.is_empty() && drops >= DATAGRAMS, "{folded:?}");
    Ok(())
}

fn a_recording_outlives_its_killed_process() -> Result<()> {
    let host = behind_a_firewall()?;
    let folder = Folder::new("killed-blocks")?;
    let (netns, file) = (host.inum().to_string(), folder.path("drops.dtr"));
    let droptrace = Droptrace::start(&["trace", "--all", "--netns", &netns, "-o", &file])?;
    provoked(&host)?;
    let drops = || -> Result<u64> { Ok(lines(&replayed(&file)?, &host)?.len() as u64) };
    eventually("all drops in the file", || Ok(drops()? == DATAGRAMS))?;
    droptrace.signal(Signal::KILL)?;
    droptrace.wait()?;
    let whole = replayed(&file)?;
    ensure!(drops()? == DATAGRAMS && whole.status.code() == Some(1), "{whole:?}");
    ensure!(whole.stderr.contains("it ends without the ledger of its backends"), "{whole:?}");
    let bytes = fs::read(&file)?;
    let cut = folder.write("cut.dtr", &bytes[..bytes.len() - 1])?;
    let cut = replayed(&cut)?;
    ensure!(cut.status.code() == Some(1) && cut.stderr.contains("it is truncated or damaged"), "{cut:?}");
    Ok(())
}

fn a_full_disk_ends_a_recording_with_an_error() -> Result<()> {
    let host = behind_a_firewall()?;
    let netns = host.inum().to_string();
    let arguments = ["trace", "--all", "--netns", &netns, "--format", "dtr", "-o", "/dev/full"];
    let finished = Droptrace::spawn(&mut command(&arguments)?)?.wait()?;
    ensure!(finished.status.code() == Some(1), "{finished:?}");
    ensure!(finished.stderr.contains("writing to /dev/full failed: No space left on device"), "{finished:?}");
    Ok(())
}
