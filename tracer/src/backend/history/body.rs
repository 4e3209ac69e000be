//! The content of a frame: lines of JSON. The first line is a [`Document`]. Then there are two lines for each row, its
//! [`Numbers`] and its aggregation key, and a line for each single drop. Keys and drops are lines of `droptrace.raw.v1`, as in
//! recordings.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::replay::{RawDrop, Refused, drop_of};
use crate::backend::{MODES, TOTALS_BACKENDS};
use crate::domain::event::{Origin, Reason, Timestamp};
use crate::domain::ledger::wire::{Ebpf, NetDm};
use crate::domain::ledger::{CountersLedger, Ledger};
use crate::domain::past::Span;
use crate::domain::report::{Host, SourceReport};
use crate::domain::total::{DropTotal, OverflowTotal};

/// The schema of an interval that this version writes and reads.
pub(crate) const SCHEMA: &str = "droptrace.history.v1";

/// Bytes of a name at most.
const LONGEST: usize = 4096;

/// The first line. Times are nanoseconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
pub(crate) struct Document {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Version of the droptrace that wrote it.
    pub(crate) version: String,
    /// Node name.
    pub(crate) host: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// The kernel's identifier of this boot; empty if it is unknown.
    pub(crate) boot: String,
    /// When the agent's run started: with `boot`, the identifier of the run.
    pub(crate) run_started_at: u64,
    /// The number of the interval within the run, from 0 on.
    pub(crate) number: u64,
    /// When the interval started, by the clock of then: the end of the one before.
    pub(crate) started_at: u64,
    /// When the interval ended, by the clock of then.
    pub(crate) ended_at: u64,
    /// Duration of the interval by `CLOCK_BOOTTIME`, which nobody sets.
    pub(crate) elapsed_ns: u64,
    /// Whether the run ended with this interval, in order.
    pub(crate) is_last: bool,
    /// Inode number of the network namespace that the agent ran in; 0 if it is unknown.
    pub(crate) home_netns: u32,
    /// The options with which the agent counted only some drops; empty if it counted all.
    pub(crate) selection: String,
    /// Whether keys have the owners of packets.
    pub(crate) has_owners: bool,
    /// The backends, and their ledgers of the interval.
    pub(crate) sources: Vec<SourceLine>,
    /// Drops without a key, by reason.
    pub(crate) overflow: Vec<OverflowLine>,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Number of single drops.
    pub(crate) records: u64,
    /// Single drops that came, and found no room.
    pub(crate) records_left_out: u64,
}

/// A backend, and its ledger of an interval.
#[derive(Serialize, Deserialize)]
pub(crate) struct SourceLine {
    mode: String,
    ledger: LedgerLine,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LedgerLine {
    Ebpf(Box<Ebpf>),
    NetDm(NetDm),
    Totals { source: String, counted: u64 },
}

impl SourceLine {
    /// The line of a report.
    pub(crate) fn of(report: &SourceReport) -> Self {
        let ledger = match report.ledger {
            Ledger::Ebpf(ledger) => LedgerLine::Ebpf(Box::new(ledger.into())),
            Ledger::NetDm(ledger) => LedgerLine::NetDm(ledger.into()),
            Ledger::Counters(CountersLedger { source, counted }) => {
                LedgerLine::Totals { source: source.to_owned(), counted }
            }
        };
        Self { mode: report.mode.to_owned(), ledger }
    }

