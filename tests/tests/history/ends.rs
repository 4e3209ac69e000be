//! What ends an agent, and what that leaves in its history.

use std::fs::{self, OpenOptions};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use tests::kernel;
use tests::storm::{REASON, Storm};
use tests::trials::trial_as_root;

use super::{gaps, new_folder, past, run, start, sum};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_kill_loses_no_written_interval", a_kill_loses_no_written_interval),
        trial_as_root("torn_interval_is_reported", torn_interval_is_reported),
        trial_as_root("copied_file_counts_once", copied_file_counts_once),
        trial_as_root("two_agents_cannot_share_a_folder", two_agents_cannot_share_a_folder),
    ]
}

fn a_kill_loses_no_written_interval() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-kill")?);
    let agent = start(&storm, &path, &[])?;
    storm.send(5_000)?;
    let settled = agent.settled()?;
    let reads = settled.sum("droptrace_history_writes_total", &[("result", "ok")]);
    // The intervals with the storm's drops are written.
    tests::eventually("two more intervals", || {
        Ok(agent.scrape()?.sum("droptrace_history_writes_total", &[("result", "ok")]) >= reads + 2)
    })?;
    let before = storm.dropped()?;
    agent.droptrace.signal(Signal::KILL)?;
    agent.droptrace.wait()?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    let first = past(&path, &[])?;
    let counted = sum(&first, reason, "packets")?;
    ensure!(counted == before, "the history has {counted} drops, the kernel {before}");

    // Drops while no agent runs are in no interval.
    storm.send(1_000)?;
    let meanwhile = storm.dropped()?;
    let agent = start(&storm, &path, &[])?;
    storm.send(2_000)?;
    agent.settled()?;
    let after = storm.dropped()?;
    agent.finish()?;
    let both = past(&path, &[])?;
    let counted = sum(&both, reason, "packets")?;
    let expected = before + after - meanwhile;
    ensure!(counted == expected, "the history has {counted} drops, the kernel {expected}");
    ensure!(gaps(&both) == ["killed"] && both["past"]["damaged"] == 0, "{}", both["past"]);
    let text = run(&["stat", "--since", "-1d", "--history", &path])?.stdout;
    ensure!(text.contains("the agent did not end in order"), "{text}");

    let third = start(&storm, &path, &[])?;
    third.finish()?;
    ensure!(gaps(&past(&path, &[])?) == ["killed", "not_running"], "an orderly end is none");
    Ok(())
}

fn torn_interval_is_reported() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-torn")?);
    let agent = start(&storm, &path, &[])?;
    storm.send(2_000)?;
    agent.settled()?;
    agent.finish()?;
    let whole = past(&path, &[])?;
    let mut files: Vec<_> = fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let last = files.pop().context("no file")?;
    let file = OpenOptions::new().write(true).open(&last)?;
    let length = file.metadata()?.len();
    file.set_len(length - 7)?;
    let torn = past(&path, &[])?;
    let count = |stat: &serde_json::Value| stat["past"]["intervals"].as_u64();
    ensure!(count(&torn) == count(&whole).map(|all| all - 1), "{} {}", torn["past"], whole["past"]);
    ensure!(torn["past"]["damaged"] == 1, "{}", torn["past"]);
    let text = run(&["stat", "--since", "-1d", "--history", &path])?.stdout;
    ensure!(text.contains("damaged: 1 part of the files cannot be read"), "{text}");

    let condition = ["--fail-if", "total > 1000000000"];
    let failed = run(&[&["stat", "--since", "-1d", "--history", &path], &condition[..]].concat())?;
    ensure!(failed.status.code() == Some(4), "{}: {}", failed.status, failed.stderr);
    ensure!(failed.stderr.contains("cannot be ruled out"), "{}", failed.stderr);

    // The next agent writes behind the torn interval.
    start(&storm, &path, &[])?.finish()?;
    let next = past(&path, &[])?;
    ensure!(next["past"]["damaged"] == 1 && count(&next) > count(&torn), "{}", next["past"]);
    ensure!(gaps(&next) == ["killed"], "{}", next["past"]);
    Ok(())
}

/// As if a file was put back beside itself.
fn copied_file_counts_once() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-copied")?);
    let agent = start(&storm, &path, &[])?;
    storm.send(500)?;
    agent.settled()?;
    let dropped = storm.dropped()?;
    agent.finish()?;
    let whole = past(&path, &[])?;
    let names: Vec<_> = fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    for name in names {
        let name = name.to_str().context("a name that is not UTF-8")?;
        if let Some((first, last)) = name.split_once("-000.") {
            fs::copy(name, format!("{first}-007.{last}"))?;
        }
    }
    let twice = run(&["stat", "--since", "-1d", "--format", "json", "--history", &path])?;
    ensure!(twice.stderr.contains("more than once, and count once"), "{}", twice.stderr);
    let twice = past(&path, &[])?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    ensure!(sum(&twice, reason, "packets")? == dropped, "{twice}");
    ensure!(twice["past"]["intervals"] == whole["past"]["intervals"], "{} {}", twice["past"], whole["past"]);
    Ok(())
}

fn two_agents_cannot_share_a_folder() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-lock")?);
    let agent = start(&storm, &path, &[])?;
    let second = run(&["agent", "--listen", "127.0.0.1:0", "--history", &path])?;
    let words = ["another droptrace agent keeps its history in", "name another folder"];
    let missing = words.iter().find(|words| !second.stderr.contains(**words));
    ensure!(second.status.code() == Some(1) && missing.is_none(), "{}: {}", second.status, second.stderr);
    agent.finish()?;
    start(&storm, &path, &[])?.finish().map(drop)
}
