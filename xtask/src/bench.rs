//! The subcommand `bench`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::support::cargo;
use crate::support::process;

/// Builds droptrace and runs its comparison benchmark, through sudo when not root.
///
/// The machine should do nothing else meanwhile. Everything after `--` goes to `droptrace bench`:
/// `cargo xtask bench -- --quick`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of droptrace bench
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let program = cargo::build_binary("tracer", "droptrace", &["--release"])?;
    let mut command = process::privileged(&program)?;
    command.arg("bench").args(&args.arguments);
    // droptrace replaces this process, and so receives the terminal's Ctrl-C and returns its own exit status.
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::line(&command)))
}
