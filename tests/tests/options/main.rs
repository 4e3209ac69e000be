//! Options change what a run does. `tracer/tests/options.rs` has the list of all options, and where each is tested.

mod agent;
mod capture;
mod compare;
mod diagnose;
mod everywhere;
mod fleet;
mod trace;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, command};
use tests::trials;

fn main() -> ExitCode {
    let all = [
        everywhere::trials(),
        capture::trials(),
        trace::trials(),
        compare::trials(),
        agent::trials(),
        fleet::trials(),
        diagnose::trials(),
    ];
    trials::run(all.into_iter().flatten().collect())
}

/// A run that ends by itself and is well.
fn run(arguments: &[&str]) -> Result<Finished> {
    let finished = Droptrace::spawn(&mut command(arguments)?)?.wait()?;
    ensure!(finished.status.success(), "{arguments:?}: {}: {}", finished.status, finished.stderr);
    Ok(finished)
}

/// The last document of several lines.
fn last(text: &str) -> Result<Value> {
    Ok(serde_json::from_str(text.lines().next_back().context("nothing was printed")?)?)
}
