//! Adds up the reports of test runners.

use std::fmt;

/// The results of any number of test runners.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Tests that did not run.
    pub(crate) skipped: u64,
    /// Number of result lines: one for each test executable.
    pub(crate) results: u64,
    /// Failed tests, if their runner reported them.
    failures: Vec<Failure>,
    /// The index of the failure that the lines which follow are about.
    speaking: Option<usize>,
    /// Reasons why tests did not run, by name, in the order of the reports.
    reasons: Vec<(String, String)>,
}

/// A failed test.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failure {
    name: String,
    /// What it says, in one line; empty if it is unknown.
    message: String,
}

/// The most bytes of a failure's message.
const LONGEST: usize = 600;

impl Tally {
    /// Adds one line of a runner's output. Lines of other kinds are ignored.
    ///
    /// Known lines are libtest's `test result: ok. 5 passed; 0 failed; 2 ignored; …` and `test NAME ... ignored,
    /// REASON`, and `SKIPPED NAME: REASON`, which a test prints if it finds that it cannot run here. What a failed test
    /// says follows `---- NAME ----` or `---- NAME stdout ----`.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some((_, counts)) = line.split_once("test result: ") {
            self.speaking = None;
            self.results += 1;
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.skipped += count(counts, "ignored");
        } else if let Some(skipped) = line.strip_prefix("SKIPPED ") {
            let (name, reason) = skipped.split_once(": ").unwrap_or((skipped, "no reason given"));
            self.note(name, reason);
        } else if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.add_failure(name.trim_end().to_owned());
        } else if let Some((name, reason)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ignored")) {
            let reason = reason.strip_prefix(", ").unwrap_or("marked as ignored");
            // The reason in a SKIPPED line is more specific.
            let name = name.trim_end();
            if self.reasons.iter().all(|(known, _)| known != name) {
                self.note(name, reason);
            }
        } else {
            self.message(line);
        }
    }

    /// Takes a line of what the failed tests say.
    fn message(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" ----")) {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            self.speaking = self.failures.iter().rposition(|failure| failure.name == name);
        } else if line == "failures:" {
            self.speaking = None;
        } else if let Some(Failure { message, .. }) = self.speaking.and_then(|at| self.failures.get_mut(at)) {
            let blank = if message.is_empty() || line.is_empty() { "" } else { " " };
            let left = LONGEST.saturating_sub(message.len());
            message.extend(blank.chars().chain(line.trim().chars()).take(left));
        }
    }

    /// Counts a test that did not run, with the reason.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        self.note(name, reason);
    }

    /// Counts a failed test.
    pub(crate) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.add_failure(what);
    }

    fn add_failure(&mut self, name: String) {
        self.speaking = None;
        self.failures.push(Failure { name, ..Failure::default() });
    }

    /// The names of the tests that did not run, and why.
    pub(crate) fn reasons(&self) -> &[(String, String)] {
        &self.reasons
    }

    /// Puts the title of a run, such as its kernel, before the name of each test.
    pub(crate) fn qualify(&mut self, title: &str) {
        let failures = self.failures.iter_mut().map(|failure| &mut failure.name);
        let names = failures.chain(self.reasons.iter_mut().map(|(name, _)| name));
        names.for_each(|name| *name = format!("{title} {name}"));
    }

    fn note(&mut self, name: &str, reason: &str) {
        self.reasons.retain(|(known, _)| known != name);
        self.reasons.push((name.to_owned(), reason.to_owned()));
    }

    /// Adds another tally to this one.
    pub(crate) fn add(&mut self, mut other: Self) {
        other.settle();
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.results += other.results;
        self.failures.extend(other.failures);
        self.reasons.extend(other.reasons);
    }

    /// Subtracts tests that reported SKIPPED from those that passed: their runner has no other way to end them without
    /// a failure.
    fn settle(&mut self) {
        let silent = (self.reasons.len() as u64).saturating_sub(self.skipped).min(self.passed);
        self.passed -= silent;
        self.skipped += silent;
    }

    /// One line for each failed test, with what it says.
    pub(crate) fn failed_lines(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|Failure { name, message }| match message.as_str() {
            "" => format!("FAILED {name}"),
            message => format!("FAILED {name}: {message}"),
        })
    }

    /// One line for each test that did not run.
    pub(crate) fn skipped_lines(&self) -> impl Iterator<Item = String> {
        self.reasons.iter().map(|(name, reason)| format!("SKIPPED {name}: {reason}"))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The number before a word: `…5 passed; 0 failed` holds 5 before `passed`.
fn count(text: &str, word: &str) -> u64 {
    let words: Vec<&str> = text.split([' ', ';']).collect();
    let number = words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn runners_are_added_up() {
        let mut all = tally(
            "running 3 tests\n\
             test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: \u{1b}[31mFAILED\u{1b}[0m. 1 passed; 12 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!((all.passed, all.failed, all.skipped, all.results), (6, 12, 2, 2));
        all.add(tally("test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out"));
        assert_eq!(all.to_string(), "7 passed, 12 failed, 3 skipped");
    }

    #[test]
    fn a_test_that_says_skipped_has_not_passed() {
        let mut all = Tally::default();
        all.add(tally(
            "SKIPPED a: not here\n\
             test a ... ok\n\
             test b ... ok\n\
             test c ... ignored\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n",
        ));
        assert_eq!(all.to_string(), "1 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn each_skipped_test_has_one_reason() {
        let all = tally(
            "test drops::a ... ok\n\
             test drops::b ... ignored\n\
             SKIPPED drops::b: needs root\n\
             test drops::b ... ignored\n\
             test c ... ignored, takes an hour\n\
             SKIPPED d\n",
        );
        let lines: Vec<_> = all.skipped_lines().collect();
        assert_eq!(lines, ["SKIPPED drops::b: needs root", "SKIPPED c: takes an hour", "SKIPPED d: no reason given"]);
    }

    #[test]
    fn failed_lines_have_the_message() {
        let mut all = tally(
            "test a ... FAILED\n\
             test b::c ... FAILED\n\
             \n\
             failures:\n\
             \n\
             ---- a ----\n\
             3 instead of 4\n\
             \n\
             Caused by: nothing\n\
             ---- b::c stdout ----\n\
             thread 'b::c' panicked\n\
             \n\
             failures:\n    a\n    b::c\n\
             test result: FAILED. 0 passed; 2 failed; 0 ignored\n\
             of another runner\n\
             test d ... FAILED\n",
        );
        all.qualify("6.1");
        let lines: Vec<_> = all.failed_lines().collect();
        let [a, c] = ["FAILED 6.1 a: 3 instead of 4 Caused by: nothing", "FAILED 6.1 b::c: thread 'b::c' panicked"];
        assert_eq!(lines, [a, c, "FAILED 6.1 d"]);
        let many = format!("test e ... FAILED\n---- e ----\n{}", "0123456789".repeat(1_000));
        let line = tally(&many).failed_lines().next().unwrap();
        assert!((LONGEST - 20..LONGEST + 20).contains(&line.len()), "{line}");
    }

    #[test]
    fn other_lines_mean_nothing() {
        assert_eq!(tally("5 passed; 3 failed\ntest result of mine\n\nrunning 0 tests"), Tally::default());
    }
}