    fn report(self) -> Result<SourceReport, Rejected> {
        let totals = TOTALS_BACKENDS.iter().map(|backend| backend.mode);
        let mode = MODES.into_iter().chain(totals).find(|mode| *mode == self.mode);
        let mode = mode.ok_or(Rejected::Field("`mode` is unknown"))?;
        let ledger = match self.ledger {
            LedgerLine::Ebpf(ledger) => Ledger::Ebpf((*ledger).into()),
            LedgerLine::NetDm(ledger) => Ledger::NetDm(ledger.into()),
            LedgerLine::Totals { source, counted } => {
                let backend = TOTALS_BACKENDS.iter().find(|backend| backend.source == source);
                let source = backend.ok_or(Rejected::Field("`source` is unknown"))?.source;
                Ledger::Counters(CountersLedger { source, counted })
            }
        };
        Ok(SourceReport { mode, ledger, held_back: vec![] })
    }
}

/// Drops of one reason without a key.
#[derive(Serialize, Deserialize)]
pub(crate) struct OverflowLine {
    /// Absent for reasons that were not counted apart.
    reason: Option<ReasonLine>,
    packets: u64,
    bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct ReasonLine {
    value: Option<u32>,
    subsystem: String,
    name: String,
}

impl From<&OverflowTotal> for OverflowLine {
    fn from(total: &OverflowTotal) -> Self {
        let reason = total.reason.as_ref().map(|reason| ReasonLine {
            value: reason.value,
            subsystem: reason.subsystem.to_string(),
            name: reason.name.to_string(),
        });
        Self { reason, packets: total.packets, bytes: total.bytes }
    }
}

impl OverflowLine {
    fn total(self) -> Result<OverflowTotal, Rejected> {
        let reason = self.reason.map(|ReasonLine { value, subsystem, name }| {
            bounded(&subsystem).and(bounded(&name))?;
            Ok::<_, Rejected>(Arc::new(Reason { value, subsystem: subsystem.into(), name: name.into() }))
        });
        Ok(OverflowTotal { reason: reason.transpose()?, packets: self.packets, bytes: self.bytes })
    }
}

/// The numbers of a row. Times are nanoseconds since the Unix epoch.
#[derive(Serialize, Deserialize)]
pub(crate) struct Numbers {
    /// Drops of the interval.
    pub(crate) packets: u64,
    /// Their bytes; absent where the backend does not report them.
    pub(crate) bytes: Option<u64>,
    /// The time of the first drop; the start of the interval if there were drops before.
    pub(crate) first_seen: u64,
    /// The time of the last drop.
    pub(crate) last_seen: u64,
    /// Whether the BPF program and the drop monitor saw the drops.
    pub(crate) seen_by: [bool; 2],
}

impl Numbers {
    /// The numbers of a row.
    pub(crate) fn of(total: &DropTotal) -> Self {
        let DropTotal { packets, bytes, first_seen, last_seen, seen_by, .. } = *total;
        let seen_by = Origin::ALL.map(|origin| seen_by.contains(&origin));
        Self { packets, bytes, first_seen: first_seen.0, last_seen: last_seen.0, seen_by }
    }
}

/// Why the body of a frame is left out.
#[derive(Debug, Error)]
pub(crate) enum Rejected {
    /// A line is no JSON, or lacks a field.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A key or a single drop cannot be read.
    #[error("{0}")]
    Line(#[from] Refused),
    /// The value of a field has no meaning, or the lines are not those that the first one says.
    #[error("{0}")]
    Field(&'static str),
    /// The document is of another version.
    #[error("it has another schema than {SCHEMA}")]
    Schema,
}

/// An interval of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The host.
    pub(crate) host: Host,
    /// The identifier of the run: that of the boot, and the start of the run.
    pub(crate) run: (String, Timestamp),
    /// The number of the interval within the run.
    pub(crate) number: u64,
    /// When it started, by the clock of then.
    pub(crate) started_at: Timestamp,
    /// When it ended, by the clock of then.
    pub(crate) ended_at: Timestamp,
    /// Its duration by a clock that nobody sets.
    pub(crate) elapsed: Duration,
    /// Whether the run ended with it, in order.
    pub(crate) is_last: bool,
    /// Inode number of the agent's network namespace; 0 if it is unknown.
    pub(crate) home_netns: u32,
    /// The options with which the agent counted only some drops; empty if it counted all.
    pub(crate) selection: String,
    /// Whether keys have the owners of packets.
    pub(crate) has_owners: bool,
    /// The backends, and their ledgers of the interval.
    pub(crate) sources: Vec<SourceReport>,
    /// The drops of the interval.
    pub(crate) drops: Vec<DropTotal>,
    /// Drops without a key.
    pub(crate) overflow: Vec<OverflowTotal>,
    /// Single drops.
    pub(crate) records: Vec<RawDrop>,
    /// Single drops that came, and found no room.
    pub(crate) records_left_out: u64,
}

impl Interval {
    /// Reads the body of a frame.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Rejected> {
        let mut lines = body.strip_suffix(b"\n").unwrap_or(body).split(|byte| *byte == b'\n');
        let document: Document = serde_json::from_slice(lines.next().unwrap_or_default())?;
        if document.schema != SCHEMA {
            return Err(Rejected::Schema);
        }
        let names = [&document.host, &document.kernel, &document.boot, &document.selection];
        names.into_iter().try_for_each(|name| bounded(name))?;
        let mut next = || lines.next().ok_or(Rejected::Field("it has fewer lines than it says"));
        // The number of lines bounds the memory, whatever the numbers are.
        let mut drops = vec![];
        for _ in 0..document.rows {
            drops.push(row(next()?, next()?)?);
        }
        let mut records = vec![];
        for _ in 0..document.records {
            records.push(drop_of(next()?)?);
        }
        if next().is_ok() {
            return Err(Rejected::Field("it has more lines than it says"));
        }
        let Document { host, kernel, boot, number, is_last, home_netns, selection, has_owners, .. } = document;
        Ok(Self {
            host: Host { name: host, kernel },
            run: (boot, Timestamp(document.run_started_at)),
            number,
            started_at: Timestamp(document.started_at),
            ended_at: Timestamp(document.ended_at),
            elapsed: Duration::from_nanos(document.elapsed_ns),
            is_last,
            home_netns,
            selection,
            has_owners,
            sources: document.sources.into_iter().map(SourceLine::report).collect::<Result<_, _>>()?,
            drops,
            overflow: document.overflow.into_iter().map(OverflowLine::total).collect::<Result<_, _>>()?,
            records,
            records_left_out: document.records_left_out,
        })
    }

