//! Sinks show what was counted and seen; they change nothing of it. One folder or file a format.

mod json;
#[cfg(test)]
pub(crate) mod samples;
mod text;

use std::io;

pub(crate) use json::{Account, drop_fields};
pub use json::{CompareJson, RawJson, RawOptions, StatJson, TraceJson};
pub(crate) use text::drop_sentence;

pub use text::{CompareText, StatText, StatTextOptions, TraceText, TraceTextOptions};

use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, Timestamp};
use crate::domain::report::{CompareReport, Host, SourceReport, StatReport};

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
