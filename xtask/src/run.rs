//! The subcommand `run`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::support::cargo;
use crate::support::process::{self, announce};

/// Builds droptrace and runs it, through sudo when not root.
///
/// Needs only rustup and a C linker: the kernel program's object is checked in. The build is quick and not optimized;
/// commands that need no optional features are built without them.
/// Everything after `--` goes to droptrace, whose exit status is passed on: `cargo xtask run -- stat --duration 5s`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of droptrace
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Commands that need none of the optional features, all of which take long to build.
const PLAIN: [&str; 9] = ["compare", "doctor", "explain", "netlink", "replay", "rule", "snapshot", "stat", "trace"];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    announce("a quick build, not optimized; `cargo xtask dist` makes the optimized program");
    let features: &[&str] = if is_plain(&args.arguments) { &["--no-default-features"] } else { &[] };
    let program = cargo::build_binary("tracer", "droptrace", &[&["--profile", "quick"], features].concat())?;
    let mut command = process::privileged(&program)?;
    command.args(&args.arguments);
    // droptrace replaces this process, and so receives the terminal's Ctrl-C and returns its own exit status.
    Err(command.exec()).with_context(|| format!("cannot start `{}`", process::line(&command)))
}

/// Whether the command that droptrace gets needs no optional features. Without a command, a droptrace without the feature `top`
/// does what `stat` does: the first run in a checkout need not wait for the 15 packages of the screen.
fn is_plain(arguments: &[OsString]) -> bool {
    let Some(first) = arguments.first() else { return true };
    let is_option = first.as_encoded_bytes().starts_with(b"-");
    let asks_for_help = first == "-h" || first == "--help";
    is_option && !asks_for_help || PLAIN.iter().any(|command| first == command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_commands_need_features() {
        let is_plain = |line: &str| is_plain(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        for line in ["", "--duration 1s", "stat --duration 1s", "trace --all", "doctor", "explain NO_SOCKET"] {
            assert!(is_plain(line), "{line}");
        }
        for line in ["agent", "bench --quick", "--help", "-h", "help", "no-such-command"] {
            assert!(!is_plain(line), "{line}");
        }
    }
}
