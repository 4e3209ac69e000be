//! Where the results of a command go.

use clap::Args;

use super::Format;
use crate::command::OutputFile;
use crate::render::output::ColorChoice;

/// Where a command writes text for people or lines for programs.
#[derive(Args, Clone, Debug, Default)]
pub struct Destination {
    /// Where the results go.
    #[command(flatten)]
    pub file: OutputFile,

    /// When to use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    #[arg(help = "Use colours; auto: on a terminal, unless the environment has NO_COLOR")]
    pub color: ColorChoice,
}

/// Form and destination of the results of a command without colours.
#[derive(Args, Clone, Debug)]
pub struct Results {
    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub file: OutputFile,
}
