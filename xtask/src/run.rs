//! The subcommand `run`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::support::cargo;
use crate::support::process;

/// Builds droptrace and runs it, through sudo when not root.
///
/// Needs only rustup and a C linker: the kernel program's object is checked in.
/// Everything after `--` goes to droptrace, whose exit status is passed on: `cargo xtask run -- stat --duration 5s`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of droptrace
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let program = cargo::build_binary("tracer", "droptrace", &["--release"])?;
    let mut command = process::privileged(&program)?;
    command.args(&args.arguments);
    // droptrace replaces this process, and so receives the terminal's Ctrl-C and returns its own exit status.
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::line(&command)))
}
