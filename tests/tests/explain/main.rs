//! Explanations: their commands run as printed, and lead to the causes of planted faults.

mod commands;
mod faults;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    let mut all = commands::trials();
    all.extend(faults::trials());
    trials::run(all)
}
