//! The command line of `trace`.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use clap::Args;
use tracer_common::MAX_SNAPLEN;

use super::{CommonArgs, FilterWords, HideArgs, PastArgs, Source};
use crate::command::heading::{ADVANCED, FILTER, OUTPUT, RUN};
use crate::render::units;
use crate::sink::TraceFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace trace --duration 5s          show drops for five seconds
  droptrace trace --count 20             show the next 20 drops
  droptrace trace udp port 53 and not host 192.0.2.1
  droptrace trace 'reason TCP_* or tcp[tcpflags] & tcp-rst != 0'
  droptrace trace --all --format json -o drops.jsonl
  droptrace trace --all -o drops.dtr     record every drop at full speed, for `droptrace replay`
  droptrace trace --since -30m           single drops that the agent kept, of rows that healthy hosts never have

Without --all, a flood does not hide rare drops: on each CPU, each flow at a function and with a reason \
has a limit of records per second (--rate). All flows at that function with that reason have eleven times that \
limit together, a part of which is kept for flows that had no record in the last second. Drops without a record are \
still counted: the ledger at the end has their number.

Capabilities, exit status and Ctrl-C are as in `droptrace --help`.";

/// Options of `trace`.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options that do not depend on one another")]
pub(crate) struct TraceArgs {
    /// End after this many drops were shown
    #[arg(short, long, value_name = "N", value_parser = units::positive::<NonZeroU64>, help_heading = RUN)]
    pub(crate) count: Option<NonZeroU64>,

    /// Show every drop: no limit of records
    #[arg(long, conflicts_with = "rate", help_heading = FILTER)]
    pub(crate) all: bool,

    /// Record the reports of each backend separately, with the bytes of packets, for `droptrace replay`: every drop, as
    /// lines of JSON
    #[arg(long, conflicts_with_all = ["count", "rate", "color", "format"], help_heading = OUTPUT)]
    pub(crate) raw: bool,

    /// Limit of records per second for each flow at a function and reason, on each CPU; eleven times that for all flows
    /// there together. Only for the BPF program [default: 100]
    #[arg(long, value_name = "N", value_parser = units::number(NonZeroU32::MIN..=NonZeroU32::MAX), help_heading = FILTER)]
    pub(crate) rate: Option<NonZeroU32>,

    /// Captured leading bytes of each packet, at most 4096
    #[arg(long, value_name = "BYTES", default_value_t = 128, conflicts_with = "since")]
    #[arg(value_parser = units::number::<u32>(0..=MAX_SNAPLEN), help_heading = ADVANCED)]
    pub(crate) snaplen: u32,

    /// Size of the ring buffer between kernel and droptrace: a power of two, at least a page. Only for the BPF program
    /// [default: 8M]
    #[arg(long, value_name = "BYTES", value_parser = units::ring_size, hide_short_help = true, help_heading = ADVANCED)]
    pub(crate) ring_size: Option<u32>,

    /// Show the functions through which each packet came, from the drop site outwards: the kernel's call stack. Only for the
    /// BPF program; each record then costs some microseconds more
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) stack: bool,

    /// Explain the drops that matter most, with commands to run
    ///
    /// At the end, unusual drops first; the commands have their namespaces, interfaces, addresses and ports
    #[arg(long, conflicts_with = "raw", help_heading = OUTPUT)]
    pub(crate) explain: bool,

    /// Show retransmissions of TCP as well, each with the drop on this host that it follows. Only for the BPF program
    #[arg(long, conflicts_with = "raw", help_heading = OUTPUT)]
    pub(crate) retransmits: bool,

    /// Form of the results [default: dtr or pcapng for a file whose name ends so, also before .zst; else text]
    #[arg(long, value_enum, help_heading = OUTPUT)]
    pub(crate) format: Option<TraceFormat>,

    /// Write a packet capture to this file, - for stdout: `--format pcapng -o FILE`, as tcpdump has it
    #[arg(short = 'w', long = "write", value_name = "FILE", conflicts_with_all = ["format", "output", "raw"])]
    #[arg(help_heading = OUTPUT)]
    pub(crate) capture: Option<PathBuf>,

    /// Show times of this host's time zone, or of TZ, instead of UTC, as with --since; only for text
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) local_time: bool,

    /// Do not find out whose packets they were: process, container, pod, unit and control group
    #[arg(long, hide_short_help = true, help_heading = ADVANCED)]
    pub(crate) no_owners: bool,

    /// Which drops are not shown.
    #[command(flatten)]
    pub(crate) hide: HideArgs,

    /// The time span of a history.
    #[command(flatten)]
    pub(crate) past: PastArgs,

    /// Common options of all commands.
    #[command(flatten)]
    pub(crate) common: CommonArgs,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,
}

impl TraceArgs {
    const DEFAULT_RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
    /// In bytes.
    pub(crate) const DEFAULT_RING_SIZE: u32 = 8 << 20;

    /// The form of the results: the one that was asked for, else the one of the file's name, else text.
    pub(crate) fn format(&self) -> TraceFormat {
        let of_name = || self.output().filter(|_| !self.raw).and_then(TraceFormat::of_name);
        let capture = self.capture.as_ref().map(|_| TraceFormat::Pcapng);
        self.format.or(capture).or_else(of_name).unwrap_or_default()
    }

    /// The file for the results; `None` for stdout.
    pub(crate) fn output(&self) -> Option<&Path> {
        self.capture.as_deref().or(self.common.destination.file.output.as_deref())
    }

    /// Whether the drops are recorded in blocks.
    pub(crate) fn is_dtr(&self) -> bool {
        self.format() == TraceFormat::Dtr
    }

    /// Whether the reports of each backend are recorded separately.
    pub(crate) fn records(&self) -> bool {
        self.raw || self.is_dtr()
    }

    /// The limit of records per second for each flow, function, reason and CPU; `None` without a limit. The drop
    /// monitor has no limit, so that with both backends both report all drops.
    pub(crate) fn bound(&self) -> Option<NonZeroU32> {
        let is_bound = !self.all && !self.raw && self.common.source != Source::Both;
        is_bound.then(|| self.rate.unwrap_or(Self::DEFAULT_RATE))
    }
}
