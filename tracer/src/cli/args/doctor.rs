//! The command line of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// Options of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Only restore the kernel's drop monitor, if a killed run of droptrace left it changed
    #[arg(long, conflicts_with_all = ["format", "output"])]
    pub repair: bool,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Write the results to this file instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Log more to stderr
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
