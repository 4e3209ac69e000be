//! The words of a filter behind the options, as tcpdump takes them.

use clap::Args;
use clap::error::ErrorKind;

use super::{Command, usage_error};
use crate::filter::Filter;

/// The words of a filter.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterWords {
    /// Only drops that match: the words of an expression
    ///
    /// --filter takes the same expression in one argument
    #[arg(value_name = "FILTER", conflicts_with = "filter")]
    pub(crate) words: Vec<String>,
}

/// Joins the words of a command's filter with blanks, as tcpdump does, and puts them where `--filter` would be.
pub(super) fn take_words(command: &mut Command) -> Result<(), clap::Error> {
    let (words, filter) = match command {
        Command::Stat(args) => (&args.words.words, &mut args.stat.common.filter),
        #[cfg(feature = "top")]
        Command::Top(args) => (&args.words.words, &mut args.common.filter),
        Command::Trace(args) => (&args.words.words, &mut args.common.filter),
        Command::Snapshot(args) => (&args.words.words, &mut args.filter),
        Command::Compare(args) => (&args.words.words, &mut args.filter),
        Command::Replay(args) => (&args.words.words, &mut args.filter),
        Command::Rule(args) => (&args.words.words, &mut args.filter),
        _ => return Ok(()),
    };
    if words.is_empty() {
        return Ok(());
    }
    match Filter::parse(&words.join(" ")) {
        Ok(parsed) => *filter = Some(parsed),
        Err(error) => {
            return Err(usage_error(Some(command), ErrorKind::ValueValidation, &format!("invalid filter: {error}")));
        }
    }
    Ok(())
}
