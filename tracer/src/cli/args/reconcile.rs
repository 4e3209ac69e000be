//! The command line of `reconcile`.

use std::time::Duration;

use clap::Args;

use super::{CommonArgs, DEFAULT_MAX_ROWS, Destination, Format, Mode, Source};
use crate::backend::ebpf::default_room;
use crate::render::units;

pub(super) const NOTES: &str = "\
Each kernel counter of drops that moved is a row for each network namespace: its rise, the drops that explain it, and the rest, which is \
outside kfree_skb. Each reading of the drops is between two readings of the counters. So a counter of which each rise is one drop (class exact) contradicts the drops \
only if the BPF program, droptrace's table of counters or the kernel is at fault.

Examples:
  droptrace reconcile --duration 30s
  droptrace reconcile --duration 30s --format json | jq '.counters[] | select(.outside > 0)'
  droptrace explain TcpExtListenDrops    what a counter means, and its class

Exit status: 0 counters and drops agree, 1 failed, 2 wrong usage, 3 some counters contradict the drops.";

/// Options of `reconcile`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReconcileArgs {
    /// End after this time, such as 10s, 1m30s or 500ms [default: run until Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,

    /// Compare this often; each time counts, and the end as well
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::interval)]
    pub(crate) interval: Duration,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub(crate) destination: Destination,

    /// Compare only this network namespace: self, an inode number, pid:N, a name under /run/netns, or a path
    #[arg(long, value_name = "TARGET")]
    pub(crate) netns: Option<String>,

    /// Log more to stderr; -vv also logs messages of the BPF program
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl ReconcileArgs {
    /// The same options as options of another command, with the BPF program.
    pub(crate) fn common(&self) -> CommonArgs {
        CommonArgs {
            no_counters: false,
            duration: self.duration,
            destination: self.destination.clone(),
            netns: self.netns.clone(),
            interface: None,
            filter: None,
            verbose: self.verbose,
            source: Source::Ebpf,
            net_dm_mode: None,
            mode: Mode::Auto,
            map_entries: default_room(),
            max_rows: DEFAULT_MAX_ROWS,
        }
    }
}
