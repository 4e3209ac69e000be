//! How the rows grow: readings of the totals, one after another.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::domain::identity::Identity;
use crate::domain::report::{Host, StatReport};
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::render::rank::per_second;
use crate::sink::{LedgerLine, verdict};

/// Cells of a trend.
pub(crate) const CELLS: usize = 24;
/// Readings that one cell of a trend covers.
pub(crate) const READINGS_PER_CELL: u64 = 5;
/// Readings that a trend covers.
pub(crate) const READINGS: u64 = READINGS_PER_CELL * CELLS as u64;

/// Drops a second over time, the oldest cell first. A cell is the mean of its readings; the last one has some so far, others
/// lack those that were passed over.
pub(crate) type Trend = [f32; CELLS];

/// One aggregation key in a reading.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The drops since the start, or since the last reset.
    pub(crate) total: DropTotal,
    /// Drops a second since the reading before; absent where that time is too short.
    pub(crate) rate: Option<f64>,
    /// The rate over time.
    pub(crate) trend: Trend,
}

/// The totals at one time.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// The host.
    pub(crate) host: Host,
    /// Time since the start of the run.
    pub(crate) duration: Duration,
    /// Time since the last reset; absent where there was none.
    pub(crate) since_reset: Option<Duration>,
    /// The packets of networks, by aggregation key.
    pub(crate) entries: Vec<Entry>,
    /// Drops of which only the reason is known.
    pub(crate) overflow: u64,
    /// Drops a second among them; absent as in [`Entry::rate`].
    pub(crate) overflow_rate: Option<f64>,
    /// Freed buffers that are no packets of a network.
    pub(crate) not_packets: u64,
    /// What was seen, counted and lost since the start of the run.
    pub(crate) verdict: Vec<LedgerLine>,
}

impl Reading {
    /// Gives all rows their mean rate over the whole time.
    pub(crate) fn with_mean_rates(mut self) -> Self {
        for Entry { total, rate, .. } in &mut self.entries {
            *rate = per_second(total.packets, self.duration);
        }
        self.overflow_rate = per_second(self.overflow, self.duration);
        self
    }

    /// Sets all counts to 0, as [`History::reset`] does.
    pub(crate) fn reset(&mut self) {
        for Entry { total, .. } in &mut self.entries {
            (total.packets, total.bytes, total.more) = (0, total.bytes.map(|_| 0), 0);
        }
        (self.overflow, self.not_packets) = (0, 0);
        self.since_reset = Some(Duration::ZERO);
    }
}

/// The past of one aggregation key.
#[derive(Clone, Debug, Default)]
struct Past {
    /// Drops at the last reading.
    packets: u64,
    bytes: Option<u64>,
    /// Drops at the last reset.
    base: u64,
    base_bytes: u64,
    rates: Rates,
    /// The last reading that had the key, and the number of its sum there.
    seen: Option<u64>,
    at: usize,
}

/// Sums of rates by cell; the cell of a reading is its number divided by [`READINGS_PER_CELL`].
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    sums: Trend,
    newest: u64,
}

impl Rates {
    fn add(&mut self, reading: u64, rate: f64) {
        let cell = reading / READINGS_PER_CELL;
        for gone in (self.newest + 1..=cell).take(CELLS) {
            self.sums[index(gone)] = 0.0;
        }
        self.newest = cell;
        #[expect(clippy::cast_possible_truncation, reason = "a trend is no count: 24 bits are plenty")]
        let rate = rate as f32;
        self.sums[index(cell)] += rate;
    }

    fn trend(&self, cells: &Cells) -> Trend {
        let mut trend = Trend::default();
        for (at, mean) in trend.iter_mut().enumerate() {
            let age = (CELLS - 1 - at) as u64;
            let Some(cell) = self.newest.checked_sub(age) else { continue };
            *mean = self.sums[index(cell)] / f32::from(cells.readings[index(cell)].max(1));
        }
        trend
    }
}

/// How many readings there were in each cell.
#[derive(Debug, Default)]
struct Cells {
    readings: [u8; CELLS],
    newest: u64,
}

