//! Readers of a history.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::agent::Agent;
use tests::droptrace::{Droptrace, copy_for_all, piped};
use tests::frame::{NETWORK, patched, udp4};
use tests::kernel;
use tests::storm::{REASON, Storm};
use tests::trials::{trial, trial_as_root};
use tests::wire::Wire;

use super::{new_folder, now, past, run, start, sum};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("time_spans_have_their_intervals", time_spans_have_their_intervals),
        trial_as_root("rows_are_grouped_hidden_and_filtered", rows_are_grouped_hidden_and_filtered),
        trial_as_root(
            "single_drops_of_rows_that_are_never_usual_are_kept",
            single_drops_of_rows_that_are_never_usual_are_kept,
        ),
        trial_as_root("readers_need_only_permission_to_read_files", readers_need_only_permission_to_read_files),
        trial("what_a_history_cannot_show_is_refused", what_a_history_cannot_show_is_refused),
    ]
}

/// `--since` and `--until` choose intervals of `--history`.
fn time_spans_have_their_intervals() -> Result<()> {
    let (storm, (_folder, path)) = (Storm::new()?, new_folder("history-spans")?);
    let agent = start(&storm, &path, &[])?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    storm.send(3_000)?;
    agent.settled()?;
    let (first, middle) = (storm.dropped()?, now());
    // The storm starts in a later interval.
    agent.settled()?;
    let from = now();
    storm.send(2_000)?;
    agent.settled()?;
    let (all, end) = (storm.dropped()?, now());
    agent.finish()?;
    let count = |options: &[&str]| sum(&past(&path, options)?, reason, "packets");
    let counted = [count(&["--since", "-1h", "--until", &middle])?, count(&["--since", &from, "--until", &end])?];
    ensure!(counted == [first, all - first], "{counted:?}, the kernel {first} and {all} in all");
    let stat = past(&path, &["--since", &from, "--until", &end])?;
    let (asked, covered) = (&stat["past"]["asked"], &stat["past"]["covered"]);
    ensure!(asked["from"] == from.as_str() && asked["to"] == end.as_str(), "{asked}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ensure!(text(&covered["from"]) <= from && text(&covered["to"]) >= end, "intervals are cut: {covered}");
    let nothing = run(&["stat", "--since", "-2d", "--until", "-1d", "--history", &path])?;
    ensure!(nothing.status.code() == Some(1), "{}", nothing.status);
    ensure!(nothing.stderr.contains("its intervals are from"), "{}", nothing.stderr);
    Ok(())
}

fn rows_are_grouped_hidden_and_filtered() -> Result<()> {
    let (storm, (folder, path)) = (Storm::new()?, new_folder("history-rows")?);
    let agent = start(&storm, &path, &[])?;
    storm.send(3_000)?;
    agent.settled()?;
    let dropped = storm.dropped()?;
    agent.finish()?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    let grouped = past(&path, &["--by", "reason"])?;
    let row =
        grouped["drops"].as_array().into_iter().flatten().find(|row| row["reason"] == reason).context("no row")?;
    ensure!(row["packets"] == dropped && row["symbol"].is_null(), "{row}");
    let filtered = past(&path, &["--filter", "not reason SOCKET_RCVBUFF"])?;
    ensure!(sum(&filtered, reason, "packets")? == 0, "{filtered}");
    ensure!(filtered["sources"][0]["ledger"]["filtered"].as_u64() >= Some(dropped), "{filtered}");
    let inum = storm.host.inum().to_string();
    let elsewhere = past(&path, &["--netns", "1"])?;
    ensure!(sum(&elsewhere, reason, "packets")? == 0, "{elsewhere}");
    ensure!(sum(&past(&path, &["--netns", &inum, "--interface", "lo"])?, reason, "packets")? == dropped, "{inum}");

    let common = ["stat", "--since", "-1d", "--history", &path];
    let hidden = run(&[&common[..], &["--hide", "reason SOCKET_RCVBUFF"]].concat())?.stdout;
    ensure!(hidden.contains("(--hide)") && hidden.contains("history: "), "{hidden}");
    let csv = run(&[&common[..], &["--csv"]].concat())?;
    ensure!(csv.stdout.contains(&format!(",drop,{dropped},{dropped},")), "{}", csv.stdout);
    says_what_is_missing(&csv.stderr)?;
    let page = folder.path("page.html");
    let written = run(&[&common[..], &["--format", "html", "-o", &page]].concat())?;
    ensure!(written.status.success() && fs::read_to_string(&page)?.contains("history: "), "{}", written.stderr);
    let explained = run(&[&common[..], &["--explain"]].concat())?.stdout;
    ensure!(explained.contains("droptrace explain") || explained.contains("SOCKET_RCVBUFF"), "{explained}");
    let failed = run(&[&common[..], &["--fail-if", "reason SOCKET_RCVBUFF > 0"]].concat())?;
    ensure!(failed.status.code() == Some(4), "{}: {}", failed.status, failed.stderr);
    Ok(())
}

/// `trace --since` shows drops of `--history`, up to `--until`.
fn single_drops_of_rows_that_are_never_usual_are_kept() -> Result<()> {
    let (wire, (_folder, path)) = (Wire::new()?, new_folder("history-drops")?);
    let inum = wire.host.inum().to_string();
    let agent = Agent::start(&["--netns", &inum, "--history", &path])?;
    let broken = patched(udp4(9)?, NETWORK + 10, &[0xde, 0xad]);
    wire.repeat(20, &broken)?;
    agent.settled()?;
    let end = now();
    agent.finish()?;
    let trace = ["trace", "--history", &path, "--since", "-1h", "--until", &end];
    let finished = run(&[&trace[..], &["--format", "json"]].concat())?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    let reason = kernel::reason("IP_CSUM")?.shown().unwrap_or_default();
    let lines: Vec<Value> = finished.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let (ledger, drops) = lines.split_last().context("no lines")?;
    ensure!(ledger["schema"] == "droptrace.ledger.v1", "{ledger}");
    ensure!(!drops.is_empty() && drops.len() <= 4 + 16, "{} drops", drops.len());
    let other = drops.iter().find(|drop| drop["reason"] != reason || drop["length"] != broken.len());
    ensure!(other.is_none(), "{other:?}");
    ensure!(finished.stderr.contains("single drops of this time"), "{}", finished.stderr);
    says_what_is_missing(&finished.stderr)?;
    let selected = run(&[&trace[..], &["udp", "dst", "port", "10"]].concat())?.stdout;
    ensure!(!selected.contains("IP_CSUM"), "{selected}");
    let selected = run(&[&trace[..], &["udp", "dst", "port", "9"]].concat())?.stdout;
    ensure!(reason != "IP_CSUM" || selected.contains("IP_CSUM"), "{selected}");
    Ok(())
}

/// The time before the agent, as `--since` asks for more than its time.
fn says_what_is_missing(stderr: &str) -> Result<()> {
    ensure!(stderr.contains("droptrace: history: ") && stderr.contains("gap: "), "{stderr}");
    Ok(())
}

fn readers_need_only_permission_to_read_files() -> Result<()> {
    let (storm, (folder, path), copy) = (Storm::new()?, new_folder("history-permissions")?, copy_for_all()?);
    let agent = start(&storm, &path, &[])?;
    storm.send(1_000)?;
    agent.settled()?;
    let dropped = storm.dropped()?;
    agent.finish()?;
    fs::set_permissions(folder.path(""), Permissions::from_mode(0o755))?;
    let nobody = || {
        let words =
            ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", &copy.path("droptrace")];
        let mut command = Command::new("setpriv");
        command.args(words).args(["stat", "--since", "-1d", "--format", "json", "--history", &path]);
        Droptrace::spawn(piped(&mut command))?.wait()
    };
    let refused = nobody()?;
    ensure!(refused.status.code() == Some(1), "{}", refused.status);
    ensure!(refused.stderr.contains("may be read by its owner and its group only"), "{}", refused.stderr);
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    for file in fs::read_dir(&path)? {
        fs::set_permissions(file?.path(), Permissions::from_mode(0o644))?;
    }
    let read = nobody()?;
    ensure!(read.status.success(), "{}", read.stderr);
    let stat: Value = serde_json::from_str(&read.stdout)?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    ensure!(sum(&stat, reason, "packets")? == dropped, "{stat}");
    Ok(())
}

fn what_a_history_cannot_show_is_refused() -> Result<()> {
    let none = run(&["stat", "--since", "02:00", "--history", "/nonexistent"])?;
    ensure!(
        none.status.code() == Some(1) && none.stderr.contains("`droptrace agent --history FOLDER` keeps one"),
        "{}",
        none.stderr
    );
    for (words, expected) in [
        (&["stat", "--since", "02:00", "--stack"][..], "a history has no call stacks"),
        (&["stat", "--since", "02:00", "--by", "process"], "a history has no flows and processes"),
        (&["stat", "--since", "02:00", "--duration", "1s"], "'--until' is the end of the time"),
        (&["stat", "--since", "02:00", "--source", "ebpf"], "the agent has counted already"),
        (&["stat", "--since", "02:00", "--max-rows", "9"], "--max-rows"),
        (&["stat", "--since", "02:00", "--", "true"], "a command after '--' would run now"),
        (&["stat", "--since", "noon"], "not a time: write 02:00"),
        (&["stat", "--until", "02:00"], "--since"),
        (&["trace", "--since", "02:00", "--all"], "a sample of single drops"),
        (&["trace", "--since", "02:00", "-o", "x.dtr"], "use '--format json' or a packet capture"),
        (&["top", "--since", "02:00", "--interval", "1s"], "the totals do not change any more"),
        (&["top", "--since", "02:00", "--by", "process"], "a history has no flows and processes"),
    ] {
        let finished = run(words)?;
        ensure!(finished.status.code() == Some(2), "{words:?}: {}: {}", finished.status, finished.stderr);
        ensure!(finished.stderr.contains(expected), "{words:?}: {}", finished.stderr);
    }
    let of_packets = run(&["stat", "--since", "02:00", "--history", "/", "udp", "port", "53"])?;
    ensure!(of_packets.stderr.contains("use `droptrace trace --since`"), "{}", of_packets.stderr);
    Ok(())
}
