//! The table of provoked drops, each counted by the kernel program.

mod table;

use std::process::ExitCode;

use tests::{case, trials};

fn main() -> ExitCode {
    trials::run(case::trials(table::cases()))
}
