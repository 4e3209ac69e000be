//! `droptrace`: counts and shows the packets that this kernel drops.

use std::process::ExitCode;

use droptrace_base::command::exit_code;
use tracer::{cli, run};

fn main() -> ExitCode {
    match run::become_workload() {
        Ok(()) => exit_code("droptrace", cli::run(cli::args::Cli::read())),
        Err(status) => status.into(),
    }
}
