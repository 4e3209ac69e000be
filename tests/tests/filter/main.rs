//! Filters that the kernel program applies: the verifier accepts them, and they count exactly the drops that match.

mod loads;
mod truth;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    let all = [truth::trials(), loads::trials()];
    trials::run_one_by_one(all.into_iter().flatten().collect())
}
