//! What the command lines of both programs have in common: the log, the form of results, `explain`, and the exit status.

mod explain;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{fmt, util::SubscriberInitExt as _};

pub use explain::{ExplainArgs, explain};

use crate::outside::{LogWriter, say};
use crate::render::output::reader_gone;

/// Form of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document a line
    Json,
}

/// Warnings and, if wanted, more, as lines like those that this program writes itself.
/// `others` are the targets of more libraries, and what is logged of them.
pub fn log_to_stderr(verbose: u8, others: &[(&'static str, LevelFilter)]) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // They tell each step of a request; only their warnings are of use here.
    let of_requests = ["rustls", "ureq", "ureq_proto"].map(|target| (target, LevelFilter::WARN));
    let filter = Targets::new().with_default(level).with_targets(of_requests).with_targets(others.iter().copied());
    let has_colors = io::stderr().is_terminal();
    let lines = fmt::layer()
        .with_writer(move || LogWriter { has_colors })
        .with_ansi(has_colors)
        .without_time()
        .with_target(verbose > 0);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// The exit status of a command that ended so: 0 done, 1 failed; some also have 3. Wrong usage is 2, which clap sees to.
///
/// A failure is told on stderr with all its causes. A reader that went away, as `head` does, has had what it wanted:
/// that is a normal end.
pub fn exit_code(program: &str, result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(program, format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::output::OutputError;

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = OutputError::ReaderGone { target: "stdout".into() };
        let gone = anyhow::Error::from(io::Error::new(io::ErrorKind::BrokenPipe, gone)).context("showing drops");
        assert_eq!(exit_code("droptrace", Err(gone)), ExitCode::SUCCESS);
        assert_eq!(exit_code("droptrace", Ok(ExitCode::SUCCESS)), ExitCode::SUCCESS);
        assert_eq!(exit_code("droptrace", Err(anyhow::anyhow!("a failure"))), ExitCode::FAILURE);
    }
}