impl Cells {
    fn add(&mut self, reading: u64) {
        let cell = reading / READINGS_PER_CELL;
        for gone in (self.newest + 1..=cell).take(CELLS) {
            self.readings[index(gone)] = 0;
        }
        self.newest = cell;
        self.readings[index(cell)] += 1;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "smaller than the number of cells")]
const fn index(cell: u64) -> usize {
    (cell % CELLS as u64) as usize
}

/// All aggregation keys and their past.
#[derive(Debug, Default)]
pub(crate) struct History {
    past: HashMap<Identity, Past, RandomState>,
    cells: Cells,
    overflow: [u64; 2],
    not_packets: [u64; 2],
    /// Number of readings so far, with those that were passed over.
    readings: u64,
    duration: Duration,
    reset_at: Option<Duration>,
}

impl History {
    /// Takes a report, and compares it with the one before.
    pub(crate) fn read(&mut self, report: &StatReport) -> Reading {
        let span = report.duration.saturating_sub(self.duration);
        let entries = self.entries(&report.drops, span);
        let overflow = report.overflow.iter().map(|total: &OverflowTotal| total.packets).sum::<u64>();
        let others = report.drops.iter().filter(|total| !total.key.kind.is_packet()).map(|total| total.packets).sum();
        let overflow_rate = per_second(overflow.saturating_sub(self.overflow[0]), span);
        (self.overflow[0], self.not_packets[0]) = (overflow, others);
        self.duration = report.duration;
        self.readings += 1;
        Reading {
            host: report.host.clone(),
            duration: report.duration,
            since_reset: self.reset_at.map(|at| report.duration.saturating_sub(at)),
            entries,
            overflow: overflow - self.overflow[1],
            overflow_rate,
            not_packets: self.not_packets[0].saturating_sub(self.not_packets[1]),
            verdict: verdict(report),
        }
    }

    /// The entries of packets. Two keys with one identity have one entry; keys that are gone have no past.
    fn entries(&mut self, drops: &[DropTotal], span: Duration) -> Vec<Entry> {
        let Self { past: pasts, cells, readings, .. } = self;
        cells.add(*readings);
        let mut sums: Vec<DropTotal> = Vec::with_capacity(drops.len());
        for total in drops.iter().filter(|total| total.key.kind.is_packet()) {
            let past = pasts.entry(Identity::from(&*total.key)).or_default();
            if past.seen.replace(*readings) == Some(*readings) {
                sums[past.at].add(total);
            } else {
                past.at = sums.len();
                sums.push(total.clone());
            }
        }
        pasts.retain(|_, past| past.seen == Some(*readings));
        pasts.values_mut().map(|past| past.next(&sums[past.at], *readings, cells, span)).collect()
    }

    /// Leaves the trends empty for the time of so many readings.
    pub(crate) const fn skip(&mut self, readings: u64) {
        self.readings += readings;
    }

    /// Counts from now on. The backends count on, and so does the ledger.
    pub(crate) fn reset(&mut self) {
        for past in self.past.values_mut() {
            (past.base, past.base_bytes) = (past.packets, past.bytes.unwrap_or_default());
        }
        self.overflow[1] = self.overflow[0];
        self.not_packets[1] = self.not_packets[0];
        self.reset_at = Some(self.duration);
    }
}

impl Past {
    fn next(&mut self, total: &DropTotal, reading: u64, cells: &Cells, span: Duration) -> Entry {
        let rate = per_second(total.packets.saturating_sub(self.packets), span);
        self.rates.add(reading, rate.unwrap_or_default());
        (self.packets, self.bytes) = (total.packets, total.bytes);
        let packets = total.packets.saturating_sub(self.base);
        let bytes = total.bytes.map(|bytes| bytes.saturating_sub(self.base_bytes));
        let more = if self.base == 0 { total.more } else { total.more.min(packets) };
        let total = DropTotal { packets, bytes, more, ..total.clone() };
        Entry { total, rate, trend: self.rates.trend(cells) }
    }
}
