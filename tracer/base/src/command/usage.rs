//! Reads the command line, with errors that show the way out.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error, Parser};

use super::habits;
use crate::filter::Filter;

/// Longest value of an option that an error repeats, in characters.
const LONGEST_VALUE: usize = 60;

/// The command line of this process. Wrong usage ends the process with status 2, and a request for help with 0.
pub fn parse<C: Parser>() -> C {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line. A negative number after an option counts as the option's value, so that the error is about
/// this value. The error for an option of another command names that command.
pub fn parse_from<C: Parser>(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<C, Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut command = with_negative_numbers(C::command());
    let matches = command.try_get_matches_from_mut(&words);
    matches.and_then(|mut matches| C::from_arg_matches_mut(&mut matches)).map_err(|error| {
        let error = with_command_of_filter(with_command_of_option(error, &command), &command, &words);
        let error = with_short_value(error);
        error.format(&mut command)
    })
}

fn with_negative_numbers(command: Command) -> Command {
    let is_option = |argument: &Arg| !argument.is_positional() && argument.get_action().takes_values();
    let allowed = |argument: Arg| if is_option(&argument) { argument.allow_negative_numbers(true) } else { argument };
    command.mut_args(allowed).mut_subcommands(with_negative_numbers)
}

/// Cuts a long value, such as a filter: the error behind it shows the part that is wrong.
fn with_short_value(mut error: Error) -> Error {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return error };
    if value.chars().count() > LONGEST_VALUE {
        let short: String = value.chars().take(LONGEST_VALUE).chain(['…']).collect();
        error.insert(ContextKind::InvalidValue, ContextValue::String(short));
    }
    error
}

fn with_command_of_option(mut error: Error, command: &Command) -> Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let option = option.clone();
    // The tip to write `--` before it: no command takes such a word, and `stat` would run it.
    error.remove(ContextKind::Suggested);
    let habit = habits::tip(&option).filter(|_| command.get_name() == "droptrace");
    if let Some(tip) = habit {
        return with_tip(error, StyledStr::from(tip));
    }
    let commands = commands_with(command, command.get_name(), option.trim_start_matches("--"));
    if !commands.is_empty() {
        let tip = StyledStr::from(format!("'{option}' is an option of {}", commands.join(", ")));
        return with_tip(error, tip);
    }
    error
}

/// For who types a filter alone, as tcpdump takes it.
fn with_command_of_filter(mut error: Error, command: &Command, words: &[OsString]) -> Error {
    if error.kind() != ErrorKind::InvalidSubcommand || command.get_name() != "droptrace" {
        return error;
    }
    let text: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let text = text.join(" ");
    if Filter::parse(&text).is_err() {
        return error;
    }
    error.remove(ContextKind::SuggestedSubcommand);
    with_tip(error, StyledStr::from(format!("a filter comes after a command, as in 'droptrace stat {text}'")))
}

/// Adds a tip. A similar option of the command is not what the user wanted.
fn with_tip(mut error: Error, tip: StyledStr) -> Error {
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Usage);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    error
}

/// The commands that have this option: `'droptrace trace'`.
fn commands_with(command: &Command, name: &str, option: &str) -> Vec<String> {
    let has_it = command.get_arguments().any(|argument| argument.get_long() == Some(option));
    // The options of the program itself, if it has any, are those of its default command.
    let own = (has_it && name.contains(' ')).then(|| format!("'{name}'"));
    let below = command.get_subcommands();
    let below = below.flat_map(|below| commands_with(below, &format!("{name} {}", below.get_name()), option));
    own.into_iter().chain(below).collect()
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;

    use super::*;
    use crate::render::units;

    #[derive(Debug, Parser)]
    #[command(name = "program")]
    struct Cli {
        #[command(subcommand)]
        command: Which,
    }

    #[derive(Debug, Subcommand)]
    enum Which {
        One {
            #[arg(long, value_parser = units::number::<u8>(1..=9))]
            top: Option<u8>,
            #[arg(long)]
            other: bool,
        },
        Two {
            #[arg(long)]
            all: bool,
            file: Option<String>,
        },
    }

    fn refused(line: &str) -> String {
        parse_from::<Cli>(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn option_of_another_command_is_an_error_that_names_the_command() {
        let text = refused("program one --all");
        assert!(text.contains("unexpected argument '--all'") && text.contains("an option of 'program two'"), "{text}");
        let text = refused("program two --top 1");
        assert!(text.contains("tip: '--top' is an option of 'program one'\n"), "{text}");
        assert!(!text.contains("-- --top"), "{text}");
        let text = refused("program one --al");
        assert!(!text.contains("an option of"), "{text}");
    }

    #[test]
    fn negative_number_is_the_value_of_its_option() {
        let text = refused("program one --top -1");
        assert!(text.contains("'-1' for '--top <TOP>': write a whole number from 1 to 9"), "{text}");
    }

    #[test]
    fn long_value_is_cut_in_its_error() {
        let text = refused(&format!("program one --top {}", "7".repeat(500)));
        assert!(text.contains(&format!("'{}…' for '--top", "7".repeat(LONGEST_VALUE))), "{text}");
    }

    #[test]
    fn valid_command_line_is_read() {
        let Cli { command: Which::One { top, other } } = parse_from("program one --top 3 --other".split(' ')).unwrap()
        else {
            panic!("not one")
        };
        assert_eq!((top, other), (Some(3), true));
        assert!(parse_from::<Cli>("program two --all file".split(' ')).is_ok());
    }
}
