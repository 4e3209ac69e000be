//! The subcommand `kernels`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::support::cargo;
use crate::support::process::announce;
use crate::vm::results::{Results, RunResult};
use crate::vm::selection::TABLED;

/// The results that the table in the docs is made of.
const RESULTS: &str = "tests/kernels/results.json";
const DOCUMENT: &str = "docs/reference/kernels.md";
const START: &str = "<!-- cargo xtask kernels: start -->\n";
const END: &str = "<!-- cargo xtask kernels: end -->\n";

/// Makes the table of tested kernels in docs/reference/kernels.md from results of tests.
///
/// `cargo xtask test --only-kernels --kernels 6.12` writes its results to target/kernels.json. This command takes them into
/// tests/kernels/results.json, where they replace earlier ones of the same series and test set, and writes the table.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files with results [default: target/kernels.json, if it is there]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let last = Some(Results::of_last_run()).filter(|last| args.files.is_empty() && last.exists());
    let path = cargo::root().join(RESULTS);
    let mut results = if path.exists() { Results::read(&path)? } else { Results::default() };
    for file in args.files.iter().chain(&last) {
        results.take(Results::read(file)?.results);
    }
    results.write(&path)?;
    let document = cargo::root().join(DOCUMENT);
    let text = read(&document)?;
    fs::write(&document, replaced(&text, &table(&results))?)
        .with_context(|| format!("cannot write {}", document.display()))?;
    announce(format_args!("{} results in {RESULTS} and in {DOCUMENT}", results.results.len()));
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The text with another table between the marks.
fn replaced(text: &str, table: &str) -> Result<String> {
    let (before, rest) = text.split_once(START).with_context(|| format!("{DOCUMENT} has no line {START:?}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{DOCUMENT} has no line {END:?}"))?;
    Ok([before, START, table, END, after].concat())
}

/// The table, and the tests that did not run.
fn table(results: &Results) -> String {
    let mut text = "\n| series | kernel | architecture | test set | passed | failed | skipped | droptrace, day |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    results.results.iter().for_each(|result| text.push_str(&row(result)));
    let all = TABLED.into_iter().flatten().map(ToString::to_string);
    let missing = all.filter(|series| results.results.iter().all(|result| result.series != *series));
    text.extend(missing.map(|series| format!("| {series} | | | not run by this table yet | | | | |\n")));
    text.push('\n');
    results.results.iter().for_each(|result| text.push_str(&reasons(result)));
    text
}

fn row(result: &RunResult) -> String {
    let RunResult { series, kernel, architecture, set, tests, version, day, passed, failed, skipped, .. } = result;
    let tests = tests.join("`, `");
    format!(
        "| {series} | {kernel} | {architecture} | {set}: `{tests}` | {passed} | {failed} | {skipped} | {version}, {day} |\n"
    )
}

/// The tests of a result that did not run, by reason.
fn reasons(RunResult { series, set, reasons, .. }: &RunResult) -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for it in reasons {
        match by_reason.iter_mut().find(|(reason, _)| *reason == it.reason) {
            Some((_, tests)) => tests.push(&it.test),
            None => by_reason.push((&it.reason, vec![&it.test])),
        }
    }
    let line = |(reason, tests): &(&str, Vec<&str>)| {
        format!("* {series}, {set}: `{}` skipped: {reason}\n", tests.join("`, `"))
    };
    let mut text: String = by_reason.iter().map(line).collect();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::results::tests::result;

    #[test]
    fn table_in_the_docs_is_that_of_the_results() {
        let results = Results::read(&cargo::root().join(RESULTS)).unwrap();
        let text = read(&cargo::root().join(DOCUMENT)).unwrap();
        assert_eq!(text, replaced(&text, &table(&results)).unwrap(), "`cargo xtask kernels` writes it again");
    }

    #[test]
    fn each_result_has_a_row_and_its_reasons() {
        let mut results = Results::default();
        let mut other = result("6.12", "netlink", 3);
        other.reasons.push(crate::vm::results::Reason { test: "b_test".into(), reason: "no such reason".into() });
        results.take(vec![other]);
        let table = table(&results);
        let row = "| 6.12 | 6.12.1 | x86_64 | netlink: `doctor`, `exact` | 3 | 0 | 1 | 0.2.0, 2026-11-30 |\n";
        assert!(table.contains(row), "{table}");
        assert!(table.contains("* 6.12, netlink: `a_test`, `b_test` skipped: no such reason\n"), "{table}");
        assert!(table.contains("| 5.10 | | | not run by this table yet | | | | |\n"), "{table}");
        assert_eq!(table.matches("\n| 6.12 |").count(), 1, "{table}");
    }

    #[test]
    fn only_text_between_the_marks_changes() {
        let text = format!("before\n{START}old\n{END}after\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), format!("before\n{START}new\n{END}after\n"));
        assert!(replaced("no marks", "").is_err());
    }
}
