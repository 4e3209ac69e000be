//! The command line: what was typed ([`args`]), and in which form results are shown ([`sinks`]).

mod agent;
pub mod args;
mod bench;
mod compare;
mod doctor;
pub(crate) mod explain;
mod listen;
mod netlink;

pub(crate) mod replay;
pub mod sinks;
mod snapshot;
mod stat;
mod trace;

use std::io::{self, IsTerminal as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use crate::render::output::reader_gone;
use anyhow::Context as _;
use args::{Cli, Command};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{fmt, util::SubscriberInitExt as _};

use crate::domain::report::Host;
use crate::netlink::debug;
use crate::outside::{LogWriter, say};
use crate::run::host;

/// Runs what was typed, to its end, and tells what it came to.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let command = cli.into_command();
    log_to_stderr(command.verbose());
    if let Command::Bench(_) = command {
        bench::prepare();
    }
    raise_open_files();
    let spare = [UnixStream::pair(), UnixStream::pair(), UnixStream::pair()];
    if let Some(error) = spare.into_iter().find_map(Result::err) {
        // The runtime would panic.
        return Err(error).context("cannot start: `ulimit -n` allows too few open files");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(async {
        match &command {
            Command::Compare(args) => return compare::run(args).await,
            Command::Stat(args) => stat::run(args).await,
            Command::Trace(args) => trace::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Explain(args) => explain::run(args, "droptrace"),
            Command::Bench(args) => bench::run(args).await,
            Command::Netlink(args) => netlink::run(&args.command).await,
            Command::Replay(args) => replay::run(args),
            Command::Snapshot(args) => snapshot::run(args).await,
            Command::Agent(args) => Box::pin(agent::run(args)).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
}

/// Allows as many open files as the hard limit does: an agent has one for each connection.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!("the limit of open files stays {:?}: {error}", limit.current);
    }
}

/// Warnings and, if wanted, more, as lines like those that this program writes itself.
pub(crate) fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // They tell each relocation and each step of a request; only their warnings are of use here.
    let messages = if verbose >= 3 || debug::is_wanted() { LevelFilter::TRACE } else { LevelFilter::OFF };
    let filter = Targets::new().with_default(level).with_targets([
        ("aya", LevelFilter::WARN),
        ("aya_obj", LevelFilter::WARN),
        ("rustls", LevelFilter::WARN),
        ("ureq", LevelFilter::WARN),
        ("ureq_proto", LevelFilter::WARN),
        (debug::TARGET, messages),
    ]);
    let has_colors = io::stderr().is_terminal();
    let lines = fmt::layer()
        .with_writer(move || LogWriter { has_colors })
        .with_ansi(has_colors)
        .without_time()
        .with_target(verbose > 0);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    let Host { name, kernel } = host();
    tracing::info!("droptrace {}, Linux {kernel} on {name}", env!("CARGO_PKG_VERSION"));
}

/// The exit status of a command that ended so: 0 done, 1 failed; some also have 3. Wrong usage is 2, which clap sees to.
///
/// A failure is told on stderr with all its causes. A reader that went away, as `head` does, has had what it wanted:
/// that is a normal end.
pub fn exit_code(program: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(program, format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::OutputError;

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = OutputError::ReaderGone { target: "stdout".into() };
        let gone = anyhow::Error::from(io::Error::new(io::ErrorKind::BrokenPipe, gone)).context("showing drops");
        assert_eq!(exit_code("droptrace", Err(gone)), ExitCode::SUCCESS);
        assert_eq!(exit_code("droptrace", Ok(ExitCode::SUCCESS)), ExitCode::SUCCESS);
        assert_eq!(exit_code("droptrace", Err(anyhow::anyhow!("a failure"))), ExitCode::FAILURE);
    }
}
