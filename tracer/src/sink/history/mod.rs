//! Writes the history of an agent, which [`crate::backend::history`] reads: one frame for each interval.
//!
//! The recorder knows the totals up to the last interval that it wrote. The next interval is the rise since then, so that an
//! interval which could not be written, because the disk was full, is part of the next one that can: the sum over all files
//! is that of the last reading that was written, whatever failed before.

mod kept;

use std::io;
use std::time::Duration;

pub(crate) use kept::Kept;

use super::json::line_of_key;
use crate::backend::history::{Document, Folder, Numbers, OverflowLine, SCHEMA, SourceLine, sealed};
use crate::domain::event::Timestamp;
use crate::domain::past::Span;
use crate::domain::report::Host;
use crate::outside::to_json;
use crate::pipeline::delta::{Delta, Reading, Totals};

/// The facts of a run that do not change.
#[derive(Clone, Debug)]
pub(crate) struct RunFacts {
    /// The host.
    pub(crate) host: Host,
    /// The kernel's identifier of this boot; empty if it is unknown.
    pub(crate) boot: String,
    /// The start of the run.
    pub(crate) started_at: Timestamp,
    /// Inode number of the network namespace that the agent runs in; 0 if it is unknown.
    pub(crate) home_netns: u32,
    /// The options with which the agent counts only some drops; empty if it counts all.
    pub(crate) selection: String,
    /// Whether keys have the owners of packets.
    pub(crate) has_owners: bool,
}

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant {
    /// Real time, which may be set.
    pub(crate) real: Timestamp,
    /// `CLOCK_BOOTTIME`, which nobody sets.
    pub(crate) boot: Duration,
}

/// A reading to be written.
#[derive(Debug)]
pub(crate) struct Moment {
    /// The totals since the start of the run.
    pub(crate) reading: Reading,
    /// The time of the reading.
    pub(crate) at: Instant,
    /// Whether the run ends with it.
    pub(crate) is_last: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes of the frame.
    pub(crate) frame: u64,
    /// Bytes of all files.
    pub(crate) files: u64,
}

/// Writes the intervals of one run.
#[derive(Debug)]
pub(crate) struct Recorder {
    folder: Folder,
    facts: RunFacts,
    totals: Totals,
    number: u64,
    /// The end of the last interval that was written.
    since: Instant,
}

impl Recorder {
    /// Starts with a run whose totals are zero at `since`.
    pub(crate) fn new(folder: Folder, facts: RunFacts, since: Instant) -> Self {
        Self { folder, facts, totals: Totals::default(), number: 0, since }
    }

    /// Writes the interval up to a reading, with the single drops that were kept of it.
    ///
    /// # Errors
    /// Fails with the system's error. The next interval then has the drops of this one, too, and the caller keeps its single
    /// drops.
    pub(crate) fn write(&mut self, moment: &Moment, kept: &Kept) -> io::Result<Written> {
        let delta = self.totals.until(&moment.reading, self.since.real);
        let frame = sealed(&self.body(&delta, moment, kept)?, self.span(moment.at))?;
        let files = self.folder.append(&frame, moment.at.real)?;
        if moment.is_last {
            self.folder.sync()?;
        }
        self.totals.advance(&moment.reading);
        self.number += 1;
        self.since = moment.at;
        Ok(Written { frame: frame.len() as u64, files })
    }

    fn elapsed(&self, at: Instant) -> u64 {
        u64::try_from(at.boot.saturating_sub(self.since.boot).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The times that drops of the interval may have. If the clock was set within it, that may have been at any moment.
    fn span(&self, at: Instant) -> Span {
        let elapsed = self.elapsed(at);
        Span {
            from: self.since.real.min(Timestamp(at.real.0.saturating_sub(elapsed))),
            to: at.real.max(Timestamp(self.since.real.0.saturating_add(elapsed))),
        }
    }

    fn body(&self, delta: &Delta, moment: &Moment, kept: &Kept) -> io::Result<Vec<u8>> {
        let RunFacts { host, boot, started_at, home_netns, selection, has_owners } = &self.facts;
        let document = Document {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.name.clone(),
            kernel: host.kernel.clone(),
            boot: boot.clone(),
            run_started_at: started_at.0,
            number: self.number,
            started_at: self.since.real.0,
            ended_at: moment.at.real.0,
            elapsed_ns: self.elapsed(moment.at),
            is_last: moment.is_last,
            home_netns: *home_netns,
            selection: selection.clone(),
            has_owners: *has_owners,
            sources: delta.sources.iter().map(SourceLine::of).collect(),
            overflow: delta.overflow.iter().map(OverflowLine::from).collect(),
            rows: delta.drops.len() as u64,
            records: kept.count(),
            records_left_out: kept.left_out(),
        };
        let mut body = Vec::with_capacity(1024 + 640 * delta.drops.len());
        to_json(&mut body, &document)?;
        body.push(b'\n');
        for total in &delta.drops {
            to_json(&mut body, &Numbers::of(total))?;
            body.push(b'\n');
            line_of_key(&mut body, &total.key)?;
            body.push(b'\n');
        }
        body.extend_from_slice(kept.lines());
        Ok(body)
    }
}

#[cfg(test)]
mod tests;
