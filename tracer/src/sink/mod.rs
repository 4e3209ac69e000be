//! Sinks show counts and events, and change none of them. Each format has a folder or a file.

mod dtr;
#[cfg(feature = "html")]
mod flame_graph;
mod folded;
mod json;
#[cfg(test)]
pub(crate) mod samples;
mod text;

use std::io;

pub use dtr::Dtr;
#[cfg(feature = "html")]
pub use flame_graph::StatFlameGraph;
pub use folded::StatFolded;
pub(crate) use json::Account;
pub use json::{CompareJson, RawJson, RawOptions, StatJson, TraceJson, drop_fields};

pub use text::{CompareText, StatText, StatTextOptions, TraceText, TraceTextOptions, drop_sentence};

use crate::backend::dtr::Records;
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, Timestamp};
use crate::domain::reconciliation::Reconciliation;
use crate::domain::report::{CompareReport, Host, SourceReport, StatReport};
use crate::pipeline::normalise::BlockNames;

/// The ledgers of a run of single drops, taken after the backends have stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunEnd<'r> {
    /// The ledger of each backend.
    pub sources: &'r [SourceReport],
    /// The ledger of the join of two backends.
    pub union: Option<&'r DedupeLedger>,
    /// The kernel's counters beside the backend; absent where they are not read.
    pub outside: Option<&'r Reconciliation>,
}

/// A sink of totals.
pub trait StatSink {
    /// Shows the totals so far, and passes all output to the system.
    fn report(&mut self, report: &StatReport) -> io::Result<()>;
}

/// A sink of a comparison of two backends.
pub trait CompareSink {
    /// Shows the comparison, and passes all output to the system.
    fn report(&mut self, report: &CompareReport) -> io::Result<()>;
}

/// A sink of single drops.
///
/// A run calls [`start`](Self::start) once, then [`event`](Self::event) for each drop and [`flush`](Self::flush) after
/// each batch of them, and [`finish`](Self::finish) once.
pub trait DropSink {
    /// Shows one drop. The output may stay in a buffer.
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()>;

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
