//! The command line of `stat`.

use std::time::Duration;

use clap::Args;

use super::{CommonArgs, FilterWords};
use crate::dimension::Dimensions;
use crate::render::rank::Sort;
use crate::render::units;
use crate::sink::StatFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace stat --duration 10s          count for ten seconds, then print one table
  droptrace stat --interval 1s --top 5   show the five largest rows each second
  droptrace stat --by reason,netns --format json | jq .drops
  droptrace stat --stack --duration 10s  also show through which functions the packets came
  droptrace stat tcp port 443            count only packets of these connections
  droptrace stat unusual and net 10.0.0.0/8

Counts are exact: the line `ledger` reports how many drops were seen, counted and lost.

Capabilities, exit status and Ctrl-C are as in `droptrace --help`.";

/// Options of `stat`.
#[derive(Args, Clone, Debug)]
pub struct StatArgs {
    /// Show the totals this often [default: 1s on a terminal without --duration, else once at the end]
    #[arg(long, value_name = "TIME", value_parser = units::interval)]
    pub interval: Option<Duration>,

    /// Rows of the table, 0 for all [default: what fits on the terminal, else 20]
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub top: Option<usize>,

    /// Group drops by these dimensions, separated by commas: reason, site, interface, protocol, netns; whose packets they were:
    /// pod, container, unit (of systemd), cgroup, socket, process, user; which connections: flow (src, sport, dst, dport,
    /// transport), or one of its parts; mark [default: the first five]
    #[arg(long, value_name = "DIMENSION,…")]
    pub by: Option<Dimensions>,

    /// Show through which functions packets came, too: the kernel's call stacks of a sample of the drops (the first 4 of a row
    /// on each CPU in a second, then one in 1,024). Only for the BPF program; the counts stay exact
    #[arg(long)]
    pub stack: bool,

    /// Show how many dropped TCP segments were sent again afterwards, and how many retransmissions have no drop on this host.
    /// Only for the BPF program
    #[arg(long)]
    pub retransmits: bool,

    /// Form of the results; folded and svg are call stacks alone, for --stack
    #[arg(long, value_enum, default_value_t)]
    pub format: StatFormat,

    /// Order of the rows
    #[arg(long, value_enum, default_value_t, value_name = "ORDER")]
    pub sort: Sort,

    /// Common options of all commands.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `droptrace stat`. Without the name of the command there are no words of a filter: the first word is a command.
#[derive(Args, Clone, Debug)]
pub struct StatCommand {
    /// Options of `stat`.
    #[command(flatten)]
    pub stat: StatArgs,

    /// The words of a filter.
    #[command(flatten)]
    pub words: FilterWords,
}

/// The times at which `stat` shows its totals, apart from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updates {
    /// No other time.
    AtEnd,
    /// At each interval.
    Every(Duration),
}

impl StatArgs {
    const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

    /// An interval on the command line always counts; otherwise only a user who watches an unlimited run receives
    /// updates.
    pub fn updates(&self, is_terminal: bool) -> Updates {
        match self.interval {
            Some(interval) => Updates::Every(interval),
            None if is_terminal && self.common.duration.is_none() => Updates::Every(Self::DEFAULT_INTERVAL),
            None => Updates::AtEnd,
        }
    }
}
