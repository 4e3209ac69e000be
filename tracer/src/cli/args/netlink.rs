//! The command line of `droptrace netlink`.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Results, units};

const EXAMPLES: &str = "\
Examples:
  droptrace netlink families             what can be asked of this kernel
  droptrace netlink family NET_DM        the drop monitor: commands, capabilities, attributes; or why it is not here
  droptrace netlink family nlctrl --format json | jq '.operations[].name'
  droptrace netlink listeners            sockets that receive multicasts, and their lost messages
  droptrace netlink watch nlctrl         families that come and go
  droptrace netlink watch NET_DM --format json | jq -c .attributes
  droptrace netlink crypto gcm           algorithms with gcm in their name: may IPsec use them here?

Capabilities: none, but some groups need CAP_NET_ADMIN or CAP_SYS_ADMIN; as root, listeners also shows other network namespaces and whose the sockets are.
Exit status: 0 done, 1 failed (also when the family is not there), 2 wrong usage.";

/// Options of `netlink`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NetlinkArgs {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: NetlinkCommand,
}

/// The commands of `netlink`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NetlinkCommand {
    /// List the generic netlink families of this network namespace
    Families(ShowArgs),
    /// Show a family's commands, multicast groups, and the limits of its attributes
    Family(FamilyArgs),
    /// Show the sockets that receive netlink multicasts, the use of their buffers, and their lost messages
    Listeners(ShowArgs),
    /// List the kernel's cryptographic algorithms: sizes, priority, self-test
    Crypto(CryptoArgs),
    /// Join a family's multicast groups and show each message
    Watch(WatchArgs),
}

impl NetlinkCommand {
    /// The verbosity on stderr.
    pub(crate) const fn verbose(&self) -> u8 {
        match self {
            Self::Families(show) | Self::Listeners(show) => show.verbose,
            Self::Family(args) => args.show.verbose,
            Self::Crypto(args) => args.show.verbose,
            Self::Watch(args) => args.verbose,
        }
    }
}

/// Options of `netlink family`.
#[derive(Args, Clone, Debug)]
pub(crate) struct FamilyArgs {
    /// The family's name; the kernel may load its module
    pub(crate) name: String,

    /// Options of all commands that show something once.
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

/// Options of `netlink crypto`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CryptoArgs {
    /// Only algorithms whose name or driver contains this text
    pub(crate) name: Option<String>,

    /// Options of all commands that show something once.
    #[command(flatten)]
    pub(crate) show: ShowArgs,
}

/// Options of `netlink watch`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchArgs {
    /// The family's name; the kernel may load its module
    pub(crate) name: String,

    /// Join only this group of the family; may be given several times [default: all of them]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,

    /// End after this time, such as 10s, 1m30s or 500ms [default: run until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// End after this number of messages
    #[arg(short, long, value_name = "N", value_parser = units::positive::<NonZeroU64>)]
    pub(crate) count: Option<NonZeroU64>,

    /// Size of the receive buffer in bytes; messages that do not fit are lost
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20, value_parser = units::number::<u32>(1..=1 << 30))]
    pub(crate) buffer: u32,

    /// Form and destination of the results.
    #[command(flatten)]
    pub(crate) results: Results,

    /// Log more to stderr; -vvv shows the bytes of all messages
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Options of all commands that show something once.
#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// Form and destination of the results.
    #[command(flatten)]
    pub(crate) results: Results,

    /// Log more to stderr; -vvv shows the messages
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}
