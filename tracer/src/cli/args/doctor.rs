//! What is typed for `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// Options of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Put the kernel's drop monitor right, should a run of droptrace that was killed have left it on; nothing else
    #[arg(long, conflicts_with_all = ["format", "output"])]
    pub repair: bool,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Write the results to this file instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Say more on stderr about what goes on
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
