//! `droptrace-fleet`: what was typed ([`args`]), run to its end.

pub mod args;
mod diagnose;
mod merge;
mod progress;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use droptrace_base::command::explain;

use args::{Cli, Command};

/// The program's name, in what it says.
pub const NAME: &str = "droptrace-fleet";

/// Runs what was typed, and tells what it came to.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Diagnose(args) => diagnose::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Explain(args) => explain(args, NAME).map(|()| ExitCode::SUCCESS),
    }
}
