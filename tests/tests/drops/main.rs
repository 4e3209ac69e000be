//! The table of provoked drops, each counted by the kernel program.

mod sniffers;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::droptrace::{Droptrace, command};
use tests::trials::trial;
use tests::witness::Witness;
use tests::{case, trials};

fn main() -> ExitCode {
    let mut all = case::trials(table::cases());
    all.push(trial(
        "counters_that_move_are_those_of_the_explanations",
        counters_that_move_are_those_of_the_explanations,
    ));
    all.extend(sniffers::trials());
    trials::run(all)
}

/// The witness of a case rises by the number of its drops. `droptrace explain` names such counters as those that move with
/// a reason, and no others.
fn counters_that_move_are_those_of_the_explanations() -> Result<()> {
    let mut shown = BTreeMap::<_, BTreeSet<String>>::new();
    // Drops without a reason have nothing in common.
    for case in table::cases().into_iter().filter(|case| case.reason != "NOT_SPECIFIED") {
        shown.entry(case.reason.to_owned()).or_default().extend(case.witness.and_then(Witness::name));
    }
    let finished = Droptrace::spawn(&mut command(&["explain", "--format", "json"])?)?.wait()?;
    for line in finished.stdout.lines() {
        let explanation: Value = serde_json::from_str(line)?;
        let reason = explanation["reason"].as_str().unwrap_or_default();
        let counters = explanation["counters"].as_array().into_iter().flatten();
        let named: BTreeSet<_> = counters.filter_map(Value::as_str).map(str::to_owned).collect();
        let shown = shown.remove(reason).unwrap_or_default();
        ensure!(named == shown, "{reason}: {named:?} are named, and {shown:?} were shown to move");
    }
    ensure!(shown.is_empty(), "no explanations of {shown:?}");
    Ok(())
}
