//! `droptrace-fleet`: the drops of many hosts, and the hosts that stand out.

use std::process::ExitCode;

use droptrace_base::command::{exit_code, parse};
use droptrace_base::outside::say;
use droptrace_fleet::cli::{NAME, run};
use droptrace_fleet::collect::become_program;

fn main() -> ExitCode {
    if let Err((why, status)) = become_program() {
        say(NAME, why);
        return status.into();
    }
    exit_code(NAME, run(&parse()))
}
