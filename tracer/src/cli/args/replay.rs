//! The command line of `replay`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Destination, FilterWords, HideArgs};
use crate::filter::Filter;
use crate::sink::{StatFormat, TraceFormat};

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace trace --source both --raw --duration 1m -o drops.raw.zst
  droptrace replay drops.raw.zst       each drop once, with the sources that saw it
  droptrace replay drops.raw.zst --stat --format json
  droptrace trace --all -o drops.dtr     every drop, at full speed (docs/reference/recording.md)
  droptrace replay drops.dtr
  droptrace replay drops.dtr -w drops.pcapng             for Wireshark and tcpdump
  droptrace replay drops.dtr --format svg -o drops.svg   its call stacks (record with --stack)
  droptrace replay drops.raw.zst 'udp port 53 and pod web/*'

A damaged or truncated recording is shown as far as it can be read; the error is reported on stderr, and \
the exit status is 1.";

/// Options of `replay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// The recording, compressed or not; - for stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Show one table by reason and drop site instead of single drops
    #[arg(long)]
    pub(crate) stat: bool,

    /// Show only drops that match this expression; see `droptrace trace --help`
    #[arg(long, value_name = "EXPRESSION", value_parser = Filter::parse)]
    pub(crate) filter: Option<Filter>,

    /// Form of the results; html is a page with the totals, folded and svg are the call stacks of a recording that was
    /// made with --stack
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: StatFormat,

    /// Write a packet capture (pcapng) to this file, - for stdout
    #[arg(short = 'w', long = "write", value_name = "FILE", conflicts_with_all = ["format", "output", "stat"])]
    pub(crate) capture: Option<PathBuf>,

    /// Which drops are not shown.
    #[command(flatten)]
    pub(crate) hide: HideArgs,

    /// Where the results go.
    #[command(flatten)]
    pub(crate) destination: Destination,

    /// The words of a filter.
    #[command(flatten)]
    pub(crate) words: FilterWords,
}

impl ReplayArgs {
    /// The form of single drops; `None` for a form of totals or of call stacks alone.
    pub(crate) const fn drops_format(&self) -> Option<TraceFormat> {
        if self.capture.is_some() { Some(TraceFormat::Pcapng) } else { self.format.of_drops() }
    }

    /// The file for the results; `None` for stdout.
    pub(crate) fn output(&self) -> Option<&Path> {
        self.capture.as_deref().or(self.destination.file.output.as_deref())
    }
}
