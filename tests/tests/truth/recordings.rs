//! Recordings in blocks: they have the drops that another form of the same run has, and survive a sudden end.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, Finished, command};
use tests::eventually;
use tests::folder::Folder;
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, udp_of};
use tests::trials::trial_as_root;

use super::owners::{behind_a_firewall, refused};

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

fn a_recording_replays_as_the_lines_of_json() -> Result<()> {
    let host = behind_a_firewall()?;
    let folder = Folder::new("recorded-blocks")?;
    let netns = host.inum().to_string();
    let files = [folder.path("drops.dtr"), folder.path("drops.dtr.zst"), folder.path("drops.jsonl")];
    let start =
        |file: &String, form: &str| Droptrace::start(&["trace", form, "--stack", "--netns", &netns, "-o", file]);
    let runs = [start(&files[0], "--all")?, start(&files[1], "--all")?, start(&files[2], "--raw")?];
    provoked(&host)?;
    for run in runs {
        run.finish()?;
    }
    let replays = files.iter().map(|file| replayed(file)).collect::<Result<Vec<_>>>()?;
    for replay in &replays {
        ensure!(replay.status.success() && replay.stderr.is_empty(), "{replay:?}");
    }
    let [blocks, compressed, json] = &replays[..] else { unreachable!("three files") };
    let (blocks, compressed, json) = (lines(blocks, &host)?, lines(compressed, &host)?, lines(json, &host)?);
    ensure!(json.len() as u64 == DATAGRAMS && json[0]["stack"].is_array(), "{json:?}");
    ensure!(blocks == json, "blocks: {blocks:?}, lines: {json:?}");
    ensure!(compressed == json, "compressed blocks: {compressed:?}, lines: {json:?}");
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
