//! The command line of `compare`.

use std::time::Duration;

use clap::Args;

use super::{CommonArgs, DEFAULT_MAX_ROWS, Destination, FilterWords, Format, Mode, NetDmMode, Source};
use crate::backend::ebpf::default_room;
use crate::filter::Filter;
use crate::render::units;

pub(super) const NOTES: &str = "\
Each drop site and reason is a row: the counts of both backends, and the causes of their difference as far as counters show. Drops that no counter \
explains are called unexplained.

Examples:
  droptrace compare --duration 30s
  droptrace compare --duration 30s --format json | jq '.total'
  droptrace compare --duration 30s tcp port 443

Exit status: 0 all differences are explained, 1 failed, 2 wrong usage, 3 some are unexplained.";

/// Options of `compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// End after this time, such as 10s, 1m30s or 500ms [default: run until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub(crate) destination: Destination,

    /// Compare only drops that match this expression of packets and `site`; see `droptrace trace --help`. Other words about drops
    /// are refused, because the backends may answer them in different ways. Needs the mode `packet` of the drop monitor
    #[arg(long, value_name = "EXPRESSION", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,

    /// Log more to stderr; -vv also logs messages of the BPF program
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// What the drop monitor should report: packets, joined one by one, or summaries
    #[arg(long, value_enum, default_value_t = NetDmMode::Packet, value_name = "MODE")]
    pub(crate) net_dm_mode: NetDmMode,

    /// How to attach to the kernel; auto uses the cheapest way that works here
    #[arg(long, value_enum, default_value_t, hide_short_help = true)]
    pub(crate) mode: Mode,

    /// Aggregation keys that have room in each backend; drops of further keys may be counted by reason only
    #[arg(long, value_name = "N", default_value_t = default_room(), value_parser = units::number::<u32>(1..=1_048_576))]
    #[arg(hide_short_help = true)]
    pub(crate) map_entries: u32,

    /// Size of the ring buffer between kernel and droptrace: a power of two, at least a page
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = units::ring_size)]
    #[arg(hide_short_help = true)]
    pub(crate) ring_size: u32,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,
}

impl CompareArgs {
    /// The same options as options of another command, with both backends.
    pub(crate) fn common(&self) -> CommonArgs {
        CommonArgs {
            no_counters: true,
            duration: self.duration,
            destination: self.destination.clone(),
            netns: None,
            interface: None,
            filter: self.filter.clone(),
            verbose: self.verbose,
            source: Source::Both,
            net_dm_mode: Some(self.net_dm_mode),
            mode: self.mode,
            map_entries: self.map_entries,
            max_rows: DEFAULT_MAX_ROWS,
        }
    }
}
