//! Sinks show counts and events, and change none of them. Each format has a folder or a file, and is registered here: a
//! variant of [`StatFormat`] or [`TraceFormat`] that `--format` takes, and the sink that it stands for.

mod csv;
mod dtr;
#[cfg(feature = "html")]
mod flame_graph;
mod folded;
#[cfg(feature = "agent")]
pub(crate) mod history;
mod json;
#[cfg(feature = "html")]
mod page;
mod pcapng;
#[cfg(test)]
mod pcapng_tests;
#[cfg(test)]
pub(crate) mod samples;
mod text;

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

pub(crate) use self::csv::StatCsv;
pub use dtr::Dtr;
#[cfg(feature = "html")]
pub(crate) use flame_graph::StatFlameGraph;
pub(crate) use folded::StatFolded;
#[cfg(feature = "otlp")]
pub(crate) use json::drop_fields;
pub(crate) use json::{Account, CompareJson, RawJson, ReconcileJson, StatJson};
pub use json::{RawOptions, TraceJson};
#[cfg(feature = "html")]
pub(crate) use page::StatPage;

pub use pcapng::Pcapng;
#[cfg(feature = "top")]
pub(crate) use text::LedgerLine;
#[cfg(feature = "otlp")]
pub(crate) use text::drop_sentence;
#[cfg(feature = "top")]
pub(crate) use text::local_span;
#[cfg(any(feature = "html", feature = "top"))]
pub(crate) use text::verdict;
pub(crate) use text::{CompareText, ReconcileText, StatText, history_lines, ledger_lines, local_zone, packet_sentence};
pub use text::{Recorded, StatOptions, TraceText, TraceTextOptions};

use crate::backend::dtr::Records;
use crate::dimension::Dimensions;
use crate::domain::attribution::AttributionLedger;
use crate::domain::bracket::ReconcileReport;
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, Timestamp};
use crate::domain::reconciliation::Reconciliation;
use crate::domain::report::{CompareReport, HiddenDrops, Host, SourceReport, StatReport};
use crate::domain::retransmit::{RetransmitEvent, RetransmitLedger};
use crate::pipeline::normalise::BlockNames;
use crate::render::output::Output;

/// Form of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StatFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document per line
    Json,
    /// For spreadsheets: comma-separated values, one line for each row
    Csv,
    /// A page for a browser, in one file
    #[cfg(feature = "html")]
    Html,
    /// Call stacks as folded lines, for programs that draw flame graphs
    Folded,
    /// Call stacks as a flame graph
    #[cfg(feature = "html")]
    Svg,
}

impl StatFormat {
    /// The sink of totals in this form.
    pub fn sink(self, output: Output, options: StatOptions) -> Box<dyn StatSink> {
        match self {
            Self::Text => Box::new(StatText::new(output, options)),
            Self::Json => Box::new(StatJson::new(output, options.sort, options.by.unwrap_or_else(Dimensions::usual))),
            Self::Csv => Box::new(StatCsv::new(output, options.sort, options.by.unwrap_or_else(Dimensions::usual))),
            #[cfg(feature = "html")]
            Self::Html => Box::new(StatPage::new(output, options)),
            Self::Folded => Box::new(StatFolded::new(output)),
            #[cfg(feature = "html")]
            Self::Svg => Box::new(StatFlameGraph::new(output, options.recorded.is_some())),
        }
    }

    /// The same form of single drops; `None` for a form of totals or of call stacks alone.
    pub(crate) const fn of_drops(self) -> Option<TraceFormat> {
        match self {
            Self::Text => Some(TraceFormat::Text),
            Self::Json => Some(TraceFormat::Json),
            Self::Csv | Self::Folded => None,
            #[cfg(feature = "html")]
            Self::Html | Self::Svg => None,
        }
    }

    /// Whether the form shows call stacks and nothing else.
    pub(crate) const fn is_of_stacks(self) -> bool {
        match self {
            Self::Text | Self::Json | Self::Csv => false,
            Self::Folded => true,
            #[cfg(feature = "html")]
            Self::Html => false,
            #[cfg(feature = "html")]
            Self::Svg => true,
        }
    }
}

