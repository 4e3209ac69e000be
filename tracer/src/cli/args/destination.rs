//! Where the results of a command go.

use std::path::PathBuf;

use clap::Args;

use super::Format;
use crate::render::output::ColorChoice;

/// Where a command writes text for people or lines for programs.
#[derive(Args, Clone, Debug, Default)]
pub struct Destination {
    /// Write the results to this file, replacing its content, instead of to stdout;
    /// compressed if its name ends in .zst
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

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

    /// Write the results to this file, replacing its content, instead of to stdout;
    /// compressed if its name ends in .zst
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
