//! `bench`.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::support::cargo;
use crate::support::process;

/// Measures what droptrace costs. Needs root, and a machine that does nothing else.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// The kernel program for each drop, and droptrace's own process (two CPUs, a few minutes)
    KernelCost,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let program = match args.what {
        What::KernelCost => {
            cargo::build_binary("tracer", "droptrace", &["--release"])?;
            cargo::build_binary("tests", "kernel-cost", &["--release"])?
        }
    };
    let mut command = process::privileged(&program)?;
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::line(&command)))
}
