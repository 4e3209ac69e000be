//! Sinks show what was counted and seen; they change nothing of it. One folder or file a format.

pub(crate) mod html;
mod json;
pub(crate) mod plot;
mod rank;
#[cfg(test)]
pub(crate) mod samples;
mod text;
pub(crate) mod time;

use std::io;

pub(crate) use json::{Account, drop_fields};
pub use json::{CompareJson, RawJson, RawOptions, StatJson, TraceJson};
pub(crate) use text::{Grouped, Painted, Style, drop_sentence, printable, rate};

pub use rank::{Rank, Ranking, Sort};
pub use text::{CompareText, Size, StatText, StatTextOptions, TraceText, TraceTextOptions};

use crate::event::{DropEvent, Reason, Timestamp};
use crate::pipeline::dedupe::{DedupeLedger, Moment};
use crate::report::{CompareReport, Host, SourceReport, StatReport};

/// Where totals go.
pub trait StatSink {
    /// Shows the totals so far, and hands all of it to the system.
    fn report(&mut self, report: &StatReport) -> io::Result<()>;
}

/// Where a comparison of two sources goes.
pub trait CompareSink {
    /// Shows it, and hands all of it to the system.
    fn report(&mut self, report: &CompareReport) -> io::Result<()>;
}

/// Where single drops go.
///
/// A run calls [`start`](Self::start) once, then [`event`](Self::event) for each drop and [`flush`](Self::flush) after
/// each batch of them, and [`finish`](Self::finish) once.
pub trait DropSink {
    /// Shows one drop. It may stay in a buffer.
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()>;

    /// Shows what stands before all drops.
    fn start(&mut self, _host: &Host, _started_at: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// Tells that the drops which follow are read at `now`, and that all from before `settled` were shown.
    fn reading(&mut self, _now: Moment, _settled: Moment) {}

    /// Hands what is in the buffer to the system.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Shows the account of the run, taken after the sources have stopped, and hands all of it to the system. `union` is
    /// that of joining two sources.
    fn finish(&mut self, _sources: &[SourceReport], _union: Option<&DedupeLedger>) -> io::Result<()> {
        self.flush()
    }
}

/// The reason's name; none on kernels whose tracepoint does not give a reason.
pub(crate) fn told_reason(reason: &Reason) -> Option<&str> {
    (reason.value != Some(tracer_common::REASON_ABSENT)).then_some(&*reason.name)
}
