//! `droptrace-fleet diagnose` and the packaged files for Prometheus, with Prometheus itself.

mod history;
mod live;
mod packaged;
mod scene;
mod unwell;

use std::process::ExitCode;

use tests::trials::{self, trial, trial_as_root};

fn main() -> ExitCode {
    trials::run(vec![
        trial("growth_is_exact_whatever_happens_to_agents", history::growth_is_exact_whatever_happens_to_agents),
        trial("victoria_metrics_gives_the_same_results", history::victoria_metrics_gives_the_same_results),
        trial_as_root("diagnose_names_who_stands_out", live::diagnose_names_who_stands_out),
        trial("rules_are_valid", packaged::rules_are_valid),
        trial("queries_of_the_dashboard_are_valid", packaged::queries_of_the_dashboard_are_valid),
        trial_as_root("metrics_are_those_of_the_agent", packaged::metrics_are_those_of_the_agent),
        trial("missing_engine_features_are_reported", unwell::missing_engine_features_are_reported),
        trial("alerts_come_when_they_should", packaged::alerts_come_when_they_should),
    ])
}