    /// The times that drops of the interval may have: by the clock of its start, and by the clock of its end.
    pub(crate) fn spans(&self) -> [Span; 2] {
        let elapsed = u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX);
        let behind = Timestamp(self.started_at.0.saturating_add(elapsed));
        let before = Timestamp(self.ended_at.0.saturating_sub(elapsed));
        [Span { from: self.started_at, to: behind }, Span { from: before, to: self.ended_at }]
    }

    /// New time minus old time, in nanoseconds, if the host's clock was set within the interval. Small corrections are none.
    pub(crate) fn clock_step(&self) -> Option<i64> {
        let by = i128::from(self.ended_at.0) - i128::from(self.started_at.0) - nanos(self.elapsed);
        // Clocks are slewed by up to 500 millionths.
        let is_slewed = by.abs() <= 100_000_000 + nanos(self.elapsed) / 1_000;
        (!is_slewed).then(|| i64::try_from(by).unwrap_or(if by < 0 { i64::MIN } else { i64::MAX }))
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

fn row(numbers: &[u8], key: &[u8]) -> Result<DropTotal, Rejected> {
    let Numbers { packets, bytes, first_seen, last_seen, seen_by } = serde_json::from_slice(numbers)?;
    let seen_by = match seen_by {
        [true, true] => &Origin::ALL[..],
        [true, false] => Origin::Ebpf.alone(),
        [false, true] => Origin::NetDm.alone(),
        [false, false] => &[],
    };
    let (first_seen, last_seen) = (Timestamp(first_seen), Timestamp(last_seen));
    Ok(DropTotal { key: Arc::new(drop_of(key)?.key), packets, bytes, first_seen, last_seen, seen_by, more: 0 })
}

fn bounded(name: &str) -> Result<(), Rejected> {
    if name.len() > LONGEST { Err(Rejected::Field("a name is longer than 4096 bytes")) } else { Ok(()) }
}
