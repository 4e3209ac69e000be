//! `droptrace-fleet`: the command line ([`args`]), and its execution.

pub mod args;
mod collect;
mod diagnose;
mod merge;
mod progress;
mod show;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use droptrace_base::command::{Elsewhere, explain};

use args::{Cli, Command};

/// The program's name in messages.
pub const NAME: &str = "droptrace-fleet";

/// Runs the command, and returns its exit status.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Collect(args) => collect::run(args),
        Command::Diagnose(args) => diagnose::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Explain(args) => explain(args, NAME, &Elsewhere).map(|()| ExitCode::SUCCESS),
    }
}
