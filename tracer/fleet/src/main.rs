//! `droptrace-fleet`: the drops of many hosts, and the hosts that stand out.

use std::process::ExitCode;

use clap::Parser as _;
use droptrace_base::command::exit_code;
use droptrace_fleet::cli::{NAME, args::Cli, run};

fn main() -> ExitCode {
    exit_code(NAME, run(&Cli::parse()))
}
