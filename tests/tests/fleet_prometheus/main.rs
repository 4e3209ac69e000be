//! `droptrace-fleet diagnose` and what is packaged for Prometheus, against Prometheus itself.

mod history;
mod packaged;

use std::process::ExitCode;

use tests::trials::{self, trial};

fn main() -> ExitCode {
    trials::run(vec![
        trial("growth_is_exact_whatever_happens_to_agents", history::growth_is_exact_whatever_happens_to_agents),
        trial("rules_are_valid", packaged::rules_are_valid),
        trial("alerts_come_when_they_should", packaged::alerts_come_when_they_should),
    ])
}
