//! The command line of `snapshot`.

use std::time::Duration;

use clap::Args;

use super::{CommonArgs, DEFAULT_MAX_ROWS, Destination, FilterWords, Mode, Source};
use crate::backend::ebpf::default_room;
use crate::command::OutputFile;
use crate::dimension::Dimensions;
use crate::filter::Filter;
use crate::render::output::ColorChoice;
use crate::render::units;

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace snapshot | jq '.drops[0]'
  droptrace snapshot --duration 1m -o \"$(hostname).json.zst\"
  droptrace snapshot -o web.json udp port 53 or tcp port 443

It holds the drops of the host, and facts about it: kernel, interfaces, capture backend. Addresses of the \
kernel and of packets are not in it. Capabilities, exit status and Ctrl-C are as in `droptrace --help`.";

/// Options of `snapshot`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SnapshotArgs {
    /// How long to count, such as 10s, 1m30s or 500ms; Ctrl-C ends it earlier
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    pub(crate) duration: Duration,

    /// Where the snapshot goes.
    #[command(flatten)]
    pub(crate) file: OutputFile,

    /// Record whose packets were dropped, by these words, separated by commas: pod, container, unit (of systemd), cgroup,
    /// socket
    #[arg(long, value_name = "DIMENSION,…", value_parser = Dimensions::owners)]
    pub(crate) owners: Option<Dimensions>,

    /// Count only drops that match this expression; see `droptrace trace --help`
    #[arg(long, value_name = "EXPRESSION", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,

    /// Do not read the kernel's counters, which show losses outside `kfree_skb`
    #[arg(long, hide_short_help = true)]
    pub(crate) no_counters: bool,

    /// Capture backend; auto selects the first that works, and reports what it loses
    #[arg(long, value_enum, default_value_t)]
    pub(crate) source: Source,

    /// Log more to stderr; -vv also logs messages of the BPF program
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Aggregation keys that have room in the kernel between two readings; drops of further keys may be counted by reason only
    #[arg(long, value_name = "N", default_value_t = default_room(), value_parser = units::number::<u32>(1..=1_048_576))]
    #[arg(hide_short_help = true)]
    pub(crate) map_entries: u32,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,
}

impl SnapshotArgs {
    /// The same options as options of another command.
    pub(crate) fn common(&self) -> CommonArgs {
        CommonArgs {
            no_counters: self.no_counters,
            duration: Some(self.duration),
            destination: Destination { file: self.file.clone(), color: ColorChoice::Never },
            netns: None,
            interface: None,
            filter: self.filter.clone(),
            verbose: self.verbose,
            source: self.source,
            net_dm_mode: None,
            mode: Mode::Auto,
            map_entries: self.map_entries,
            max_rows: DEFAULT_MAX_ROWS,
        }
    }
}
