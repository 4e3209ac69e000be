//! The command line: what was typed ([`args`]), where results go ([`output`]) and in which form ([`sinks`]).

pub mod args;
pub mod output;
pub mod sinks;
mod units;

use std::io::{self, Write as _};
use std::process::ExitCode;

use output::reader_gone;

/// The exit status of a command that ended so: 0 done, 1 failed. Wrong usage is 2, which clap sees to.
///
/// A failure is told on stderr with all its causes. A reader that went away, as `head` does, has had what it wanted:
/// that is a normal end.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell a failure to write to stderr to.
            _ = writeln!(io::stderr(), "droptrace: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::output::OutputError;
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = OutputError::ReaderGone { target: "stdout".into() };
        let gone = anyhow::Error::from(io::Error::new(io::ErrorKind::BrokenPipe, gone)).context("showing drops");
        assert_eq!(exit_code(Err(gone)), ExitCode::SUCCESS);
        assert_eq!(exit_code(Ok(())), ExitCode::SUCCESS);
        assert_eq!(exit_code(Err(anyhow::anyhow!("a failure"))), ExitCode::FAILURE);
    }
}
