//! `droptrace-fleet`: what many hosts drop, and which of them stand out.

use std::process::ExitCode;

use clap::Parser as _;
use droptrace_base::command::exit_code;
use droptrace_fleet::cli::{NAME, args::Cli, run};

fn main() -> ExitCode {
    exit_code(NAME, run(&Cli::parse()))
}
