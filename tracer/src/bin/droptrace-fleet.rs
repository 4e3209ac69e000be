//! `droptrace-fleet`: what many hosts drop, and which of them stand out.

use std::process::ExitCode;

use clap::Parser as _;
use tracer::cli::exit_code;
use tracer::fleet::cli::{NAME, args::Cli, run};

fn main() -> ExitCode {
    exit_code(NAME, run(&Cli::parse()))
}
