//! The command line. Its meaning on this host is resolved elsewhere.

#[cfg(feature = "agent")]
mod agent;
#[cfg(feature = "bench")]
mod bench;
mod compare;
mod contradiction;
mod destination;
mod doctor;
mod fail_if;
mod filter;
mod hide;
mod netlink;
mod past;
mod reconcile;
mod replay;
mod rule;
mod snapshot;
mod source;
mod stat;
#[cfg(feature = "top")]
mod top;
mod trace;

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

#[cfg(feature = "agent")]
pub(crate) use agent::{AgentArgs, AgentOptions, DEFAULT_PORT, HistoryOptions, OtlpOptions};
#[cfg(feature = "bench")]
pub(crate) use bench::BenchArgs;
pub(crate) use compare::CompareArgs;
use compare::NOTES as COMPARE_NOTES;
pub(crate) use destination::{Destination, Results};
pub(crate) use doctor::DoctorArgs;
pub(crate) use fail_if::{Answer, Counted, FailIf};
pub(crate) use filter::FilterWords;
pub(crate) use hide::HideArgs;
pub(crate) use netlink::{CryptoArgs, FamilyArgs, NetlinkArgs, NetlinkCommand, ShowArgs, WatchArgs};

pub(crate) use past::PastArgs;
use reconcile::NOTES as RECONCILE_NOTES;
pub(crate) use reconcile::ReconcileArgs;
use replay::EXAMPLES as REPLAY_EXAMPLES;
pub(crate) use replay::ReplayArgs;
use rule::NOTES as RULE_NOTES;
pub(crate) use rule::RuleArgs;
use snapshot::EXAMPLES as SNAPSHOT_EXAMPLES;
pub(crate) use snapshot::SnapshotArgs;
pub use source::Source;
use stat::EXAMPLES as STAT_EXAMPLES;
pub(crate) use stat::{StatArgs, StatCommand, Updates};
#[cfg(feature = "top")]
pub(crate) use top::TopArgs;
use trace::EXAMPLES as TRACE_EXAMPLES;
pub(crate) use trace::TraceArgs;

use crate::command;
use crate::command::heading::{ADVANCED, BACKEND, FILTER, RUN};
pub(crate) use crate::command::{ExplainArgs, Format};
use crate::filter::Filter;

use crate::backend::ebpf::default_room;
use crate::backend::net_dm::AlertMode;
use crate::render::units;

/// Default number of aggregation keys in memory.
pub(crate) const DEFAULT_MAX_ROWS: u32 = 65_536;

const EXAMPLES: &str = "\
Examples:
  droptrace                              ALONE
  droptrace --duration 10s               count for ten seconds, then print one table
  droptrace --duration 10s --format json | jq '.drops[0]'
  droptrace --netns blue --interface eth0 --sort rate
  droptrace stat --interval 1s           show drops as they happen, by reason and drop site
  droptrace trace --count 20             show the next 20 drops, one line each
  droptrace trace --all --format json -o drops.jsonl
  droptrace explain SOCKET_RCVBUFF       what this reason means, and what to do

Counts are exact: the line `ledger` reports how many drops were seen, counted and lost.

Capabilities: root, or CAP_BPF and CAP_PERFMON, with CAP_SYSLOG for the names of kernel functions.
With fewer, droptrace uses the next capture backend, and reports what it loses (`droptrace doctor` shows all).
Exit status: 0 done (also when the reader of a pipe goes away), 1 failed, 2 wrong usage,
4 `stat --fail-if` was true; `stat -- CMD` passes the status of CMD on.
Ctrl-C ends a run in order and still prints the result.";

/// The last line of the short help.
const SHORT_HELP: &str = "All options and examples: --help";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  droptrace explain                      list all reasons, functions and counters
  droptrace explain SOCKET_RCVBUFF       one reason; also in lower case, or with SKB_DROP_REASON_ before it
  droptrace explain ip_error             the drops at a function of the kernel
  droptrace explain TcpExtListenDrops    one of the kernel's counters of drops
  droptrace explain 6                    the reason with this number in the running kernel
  droptrace explain SOCKET_RCVBUFF netns web and udp dst port 53
                                         commands with these values, in this namespace
  droptrace explain 'reason IP_RPFILTER and netns web and iface eth0'

The command needs no capabilities, and also knows the reasons of other kernels.";

/// What `droptrace` does on a terminal.
#[cfg(feature = "top")]
const ALONE: &str = "watch drops on a screen with keys, as `top` does; without a terminal as `stat`";
#[cfg(not(feature = "top"))]
const ALONE: &str = "show drops as they happen, by reason and drop site";

fn examples() -> String {
    EXAMPLES.replace("ALONE", ALONE)
}

