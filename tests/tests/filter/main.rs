//! Filters that the kernel program applies: the verifier accepts them, and they count exactly the drops that match.

mod loads;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    trials::run_one_by_one(loads::trials())
}
