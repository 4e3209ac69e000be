//! What the subcommands share.

pub(crate) mod apt;
pub(crate) mod cargo;
pub(crate) mod paths;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod tally;
pub(crate) mod victoria_metrics;