/// Counts the packets that this kernel drops: how many, why, where, and whose they were.
///
/// Without a command it does what `stat` does, and takes the options of `stat`; on a terminal and without options, what `top` does.
#[derive(Debug, Parser)]
#[command(name = "droptrace", version, after_help = examples(), args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    stat: StatArgs,
}

impl Cli {
    /// The command line of this process. Wrong usage ends the process with status 2, and a request for help with 0.
    pub fn read() -> Self {
        command::parse::<Self>().checked().unwrap_or_else(|error| error.exit())
    }

    /// Takes the words of a filter as the value of `--filter`, and refuses options that have no effect with another option.
    pub(crate) fn checked(mut self) -> Result<Self, clap::Error> {
        self.command.as_mut().map_or(Ok(()), filter::take_words)?;
        let Some(text) = contradiction::of(self.command.as_ref(), &self.stat) else { return Ok(self) };
        Err(usage_error(self.command.as_ref(), ErrorKind::ArgumentConflict, &text))
    }

    /// `droptrace top`.
    #[cfg(feature = "top")]
    pub(crate) fn of_top() -> Self {
        Self::parse_from(["droptrace", "top"])
    }

    /// The command; `stat` is the default.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| {
            Command::Stat(StatCommand { stat: self.stat, words: FilterWords::default(), workload: vec![] })
        })
    }
}

