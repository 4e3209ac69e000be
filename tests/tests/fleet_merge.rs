//! `droptrace-fleet merge` on the snapshots of a fleet that never was, and on bad input.

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    trials::run(vec![])
}
