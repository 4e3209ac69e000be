//! The command line of `stat`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::{CommonArgs, FailIf, FilterWords, HideArgs, PastArgs};
use crate::command::heading::{GROUP, OUTPUT, RUN};
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
  droptrace stat --explain --duration 10s   say what the drops mean, and what to run next
  droptrace stat tcp port 443            count only packets of these connections
  droptrace stat unusual and net 10.0.0.0/8
  droptrace stat --unusual               hide what healthy hosts often have, and count it in one line
  droptrace stat -- make check           count while a command runs (as root, if droptrace is)
  droptrace stat --fail-if 'unusual > 0' -- make check
  droptrace stat --since 02:00 --until 02:30   what the agent counted then (docs/guide/what-happened-last-night.md)

Counts are exact: the line `ledger` reports how many drops were seen, counted and lost.

Capabilities, exit status and Ctrl-C are as in `droptrace --help`.";

/// Options of `stat`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches that do not depend on one another")]
pub(crate) struct StatArgs {
    /// Show the totals this often
    ///
    /// The default is 1s on a terminal without --duration and without a command, else once at the end
    #[arg(long, value_name = "TIME", value_parser = units::interval, help_heading = RUN)]
    pub(crate) interval: Option<Duration>,

    /// Rows of the table, 0 for all
    ///
    /// The default is what fits on the terminal, else 20
    #[arg(long, value_name = "N", value_parser = units::count, help_heading = OUTPUT)]
    pub(crate) top: Option<usize>,

    /// Group drops by these dimensions, such as reason,netns
    ///
    /// Separated by commas: reason, site, interface, protocol, netns; whose packets they were:
    /// pod, container, unit (of systemd), cgroup, socket, process, user; which connections: flow (src, sport, dst, dport,
    /// transport), or one of its parts; mark [default: the first five]
    #[arg(long, value_name = "DIMENSION,…", help_heading = GROUP)]
    pub(crate) by: Option<Dimensions>,

    /// Show through which functions packets came, too
    ///
    /// The kernel's call stacks of a sample of the drops (the first 4 of a row
    /// on each CPU in a second, then one in 1,024). Only for the BPF program; the counts stay exact
    #[arg(long, hide_short_help = true, help_heading = GROUP)]
    pub(crate) stack: bool,

    /// Explain the rows that matter most, with commands to run
    ///
    /// After the last table, unusual rows first; the commands have the rows' namespaces, interfaces, addresses and ports
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) explain: bool,

    /// Show how many dropped TCP segments were sent again afterwards, and how many retransmissions have no drop on this host.
    /// Only for the BPF program
    #[arg(long, hide_short_help = true, help_heading = GROUP)]
    pub(crate) retransmits: bool,

    /// Form of the results
    ///
    /// html is a page for a browser, folded and svg are call stacks alone, for --stack
    #[arg(long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub(crate) format: StatFormat,

    /// Order of the rows
    #[arg(long, value_enum, default_value_t, value_name = "ORDER", help_heading = GROUP)]
    pub(crate) sort: Sort,

    /// Comma-separated values, one line for each row: `--format csv`
    #[arg(long, conflicts_with = "format", hide_short_help = true, help_heading = OUTPUT)]
    pub(crate) csv: bool,

    /// Which drops have no row.
    #[command(flatten)]
    pub(crate) hide: HideArgs,

    /// Exit with 4 if this is true: 'unusual > 0'
    ///
    /// The condition compares a count of drops with a number: 'total > 100', 'lost > 0', 'outside > 0', 'unusual and netns lab > 0'
    /// (docs/guide/network-tests-in-ci.md). The run also fails if drops were lost that could make the condition true. May be
    /// repeated
    #[arg(long, value_name = "CONDITION", help_heading = RUN)]
    pub(crate) fail_if: Vec<FailIf>,

    /// The time span of a history.
    #[command(flatten)]
    pub(crate) past: PastArgs,

    /// Common options of all commands.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// `droptrace stat`. Without the name of the command there are no words of a filter: the first word is a command.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatCommand {
    /// Options of `stat`.
    #[command(flatten)]
    pub(crate) stat: StatArgs,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,

    /// Count while this command runs
    ///
    /// The command has the capabilities that droptrace was started with. droptrace ends with the command, and with its exit
    /// status. Results go to stderr, unless --output names a file. With --duration, the command receives SIGTERM when the
    /// time is over
    #[arg(last = true, value_name = "CMD")]
    pub(crate) workload: Vec<OsString>,
}

/// The times at which `stat` shows its totals, apart from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Updates {
    /// No other time.
    AtEnd,
    /// At each interval.
    Every(Duration),
}

impl StatArgs {
    /// The form of the results.
    pub(crate) const fn format(&self) -> StatFormat {
        if self.csv { StatFormat::Csv } else { self.format }
    }

    const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

    /// An interval on the command line always counts; otherwise only a user who watches an unlimited run receives
    /// updates.
    pub(crate) fn updates(&self, is_terminal: bool) -> Updates {
        match self.interval {
            Some(interval) => Updates::Every(interval),
            None if is_terminal && self.common.duration.is_none() => Updates::Every(Self::DEFAULT_INTERVAL),
            None => Updates::AtEnd,
        }
    }
}
