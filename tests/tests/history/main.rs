//! The history of an agent on disk: its sums equal the metrics and the kernel's counts, whatever ends the agent or fills the disk.

mod ends;
mod reads;
mod screen;
mod sums;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::agent::Agent;
use tests::droptrace::{Droptrace, Finished, Stat, command};
use tests::folder::Folder;
use tests::storm::Storm;
use tests::trials;

fn main() -> ExitCode {
    trials::run([sums::trials(), ends::trials(), reads::trials(), screen::trials()].into_iter().flatten().collect())
}

fn now() -> String {
    humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string()
}

/// An agent that keeps a history of a storm's namespace.
fn start(storm: &Storm, folder: &str, options: &[&str]) -> Result<Agent> {
    let inum = storm.host.inum().to_string();
    Agent::start(&[&["--netns", &inum, "--history", folder], options].concat())
}

/// Runs droptrace to its end.
fn run(arguments: &[&str]) -> Result<Finished> {
    Droptrace::spawn(&mut command(arguments)?)?.wait()
}

/// The totals of a history, of the last day if no time is given.
fn past(folder: &str, options: &[&str]) -> Result<Value> {
    let since: &[&str] = if options.contains(&"--since") { &[] } else { &["--since", "-1d"] };
    let finished = run(&[&["stat", "--format", "json", "--history", folder], since, options].concat())?;
    ensure!(finished.status.success(), "it ends with {}: {}", finished.status, finished.stderr);
    Ok(Stat::parse_with_losses(&finished.stdout)?.0)
}

/// The sum of a field over the rows of a reason.
fn sum(stat: &Value, reason: &str, field: &str) -> Result<u64> {
    let rows = stat["drops"].as_array().context("no drops")?;
    let of_reason = rows.iter().filter(|row| row["reason"] == reason);
    of_reason.map(|row| row[field].as_u64().with_context(|| format!("no {field} in {row}"))).sum()
}

/// The causes of the gaps, without those before the first and after the last interval.
fn gaps(stat: &Value) -> Vec<&str> {
    let gaps = stat["past"]["gaps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let causes = gaps.iter().filter_map(|gap| gap["cause"].as_str());
    causes.filter(|cause| !["before", "after"].contains(cause)).collect()
}

/// A folder that is not there yet, within one that is removed at the end.
fn new_folder(name: &str) -> Result<(Folder, String)> {
    let folder = Folder::new(name)?;
    let path = folder.path("history");
    Ok((folder, path))
}