/// Form of single drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document per line
    Json,
    /// A recording at full speed, for `droptrace replay`
    Dtr,
    /// A packet capture, for Wireshark and tcpdump
    Pcapng,
}

impl TraceFormat {
    /// The form that the name of a file asks for: a recording by `.dtr`, a packet capture by `.pcapng`, compressed or not.
    pub(crate) fn of_name(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        let inner = Path::new(name.strip_suffix(".zst").unwrap_or(name));
        match inner.extension()?.to_str()? {
            "dtr" => Some(Self::Dtr),
            "pcapng" => Some(Self::Pcapng),
            _ => None,
        }
    }

    /// Whether the form is not text, so that a terminal must not get it.
    pub(crate) fn is_binary(self) -> bool {
        match self {
            Self::Text | Self::Json => false,
            Self::Dtr | Self::Pcapng => true,
        }
    }

    /// The sink of single drops in this form. `captured` counts the leading bytes that records have.
    pub fn sink(self, output: Output, options: TraceTextOptions, captured: usize) -> Box<dyn DropSink> {
        match self {
            Self::Text => Box::new(TraceText::new(output, options)),
            Self::Json => Box::new(TraceJson::new(output)),
            Self::Dtr => {
                let (home_netns, both_sources) = (options.home_netns, options.seen_by);
                Box::new(Dtr::new(output, RawOptions { captured, home_netns, both_sources }))
            }
            Self::Pcapng => Box::new(Pcapng::new(output, options.home_netns)),
        }
    }
}

/// The ledgers of a run of single drops, taken after the backends have stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunEnd<'r> {
    /// The ledger of each backend.
    pub sources: &'r [SourceReport],
    /// The ledger of owners; absent where owners are not asked for or not reported.
    pub attribution: Option<&'r AttributionLedger>,
    /// The ledger of the join of two backends.
    pub union: Option<&'r DedupeLedger>,
    /// Drops with a record that was not to be shown.
    pub hidden: &'r [HiddenDrops],
    /// The account of retransmissions; absent where they are not asked for.
    pub retransmissions: Option<&'r RetransmitLedger>,
    /// The kernel's counters beside the backend; absent where they are not read.
    pub outside: Option<&'r Reconciliation>,
    /// Duration of the run; absent where a recording does not have it.
    pub duration: Option<Duration>,
}

/// A sink of totals.
pub trait StatSink {
    /// Shows the totals so far, and passes all output to the system.
    fn report(&mut self, report: &StatReport) -> io::Result<()>;
}

/// A sink of a comparison of two backends.
pub(crate) trait CompareSink {
    /// Shows the comparison, and passes all output to the system.
    fn report(&mut self, report: &CompareReport) -> io::Result<()>;
}

/// A sink of the kernel's counters beside the drops.
pub(crate) trait ReconcileSink {
    /// Shows the counters, and passes all output to the system.
    fn report(&mut self, report: &ReconcileReport) -> io::Result<()>;
}

/// A sink of single drops.
///
/// A run calls [`start`](Self::start) once, then [`event`](Self::event) for each drop and [`flush`](Self::flush) after
/// each batch of them, and [`finish`](Self::finish) once.
pub trait DropSink {
    /// Shows one drop. The output may stay in a buffer.
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()>;

    /// Shows one retransmission. Only forms of lines show them.
    fn retransmission(&mut self, _event: &RetransmitEvent) -> io::Result<()> {
        Ok(())
    }

    /// Records the BPF program's records as they came. Only a sink of recordings takes them.
    fn block(&mut self, _records: &Records, _names: &BlockNames) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Shows the output before all drops.
    fn start(&mut self, _host: &Host, _started_at: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// Called before drops that are read at `now`. All drops from before `settled` were shown.
    fn reading(&mut self, _now: Moment, _settled: Moment) {}

    /// Passes the buffer to the system.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Shows the end of the run, and passes all output to the system.
    fn finish(&mut self, _end: &RunEnd<'_>) -> io::Result<()> {
        self.flush()
    }
}
