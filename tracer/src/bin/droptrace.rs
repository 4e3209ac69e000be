//! `droptrace`: counts and shows the packets that this kernel drops.

use std::process::ExitCode;

use droptrace_base::command::exit_code;
use tracer::cli;

fn main() -> ExitCode {
    exit_code("droptrace", cli::run(cli::args::Cli::read()))
}
