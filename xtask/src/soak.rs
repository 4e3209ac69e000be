//! The subcommand `soak`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::support::cargo;
use crate::support::process;

/// Builds droptrace and keeps its agent running for long on a busy machine, through sudo when not root.
///
/// Containers and interfaces come and go, datagrams are dropped in storms, the agent is scraped each second and its files are
/// reloaded, all in namespaces that the run makes and removes, also on Ctrl-C. Memory and file descriptors must stay as they
/// are, and all counts must equal the kernel's own. The exit status is 1 if one of them does not.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Duration of the load; memory, file descriptors and threads are judged from 10 minutes on
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,
    /// Write the page with plots here [default: target/soak.html]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let droptrace = cargo::build_binary("tracer", "droptrace", &["--release"])?;
    let soak = cargo::build_binary("tests", "soak", &[])?;
    let page = args.html.clone().unwrap_or_else(|| cargo::root().join("target/soak.html"));
    let mut command = process::privileged(&soak)?;
    command.arg("--droptrace").arg(droptrace).arg("--html").arg(page);
    command.arg("--minutes").arg(args.minutes.to_string());
    // The run replaces this process, and so receives the terminal's Ctrl-C and returns its own exit status.
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::line(&command)))
}
