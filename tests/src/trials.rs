//! Runs tests and prints which passed, failed, or could not run here.

use std::fmt;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::geteuid;

use crate::sys;

/// Namespaces and processes of few tests at a time leave the machine usable, and their sum short.
const THREADS: usize = 2;

/// Trials that could not run, which are printed after all others.
static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Trials that took longer than this are named at the end, with their time.
const LONG: Duration = Duration::from_secs(10);
/// The tests that took long.
static TOOK_LONG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Reason why a test cannot run on this machine. As a test's error it means: skipped, neither passed nor failed.
#[derive(Debug)]
pub struct Unable(pub String);

impl fmt::Display for Unable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Unable {}

/// A named test.
pub fn trial(name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    let owned = name.to_owned();
    Trial::ignorable_test(name, move || {
        let started = Instant::now();
        let result = run();
        took(&owned, started.elapsed());
        match result {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => match error.downcast_ref::<Unable>() {
                Some(Unable(reason)) => Ok(skipped(&owned, reason)),
                None => Err(Failed::from(format!("{error:#}"))),
            },
        }
    })
}

/// A test that only root can run.
pub fn trial_as_root(name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    trial(name, || {
        ensure!(geteuid().is_root(), Unable("not root".to_owned()));
        run()
    })
}

fn took(name: &str, time: Duration) {
    if time > LONG {
        let line = format!("took {:.0} s: {name}", time.as_secs_f64());
        TOOK_LONG.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

fn skipped(name: &str, reason: &str) -> Completion {
    let line = format!("SKIPPED {name}: {}", reason.replace('\n', "; "));
    SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    Completion::ignored()
}

/// Runs all trials, as the command line asks for. Returns the exit code.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    run_by(THREADS, trials)
}

/// Does the same as [`run`], one trial at a time.
pub fn run_one_by_one(trials: Vec<Trial>) -> ExitCode {
    run_by(1, trials)
}

fn run_by(threads: usize, trials: Vec<Trial>) -> ExitCode {
    // The parent process may have SIGHUP ignored, as `nohup` does, and all programs that the tests start would inherit
    // that.
    sys::default_hangup();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    let conclusion = libtest_mimic::run(&arguments, trials);
    for line in TOOK_LONG.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{line}");
    }
    for line in SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{line}");
    }
    conclusion.exit_code()
}