/// The error of wrong usage, with the usage line of the command.
pub(crate) fn usage_error(command: Option<&Command>, kind: ErrorKind, text: &str) -> clap::Error {
    let mut cli = Cli::command();
    cli.build();
    let own = match command {
        Some(Command::Stat(_)) => cli.find_subcommand_mut("stat"),
        #[cfg(feature = "top")]
        Some(Command::Top(_)) => cli.find_subcommand_mut("top"),
        Some(Command::Trace(_)) => cli.find_subcommand_mut("trace"),
        Some(Command::Compare(_)) => cli.find_subcommand_mut("compare"),
        Some(Command::Replay(_)) => cli.find_subcommand_mut("replay"),
        Some(Command::Rule(_)) => cli.find_subcommand_mut("rule"),
        Some(Command::Snapshot(_)) => cli.find_subcommand_mut("snapshot"),
        _ => None,
    };
    match own {
        Some(own) => own.error(kind, text),
        None => cli.error(kind, text),
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Count drops by reason and drop site (the default command)
    #[command(after_help = SHORT_HELP, after_long_help = STAT_EXAMPLES)]
    Stat(StatCommand),
    /// Watch drops on a screen with keys: rows by their present rate, to filter, group and open
    #[cfg(feature = "top")]
    #[command(after_help = top::EXAMPLES)]
    Top(TopArgs),
    /// Show one line for each drop
    #[command(after_help = SHORT_HELP, after_long_help = TRACE_EXAMPLES)]
    Trace(TraceArgs),
    /// Run the BPF program and the drop monitor at once, and report where and why they differ
    #[command(after_help = COMPARE_NOTES)]
    Compare(CompareArgs),
    /// Compare the kernel's own counters with the drops: what explains each rise, and what is outside `kfree_skb`
    #[command(after_help = RECONCILE_NOTES)]
    Reconcile(ReconcileArgs),
    /// Find the firewall rules of nftables or iptables-nft that drop packets: changes nftables while it runs
    #[command(after_help = RULE_NOTES)]
    Rule(RuleArgs),
    /// Show a recording of `trace` as if it happened now; needs no capabilities
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Count for a while, and write one document that merges with those of other hosts
    #[command(after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotArgs),
    /// Count until stopped, and serve metrics for Prometheus to scrape
    #[cfg(feature = "agent")]
    #[command(after_help = agent::examples())]
    Agent(AgentArgs),
    /// Report which capture backends work on this kernel with these capabilities, and how to enable the others
    Doctor(DoctorArgs),
    /// Explain what a drop reason or a kernel counter means, what causes it, and what to look at next
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Inspect netlink: generic families, their commands, and the sockets that receive multicasts
    Netlink(NetlinkArgs),
    /// Measure the cost of tracing, and the losses under load, of droptrace and of other tools
    #[cfg(feature = "bench")]
    #[command(after_help = bench::examples())]
    Bench(BenchArgs),
}

impl Command {
    /// Whether the command shows a time that is over.
    pub(crate) const fn is_of_the_past(&self) -> bool {
        match self {
            Self::Stat(args) => args.stat.past.since.is_some(),
            Self::Trace(args) => args.past.since.is_some(),
            #[cfg(feature = "top")]
            Self::Top(args) => args.past.since.is_some(),
            _ => false,
        }
    }

    /// The verbosity on stderr.
    pub(crate) const fn verbose(&self) -> u8 {
        match self {
            Self::Stat(args) => args.stat.common.verbose,
            #[cfg(feature = "top")]
            Self::Top(args) => args.common.verbose,
            Self::Trace(args) => args.common.verbose,
            Self::Compare(args) => args.verbose,
            Self::Reconcile(args) => args.verbose,
            Self::Rule(args) => args.verbose,
            Self::Snapshot(args) => args.verbose,
            #[cfg(feature = "agent")]
            Self::Agent(args) => args.verbose,
            Self::Doctor(args) => args.verbose,
            #[cfg(feature = "bench")]
            Self::Bench(_) => 0,
            Self::Explain(_) | Self::Replay(_) => 0,
            Self::Netlink(args) => args.command.verbose(),
        }
    }
}

/// Common options of all commands.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommonArgs {
    /// End after this time, such as 10s
    ///
    /// Also 1m30s or 500ms. Without it, Ctrl-C ends the run
    #[arg(long, value_name = "TIME", value_parser = units::duration, help_heading = RUN)]
    pub(crate) duration: Option<Duration>,

    /// Where the results go.
    #[command(flatten)]
    pub(crate) destination: Destination,

    /// Only drops in this network namespace
    ///
    /// Written as self, an inode number, pid:N, a name under /run/netns, or a path
    #[arg(long, value_name = "TARGET", help_heading = FILTER)]
    pub(crate) netns: Option<String>,

    /// Only drops of this interface
    ///
    /// Written as its index, or its name in droptrace's own network namespace or that of --netns
    #[arg(long, value_name = "NAME|INDEX", help_heading = FILTER)]
    pub(crate) interface: Option<String>,

    /// Do not read the kernel's counters, which show losses outside `kfree_skb`
    #[arg(long, hide_short_help = true, help_heading = ADVANCED)]
    pub(crate) no_counters: bool,

    /// Only drops that match, such as 'tcp port 443'
    ///
    /// Also 'unusual and net 10.0.0.0/8': the language of tcpdump, and words about drops (docs/reference/filter.md)
    #[arg(long, value_name = "EXPRESSION", value_parser = Filter::parse, help_heading = FILTER)]
    pub(crate) filter: Option<Filter>,

    /// Log more to stderr
    ///
    /// -vv also logs messages of the BPF program
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = ADVANCED)]
    pub(crate) verbose: u8,

    /// Capture backend
    ///
    /// auto selects the first that works, and reports what it loses
    #[arg(long, value_enum, default_value_t, help_heading = BACKEND)]
    pub(crate) source: Source,

    /// Alert mode of the drop monitor [default: packet, else summary; trace needs packet]
    #[arg(long, value_enum, hide_short_help = true, value_name = "MODE", help_heading = BACKEND)]
    pub(crate) net_dm_mode: Option<NetDmMode>,

    /// How to attach to the kernel; auto uses the cheapest way that works here
    #[arg(long, value_enum, default_value_t, hide_short_help = true, help_heading = BACKEND)]
    pub(crate) mode: Mode,

    /// Aggregation keys that certainly have room in the kernel between two readings; drops of further keys may be counted by reason only.
    /// Each takes up to 176 bytes of memory for each CPU; hosts with more than 128 CPUs have less room by default
    #[arg(long, value_name = "N", default_value_t = default_room(), value_parser = units::number::<u32>(1..=1_048_576))]
    #[arg(hide_short_help = true, help_heading = ADVANCED)]
    pub(crate) map_entries: u32,

    /// Aggregation keys that droptrace keeps in memory; drops of further keys are counted by reason only
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ROWS, value_parser = units::number::<u32>(1..=16_777_216))]
    #[arg(hide_short_help = true, help_heading = ADVANCED)]
    pub(crate) max_rows: u32,
}

/// The alert mode of the drop monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetDmMode {
    /// Each packet; packets that find no room in its queue or the socket are counted as lost
    Packet,
    /// Hits by drop site: cheaper, without reasons; some are lost without a count
    Summary,
}

impl From<NetDmMode> for AlertMode {
    fn from(mode: NetDmMode) -> Self {
        match mode {
            NetDmMode::Packet => Self::Packet,
            NetDmMode::Summary => Self::Summary,
        }
    }
}

/// How to attach to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The cheapest that works
    #[default]
    Auto,
    /// Typed access to the packet, 5.5 and later with BTF
    #[value(name = "tp_btf")]
    TpBtf,
    /// Copies each field out of the packet
    #[value(name = "raw_tracepoint")]
    RawTracepoint,
}

#[cfg(test)]
mod tests;
