//! The table of provoked drops.

mod udp;

use std::process::ExitCode;

use tests::{case, trials};

fn main() -> ExitCode {
    let tables = [udp::CASES];
    trials::run(case::trials(tables.concat()))
}
