//! What was typed behind `droptrace netlink`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;

const EXAMPLES: &str = "\
Examples:
  droptrace netlink families             what can be asked of this kernel
  droptrace netlink family NET_DM        the drop monitor: commands, rights, attributes; or why it is not here
  droptrace netlink family nlctrl --format json | jq '.operations[].name'
  droptrace netlink listeners            who hears multicasts, and what they missed

Rights: none; as root, listeners also shows other network namespaces and whose the sockets are.
Exit status: 0 done, 1 failed (also when the family is not there), 2 wrong usage.";

/// Options of `netlink`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct NetlinkArgs {
    /// What to look at.
    #[command(subcommand)]
    pub command: NetlinkCommand,
}

/// What to look at.
#[derive(Clone, Debug, Subcommand)]
pub enum NetlinkCommand {
    /// List the generic netlink families of this network namespace
    Families(ShowArgs),
    /// Show a family's commands, multicast groups, and what its attributes may be
    Family(FamilyArgs),
    /// Show who listens to netlink multicasts, how full their buffers are, and what they missed
    Listeners(ShowArgs),
}

impl NetlinkCommand {
    /// How much is to be said on stderr.
    pub const fn verbose(&self) -> u8 {
        match self {
            Self::Families(show) | Self::Listeners(show) => show.verbose,
            Self::Family(args) => args.show.verbose,
        }
    }
}

/// Options of `netlink family`.
#[derive(Args, Clone, Debug)]
pub struct FamilyArgs {
    /// The family's name; the kernel may load its module
    pub name: String,

    /// What all of them have.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// Options of all that is shown once.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Write the results to this file instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Say more on stderr about what goes on; -vvv shows the messages
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}
