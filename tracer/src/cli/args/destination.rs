//! Where the results of a command go.

use clap::Args;

use super::Format;
use crate::command::OutputFile;
use crate::command::heading::OUTPUT;
use crate::render::output::ColorChoice;

/// Where a command writes text for people or lines for programs.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Destination {
    /// Where the results go.
    #[command(flatten)]
    pub(crate) file: OutputFile,

    /// When to use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", hide_short_help = true, help_heading = OUTPUT)]
    #[arg(help = "Use colours; auto: on a terminal, unless the environment has NO_COLOR")]
    pub(crate) color: ColorChoice,
}

/// Form and destination of the results of a command without colours.
#[derive(Args, Clone, Debug)]
pub(crate) struct Results {
    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub(crate) file: OutputFile,
}
