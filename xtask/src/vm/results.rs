//! The results of the tests on other kernels, as a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::kernels::{Kernel, Series};
use super::plans::Run;
use crate::support::tally::Tally;
use crate::support::{cargo, process};

const SCHEMA: &str = "droptrace.kernels.v1";

/// A file of results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Results {
    schema: String,
    /// Sorted by series and test set.
    pub(crate) results: Vec<RunResult>,
}

/// The result of one machine: of a test set on a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunResult {
    /// The series, as on the command line.
    pub(crate) series: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    /// The name of the test set.
    pub(crate) set: String,
    /// Its test targets.
    pub(crate) tests: Vec<String>,
    /// The version of droptrace.
    pub(crate) version: String,
    /// The day of the run, in UTC.
    pub(crate) day: String,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) reasons: Vec<Reason>,
}

/// The reason why a test did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reason {
    pub(crate) test: String,
    pub(crate) reason: String,
}

impl RunResult {
    /// The result of a machine with this tally.
    pub(super) fn new(series: Series, kernel: &Kernel, run: &Run, tally: &Tally) -> Result<Self> {
        let reason = |(test, reason): &(String, String)| Reason { test: test.clone(), reason: reason.clone() };
        Ok(Self {
            series: series.to_string(),
            kernel: kernel.release.clone(),
            architecture: kernel.architecture.to_string(),
            set: run.name.to_owned(),
            tests: run.jobs.iter().map(|job| job.name.clone()).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            day: process::output(Command::new("date").args(["-u", "+%F"]))?.trim_end().to_owned(),
            passed: tally.passed,
            failed: tally.failed,
            skipped: tally.skipped,
            reasons: tally.reasons().iter().map(reason).collect(),
        })
    }
}

impl Default for Results {
    fn default() -> Self {
        Self { schema: SCHEMA.to_owned(), results: Vec::new() }
    }
}

impl Results {
    /// The file that a run of the tests writes.
    pub(crate) fn of_last_run() -> PathBuf {
        cargo::root().join("target/kernels.json")
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let results: Self =
            serde_json::from_str(&text).with_context(|| format!("{} has no results", path.display()))?;
        ensure!(results.schema == SCHEMA, "{} has the schema {}, not {SCHEMA}", path.display(), results.schema);
        Ok(results)
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes results in; each replaces the earlier one of its series and test set.
    pub(crate) fn take(&mut self, others: Vec<RunResult>) {
        let key = |result: &RunResult| (result.series.parse::<Series>().ok(), result.set.clone());
        let all = self.results.drain(..).chain(others);
        let newest: BTreeMap<_, _> = all.map(|result| (key(&result), result)).collect();
        self.results = newest.into_values().collect();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn result(series: &str, set: &str, passed: u64) -> RunResult {
        RunResult {
            series: series.to_owned(),
            kernel: format!("{series}.1"),
            architecture: "x86_64".to_owned(),
            set: set.to_owned(),
            tests: vec!["doctor".to_owned(), "exact".to_owned()],
            version: "0.2.0".to_owned(),
            day: "2026-11-30".to_owned(),
            passed,
            failed: 0,
            skipped: 1,
            reasons: vec![Reason { test: "a_test".to_owned(), reason: "no such reason".to_owned() }],
        }
    }

    #[test]
    fn newer_results_replace_older_ones() {
        let mut results = Results::default();
        results.take(vec![result("6.12", "tests", 1), result("5.10", "tests", 2), result("6.12", "netlink", 3)]);
        results.take(vec![result("6.12", "tests", 4)]);
        let found: Vec<_> = results.results.iter().map(|it| (&*it.series, &*it.set, it.passed)).collect();
        assert_eq!(found, [("5.10", "tests", 2), ("6.12", "netlink", 3), ("6.12", "tests", 4)]);
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let path = std::env::temp_dir().join(format!("xtask-results-{}.json", std::process::id()));
        let mut results = Results::default();
        results.take(vec![result("6.1-rt", "counting", 9)]);
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        fs::write(&path, r#"{"schema":"other","results":[]}"#).unwrap();
        assert!(Results::read(&path).unwrap_err().to_string().contains("the schema other"));
        fs::remove_file(path).unwrap();
    }
}
