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
    all.push(trial("owners_of_all_cases_are_documented", owners_of_all_cases_are_documented));
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

/// The table of the documentation has each reason with the owner of its drops on old and new kernels, and nothing else.
fn owners_of_all_cases_are_documented() -> Result<()> {
    const TEXT: &str = include_str!("../../../docs/reference/attribution.md");
    let mut cases = BTreeMap::<_, Vec<&str>>::new();
    for case in table::cases() {
        cases.entry((case.reason, case.owner.shown())).or_default().push(case.name);
    }
    let line = |((reason, [newer, older]), names): (&(&str, [&str; 2]), &Vec<&str>)| {
        format!("| `{reason}` | {newer} | {older} | {} |", names.join(", "))
    };
    let expected: Vec<String> = cases.iter().map(line).collect();
    let found: Vec<&str> = TEXT.lines().filter(|line| line.starts_with("| `")).collect();
    ensure!(found == expected, "docs/reference/attribution.md is to have these lines:\n{}", expected.join("\n"));
    Ok(())
}
