//! The common parts of both programs' command lines: the log, the form of results, `explain`, and the exit status.

mod explain;
mod habits;
pub mod heading;
mod usage;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{fmt, util::SubscriberInitExt as _};

pub use explain::{Elsewhere, ExplainArgs, Lookup, explain};
pub use usage::{parse, parse_from};

use crate::outside::{LogWriter, say};
use crate::render::output::reader_gone;

/// The file that results go to.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputFile {
    /// Write the results to this file, not to stdout
    ///
    /// The file's content is replaced. The results are compressed if the name ends in .zst
    #[arg(short, long, value_name = "FILE", help_heading = heading::OUTPUT)]
    pub output: Option<PathBuf>,
}

/// Form of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document per line
    Json,
}

/// Writes warnings, and further messages if wanted, to stderr, in the form of the program's own messages.
/// `others` are log targets of further libraries, and the levels of their messages.
pub fn log_to_stderr(verbose: u8, others: &[(&'static str, LevelFilter)]) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // These libraries log each step of a request; only their warnings are useful here.
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

/// The exit status for the result of a command: 0 done, 1 failed; some commands also have 3. Wrong usage is 2, which
/// clap returns.
///
/// A failure is reported on stderr with all its causes. A reader that closed the pipe, as `head` does, has all that it
/// wanted: that is a normal end.
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
    fn closed_pipe_is_not_a_failure() {
        let gone = OutputError::ReaderGone { target: "stdout".into() };
        let gone = anyhow::Error::from(io::Error::new(io::ErrorKind::BrokenPipe, gone)).context("showing drops");
        assert_eq!(exit_code("droptrace", Err(gone)), ExitCode::SUCCESS);
        assert_eq!(exit_code("droptrace", Ok(ExitCode::SUCCESS)), ExitCode::SUCCESS);
        assert_eq!(exit_code("droptrace", Err(anyhow::anyhow!("a failure"))), ExitCode::FAILURE);
    }
}
