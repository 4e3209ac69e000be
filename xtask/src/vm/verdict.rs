//! Reads what a machine's first process and its tests say, and believes nothing that is not said exactly once.

use std::collections::BTreeMap;

use crate::support::tally::Tally;

/// What lines of the first process start with (`tests/src/bin/vm-init.rs`).
pub(super) const MARK: &str = "droptrace-vm: ";

/// Words of the kernel's that mean that something is wrong with it, by its console.
const TROUBLE: [&str; 9] = [
    "Kernel panic",
    "Oops:",
    "BUG:",
    "WARNING:",
    "soft lockup",
    "hard LOCKUP",
    "rcu: INFO:",
    "blocked for more than",
    "Out of memory",
];

/// The starts, verdicts and test results of one job.
#[derive(Debug, Default)]
struct Job {
    starts: u32,
    verdicts: Vec<String>,
    tally: Tally,
}

/// What a machine said so far.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The kernel that the first process found itself on.
    pub(super) up: Option<String>,
    /// The first process has run all its jobs.
    pub(super) ended: bool,
    jobs: BTreeMap<String, Job>,
    running: Option<String>,
    problems: Vec<String>,
}

impl Session {
    /// Takes in one line.
    pub(super) fn line(&mut self, line: &str) {
        let Some(said) = line.strip_prefix(MARK) else {
            if let Some(job) = self.running.as_ref().and_then(|name| self.jobs.get_mut(name)) {
                job.tally.line(line);
            }
            return;
        };
        let (verb, rest) = said.split_once(' ').unwrap_or((said, ""));
        match verb {
            "up" if self.up.is_none() => self.up = Some(rest.to_owned()),
            "start" if self.running.is_none() => {
                self.jobs.entry(rest.to_owned()).or_default().starts += 1;
                self.running = Some(rest.to_owned());
            }
            "verdict" => {
                let (name, status) = rest.split_once(' ').unwrap_or((rest, ""));
                if self.running.take().as_deref() != Some(name) {
                    self.problems.push(format!("a verdict on {name}, which was not running"));
                }
                self.jobs.entry(name.to_owned()).or_default().verdicts.push(status.to_owned());
            }
            "end" if self.running.is_none() && !self.ended => self.ended = true,
            "note" => self.problems.push(rest.to_owned()),
            _ => self.problems.push(format!("an unexpected line: {line}")),
        }
    }

    /// The exit status of a job, if it has one verdict and no more.
    pub(super) fn status(&self, name: &str) -> Option<&str> {
        match self.jobs.get(name)?.verdicts.as_slice() {
            [status] => Some(status),
            _ => None,
        }
    }

    /// Adds up the jobs that had to run. `console` is what the kernel said, `fate` how the machine ended if that was
    /// not as it should.
    pub(super) fn judge(mut self, expected: &[&str], console: &str, fate: Option<String>) -> Tally {
        let mut tally = Tally::default();
        for name in expected {
            match self.jobs.remove(*name) {
                None => tally.fail(format!("{name}: did not run")),
                Some(job) => judge_job(&mut tally, name, job),
            }
        }
        let stray = self.jobs.into_keys().map(|name| format!("{name}: ran, though nobody asked"));
        let untimely = (!self.ended).then(|| "the machine did not come to its end".to_owned());
        let trouble = console.lines().find(|line| TROUBLE.iter().any(|word| line.contains(word)));
        let trouble = trouble.map(|line| format!("the kernel says: {}", line.trim()));
        stray.chain(self.problems).chain(untimely).chain(fate).chain(trouble).for_each(|problem| tally.fail(problem));
        tally
    }
}

fn judge_job(tally: &mut Tally, name: &str, job: Job) {
    let Job { starts, verdicts, tally: tests } = job;
    let (results, failed) = (tests.results, tests.failed);
    tally.add(tests);
    match verdicts.as_slice() {
        [] => tally.fail(format!("{name}: no verdict")),
        [status] => {
            if results != 1 {
                tally.fail(format!("{name}: {results} results (exit status {status})"));
            } else if (status == "0") != (failed == 0) {
                tally.fail(format!("{name}: {failed} tests failed, yet the exit status is {status}"));
            }
        }
        more => tally.fail(format!("{name}: {} verdicts", more.len())),
    }
    if starts != 1 {
        tally.fail(format!("{name}: started {starts} times"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\n\
        droptrace-vm: up 6.12\n\
        \n\
        droptrace-vm: start drops\n\
        test a ... ok\n\
        test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
        SKIPPED b: no such reason\n\
        droptrace-vm: verdict drops 0\n\
        droptrace-vm: end\n";

    fn judged(text: &str, console: &str) -> (String, Vec<String>) {
        let mut session = Session::default();
        text.lines().for_each(|line| session.line(line));
        let tally = session.judge(&["drops"], console, None);
        let failures = tally.failed_lines().filter_map(|line| Some(line.strip_prefix("FAILED ")?.to_owned()));
        (tally.to_string(), failures.collect())
    }

    fn failures(text: &str) -> Vec<String> {
        judged(text, "").1
    }

    #[test]
    fn tests_are_added_up() {
        assert_eq!(judged(GOOD, "Linux version 6.12\n"), ("2 passed, 0 failed, 1 skipped".to_owned(), vec![]));
    }

    #[test]
    fn a_verdict_that_is_missing_or_doubled_fails() {
        let missing = GOOD.replace("droptrace-vm: verdict drops 0\ndroptrace-vm: end\n", "");
        assert_eq!(failures(&missing), ["drops: no verdict", "the machine did not come to its end"]);
        let verdict = "droptrace-vm: verdict drops 0\n";
        let doubled = GOOD.replace(verdict, &verdict.repeat(2));
        assert_eq!(failures(&doubled), ["drops: 2 verdicts", "a verdict on drops, which was not running"]);
        assert_eq!(failures("droptrace-vm: up 6.12\ndroptrace-vm: end\n"), ["drops: did not run"]);
        let twice = GOOD.replace("droptrace-vm: end\n", "droptrace-vm: start drops\n");
        assert_eq!(failures(&twice)[0], "drops: started 2 times");
    }

    #[test]
    fn a_status_that_does_not_fit_the_results_fails() {
        let killed = GOOD.replace("verdict drops 0", "verdict drops signal-9");
        assert_eq!(failures(&killed), ["drops: 0 tests failed, yet the exit status is signal-9"]);
        let silent = GOOD.replace("test result: ok. 2 passed", "2 passed");
        assert_eq!(failures(&silent), ["drops: 0 results (exit status 0)"]);
        let failed =
            GOOD.replace("0 failed", "1 failed").replace("a ... ok", "a ... FAILED").replace("drops 0", "drops 101");
        assert_eq!(judged(&failed, ""), ("2 passed, 1 failed, 1 skipped".to_owned(), vec!["a".to_owned()]));
    }

    #[test]
    fn a_kernel_in_trouble_fails() {
        let (count, failures) = judged(GOOD, "[ 1.0] fine\r\n[ 2.0] BUG: scheduling while atomic\r\n");
        assert_eq!(count, "2 passed, 1 failed, 1 skipped");
        assert_eq!(failures, ["the kernel says: [ 2.0] BUG: scheduling while atomic"]);
    }

    #[test]
    fn a_job_that_nobody_asked_for_fails() {
        let other = GOOD.replace("drops", "other");
        assert_eq!(failures(&other), ["drops: did not run", "other: ran, though nobody asked"]);
    }
}
