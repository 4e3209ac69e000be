//! The command line ([`args`]), and the forms in which results are shown (`sinks`).

#[cfg(feature = "agent")]
mod agent;
pub mod args;
#[cfg(feature = "bench")]
mod bench;
mod compare;
mod doctor;
mod explain;
mod filter_interfaces;
mod filter_names;
mod filter_processes;
mod hide;
mod listen;
mod netlink;
mod past;
mod reconcile;
mod record_filter;

pub(crate) mod replay;
mod rule;
pub(crate) mod sinks;
mod snapshot;
mod stat;
#[cfg(feature = "top")]
mod top;
mod trace;
mod verdict;

#[cfg(feature = "top")]
use std::env;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use args::{Cli, Command};
use tracing::level_filters::LevelFilter;

use crate::command;
use crate::domain::report::Host;
use crate::kernel::running::RunningKernel;
use crate::netlink::debug;
use crate::run::{host, raise_open_files};

/// Runs the command to its end, and returns its exit status.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "top")]
    let cli = if env::args_os().len() == 1 && top::obstacle().is_none() { Cli::of_top() } else { cli };
    let command = cli.into_command();
    log_to_stderr(command.verbose());
    #[cfg(feature = "bench")]
    if let Command::Bench(_) = command {
        bench::prepare();
    }
    let kernel = Arc::<RunningKernel>::default();
    if let Err(error) = filter_names::check(&command, &kernel) {
        error.exit();
    }
    filter_interfaces::warn(&command);
    raise_open_files();
    let spare = [UnixStream::pair(), UnixStream::pair(), UnixStream::pair()];
    if let Some(error) = spare.into_iter().find_map(Result::err) {
        // Without this check, the runtime would panic.
        return Err(error).context("cannot start: `ulimit -n` allows too few open files");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the asynchronous runtime")?.block_on(async {
        match &command {
            Command::Compare(args) => return compare::run(args, &kernel).await,
            Command::Reconcile(args) => return reconcile::run(args, &kernel).await,
            Command::Rule(args) => rule::run(args).await,
            Command::Stat(args) if command.is_of_the_past() => return past::stat(&args.stat),
            Command::Stat(args) => return stat::run(&args.stat, &args.workload, &kernel).await,
            #[cfg(feature = "top")]
            Command::Top(args) if command.is_of_the_past() => Box::pin(top::past::run(args)).await,
            #[cfg(feature = "top")]
            Command::Top(args) => Box::pin(top::run(args, &kernel)).await,
            Command::Trace(args) if command.is_of_the_past() => past::trace(args),
            Command::Trace(args) => trace::run(args, &kernel).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Explain(args) => explain::run(args),
            #[cfg(feature = "bench")]
            Command::Bench(args) => bench::run(args).await,
            Command::Netlink(args) => netlink::run(&args.command).await,
            Command::Replay(args) => replay::run(args),
            Command::Snapshot(args) => snapshot::run(args, &kernel).await,
            #[cfg(feature = "agent")]
            Command::Agent(args) => Box::pin(agent::run(args, &kernel)).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
}

/// Writes warnings, and further messages if wanted.
fn log_to_stderr(verbose: u8) {
    let messages = if verbose >= 3 || debug::is_wanted() { LevelFilter::TRACE } else { LevelFilter::OFF };
    // aya logs each relocation; only its warnings are useful here.
    let of_aya = ["aya", "aya_obj"].map(|target| (target, LevelFilter::WARN));
    command::log_to_stderr(verbose, &[&of_aya[..], &[(debug::TARGET, messages)]].concat());
    let Host { name, kernel } = host();
    tracing::info!("droptrace {}, Linux {kernel} on {name}", env!("CARGO_PKG_VERSION"));
}
