//! The command line: what was typed ([`args`]), where results go ([`output`]) and in which form ([`sinks`]).

pub mod args;
pub mod output;
mod session;
pub mod sinks;
mod stat;
mod target;
mod trace;
mod units;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use args::{Cli, Command};
use output::reader_gone;
use tracing::level_filters::LevelFilter;

/// Runs what was typed, to its end.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let command = cli.into_command();
    log_to_stderr(command.common().verbose);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(async {
        match &command {
            Command::Stat(args) => stat::run(args).await,
            Command::Trace(args) => trace::run(args).await,
        }
    })
}

/// Warnings and, if wanted, more, as lines like those that this program writes itself.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
}

/// The exit status of a command that ended so: 0 done, 1 failed. Wrong usage is 2, which clap sees to.
///
/// A failure is told on stderr with all its causes. A reader that went away, as `head` does, has had what it wanted:
/// that is a normal end.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell a failure to write to stderr to.
            _ = writeln!(io::stderr(), "droptrace: {error:#}");
            ExitCode::FAILURE
        }
    }
}
