//! The sums of a history.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::agent::{Agent, Scrape};
use tests::eventually;
use tests::folder::Folder;
use tests::kernel;
use tests::storm::{REASON, Storm};
use tests::trials::trial_as_root;

use super::{gaps, new_folder, past, start, sum};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("sums_equal_the_metrics_and_the_kernel", sums_equal_the_metrics_and_the_kernel),
        trial_as_root("full_disk_loses_no_drop", full_disk_loses_no_drop),
        trial_as_root("files_are_bounded_and_others_are_left_alone", files_are_bounded_and_others_are_left_alone),
    ]
}

fn sums_equal_the_metrics_and_the_kernel() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-sums")?);
    let agent = start(&storm, &path, &[])?;
    for _ in 0..3 {
        storm.send(10_000)?;
        agent.settled()?;
    }
    let (scrape, dropped) = (agent.settled()?, storm.dropped()?);
    scrape.check_sum()?;
    agent.finish()?;
    let stat = past(&path, &[])?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    let (packets, bytes) = (sum(&stat, reason, "packets")?, sum(&stat, reason, "bytes")?);
    ensure!(dropped > 0 && packets == dropped, "the history has {packets} drops, the kernel {dropped}");
    let labels = [("reason", reason)];
    let of_metrics =
        ["droptrace_dropped_packets_total", "droptrace_dropped_bytes_total"].map(|name| scrape.sum(name, &labels));
    ensure!(
        [packets, bytes] == of_metrics,
        "the history has {packets} drops and {bytes} bytes, the metrics {of_metrics:?}"
    );
    let ledger = &stat["sources"][0]["ledger"];
    for account in ["accounted", "overflow", "lost"] {
        let counted = scrape.sum("droptrace_ledger_drops_total", &[("account", account)]);
        ensure!(ledger[account] == counted, "{account} is {counted} in the metrics: {ledger}");
    }
    ensure!(gaps(&stat).is_empty() && stat["past"]["damaged"] == 0, "{}", stat["past"]);
    let intervals = stat["past"]["intervals"].as_u64().context("no intervals")?;
    let written = scrape.sum("droptrace_history_writes_total", &[("result", "ok")]);
    // The last scrape is older than the last interval.
    ensure!(intervals > written && written > 3, "{intervals} intervals, {written} were written");
    let file = fs::read_dir(&path)?.next().context("no file")??;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    ensure!(mode == 0o640, "others may read: {mode:o}");
    Ok(())
}

/// A small file system, unmounted with its handle.
struct Small(Folder);

impl Small {
    fn new() -> Result<Self> {
        let folder = Folder::new("history-disk")?;
        let path = folder.path("");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "small", &path]).status()?;
        ensure!(mounted.success(), "mounting ends with {mounted}");
        Ok(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").args(["-l", &self.0.path("")]).status();
    }
}

fn failing(agent: &Agent) -> Result<bool> {
    Ok(agent.scrape()?.sum("droptrace_history_failing", &[]) == 1)
}

fn failures(scrape: &Scrape) -> u64 {
    scrape.sum("droptrace_history_writes_total", &[("result", "failed")])
}

fn full_disk_loses_no_drop() -> Result<()> {
    let (storm, disk) = (Storm::new()?, Small::new()?);
    let path = disk.0.path("history");
    let agent = start(&storm, &path, &[])?;
    storm.send(5_000)?;
    agent.settled()?;
    eventually("that intervals are written", || Ok(!failing(&agent)? && fs::read_dir(&path)?.next().is_some()))?;
    let filler = disk.0.join("filler");
    let mut full = File::create(&filler)?;
    // Writes until there is no room.
    _ = std::io::copy(&mut std::io::repeat(7), &mut full);
    eventually("that writing fails", || failing(&agent))?;
    storm.send(5_000)?;
    let during = agent.settled()?;
    ensure!(failures(&during) > 0, "{during:?}");
    drop(full);
    fs::remove_file(&filler)?;
    eventually("that intervals are written again", || Ok(!failing(&agent)?))?;
    storm.send(1_000)?;
    agent.settled()?;
    let dropped = storm.dropped()?;
    let finished = agent.finish()?;
    let said = finished.stderr.matches("cannot write to the history").count();
    ensure!(said == 1 && finished.stderr.contains("No space left on device"), "{}", finished.stderr);
    let stat = past(&path, &[])?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    let packets = sum(&stat, reason, "packets")?;
    ensure!(packets == dropped, "the history has {packets} drops, the kernel {dropped}");
    ensure!(gaps(&stat).is_empty() && stat["past"]["damaged"] == 0, "{}", stat["past"]);
    Ok(())
}

/// `--history-size` and `--history-age` delete files of the history, and no others.
fn files_are_bounded_and_others_are_left_alone() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-bounds")?);
    fs::create_dir(&path)?;
    let file = |name: &str, length: u64| -> Result<()> { Ok(File::create(format!("{path}/{name}"))?.set_len(length)?) };
    let hours_ago = |hours: u64| -> Result<String> {
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3_600);
        let text = humantime::format_rfc3339_seconds(then).to_string();
        Ok(format!("drops-{}T{}-000.dth", text[..10].replace('-', ""), &text[11..13]))
    };
    let (old, large, young) = (hours_ago(9)?, hours_ago(3)?, hours_ago(2)?);
    file(&old, 10)?;
    file(&large, 15 << 20)?;
    file(&young, 2 << 20)?;
    file("notes.txt", 1 << 20)?;
    let agent = start(&storm, &path, &["--history-size", "16M", "--history-age", "6h"])?;
    let names = || -> Result<Vec<String>> {
        let names = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    eventually("that the old and the large file are deleted", || {
        let names = names()?;
        Ok(!names.contains(&old) && !names.contains(&large))
    })?;
    agent.finish()?;
    let names = names()?;
    ensure!(names.contains(&young) && names.contains(&"notes.txt".to_owned()) && names.len() == 3, "{names:?}");
    Ok(())
}
