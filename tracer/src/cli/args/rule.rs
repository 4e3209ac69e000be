//! The command line of `rule`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::{FilterWords, Results};
use crate::filter::Filter;
use crate::render::units;

pub(super) const NOTES: &str = "\
droptrace changes nftables in the network namespace while it runs: it adds the table `inet droptrace-trace`, which sets \
`meta nftrace` of packets before all other chains of prerouting and output, and reads the kernel's trace of these packets. \
It touches no other table. At the end droptrace deletes the table. If droptrace is killed, Linux 5.12 and later delete \
the table at once; on older kernels the next `droptrace rule` in the namespace deletes it, or `nft delete table inet \
droptrace-trace`.

The trace shows the rules of nftables and of iptables-nft, but not those of iptables-legacy, of bridge tables, and of the \
hook ingress, which is before prerouting. A packet through the loopback interface is traced twice: on its way out, and on \
its way in.

Examples:
  droptrace rule                                      which rules drop packets here?
  droptrace rule udp port 53 and host 192.0.2.1       of these packets
  droptrace rule --netns blue --duration 1m --limit 100
  droptrace rule --format json | jq '.rules[] | [.table, .chain, .handle, .drops]'

Capabilities: CAP_NET_ADMIN in the network namespace; CAP_SYS_ADMIN for a namespace other than droptrace's own.
Exit status: 0 done, 1 failed, 2 wrong usage.";

/// Options of `rule`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RuleArgs {
    /// End after this time, such as 10s, 1m30s or 500ms
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,

    /// Trace at most this many packets per second: the kernel takes some microseconds for each rule that a traced packet meets
    #[arg(long, value_name = "N", default_value = "1000")]
    #[arg(value_parser = units::number(NonZeroU32::MIN..=NonZeroU32::new(1_000_000).unwrap()))]
    pub(crate) limit: NonZeroU32,

    /// Trace packets in this network namespace: self, an inode number, pid:N, a name under /run/netns, or a path
    #[arg(long, value_name = "TARGET", default_value = "self")]
    pub(crate) netns: String,

    /// Count only packets that match this expression, such as 'tcp port 443': conditions on the packet's bytes (docs/reference/filter.md).
    /// Protocols, addresses and ports joined by `and` limit the traced packets, too
    #[arg(long, value_name = "EXPRESSION", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,

    /// Form and destination of the results.
    #[command(flatten)]
    pub(crate) results: Results,

    /// Log more to stderr; -vvv shows the messages
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,
}
