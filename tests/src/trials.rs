//! Runs cases and says which passed, failed, or could not run here.

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Why a case cannot run on this machine. As a case's error it means: skipped, neither passed nor failed.
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
    Trial::ignorable_test(name, move || match run() {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<Unable>() {
            Some(Unable(reason)) => {
                println!("SKIPPED {owned}: {reason}");
                Ok(Completion::ignored_with(reason))
            }
            None => Err(Failed::from(format!("{error:#}"))),
        },
    })
}

/// Runs all, in the way the command line asks for, and tells the exit code.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
