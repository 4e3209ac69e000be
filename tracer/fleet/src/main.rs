//! `droptrace-fleet`: the drops of many hosts, and the hosts that stand out.

use std::process::ExitCode;

use droptrace_base::command::{exit_code, parse};
use droptrace_fleet::cli::{NAME, run};

fn main() -> ExitCode {
    exit_code(NAME, run(&parse()))
}
