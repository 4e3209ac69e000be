//! The command line of `doctor`.

use clap::Args;

use super::Results;

/// Options of `doctor`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
    /// Only restore the kernel's drop monitor, if a killed run of droptrace left it changed
    #[arg(long, conflicts_with_all = ["format", "output"])]
    pub(crate) repair: bool,

    /// Form and destination of the results.
    #[command(flatten)]
    pub(crate) results: Results,

    /// Log more to stderr
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}
