//! The words of a filter behind the options, as tcpdump takes them.

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _};

use super::{Cli, Command};
use crate::filter::Filter;

/// The words of a filter.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterWords {
    /// Report only drops that match: the words of an expression, as --filter takes it in one argument
    #[arg(value_name = "FILTER", conflicts_with = "filter")]
    pub words: Vec<String>,
}

/// Joins the words of a command's filter with blanks, as tcpdump does, and puts them where `--filter` would be.
pub(super) fn take_words(command: &mut Command) -> Result<(), clap::Error> {
    let (words, filter) = match command {
        Command::Stat(args) => (&args.words.words, &mut args.stat.common.filter),
        Command::Trace(args) => (&args.words.words, &mut args.common.filter),
        Command::Replay(args) => (&args.words.words, &mut args.filter),
        _ => return Ok(()),
    };
    if !words.is_empty() {
        let parsed = Filter::parse(&words.join(" "));
        *filter = Some(parsed.map_err(|error| refused(&error.to_string()))?);
    }
    Ok(())
}

fn refused(error: &str) -> clap::Error {
    Cli::command().error(ErrorKind::ValueValidation, format!("invalid filter: {error}"))
}
