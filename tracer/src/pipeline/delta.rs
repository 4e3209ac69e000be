//! What happened between two readings of totals, which rise from the start of a run: the drops of an interval.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::event::{Reason, Timestamp};
use crate::domain::identity::Identity;
use crate::domain::report::SourceReport;
use crate::domain::total::{DropTotal, OverflowTotal};

/// A reading of the totals since the start of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// By key, one for each [`Identity`].
    pub(crate) drops: Vec<DropTotal>,
    /// Without a key, by reason.
    pub(crate) overflow: Vec<OverflowTotal>,
    /// The backends and their ledgers.
    pub(crate) sources: Vec<SourceReport>,
}

impl Reading {
    /// Takes totals; those whose keys differ in their names alone become one.
    pub(crate) fn new(drops: Vec<DropTotal>, overflow: Vec<OverflowTotal>, sources: Vec<SourceReport>) -> Self {
        Self { drops: merged(drops), overflow, sources }
    }
}

/// The rise of totals between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The keys that had drops.
    pub(crate) drops: Vec<DropTotal>,
    /// The reasons that had drops without a key.
    pub(crate) overflow: Vec<OverflowTotal>,
    /// The backends, and their ledgers of the time between the readings.
    pub(crate) sources: Vec<SourceReport>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    packets: u64,
    bytes: Option<u64>,
}

impl Sum {
    fn rise_of(self, before: Option<Self>) -> Self {
        let before = before.unwrap_or(Self { packets: 0, bytes: Some(0) });
        let bytes = self.bytes.zip(before.bytes).map(|(now, before)| now.saturating_sub(before));
        Self { packets: self.packets.saturating_sub(before.packets), bytes }
    }
}

/// The totals up to a reading. The sum of all rises since the start is the last reading: a number that falls, which is a fault,
/// counts as unchanged.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    drops: HashMap<Identity, Sum, RandomState>,
    overflow: HashMap<Option<Arc<Reason>>, Sum, RandomState>,
    sources: Vec<SourceReport>,
}

impl Totals {
    /// The rise up to a reading. The interval between them starts at `since`.
    pub(crate) fn until(&self, reading: &Reading, since: Timestamp) -> Delta {
        let mut drops: Vec<DropTotal> = vec![];
        for total in &reading.drops {
            let before = self.drops.get(&Identity::from(&*total.key)).copied();
            let sum = Sum { packets: total.packets, bytes: total.bytes }.rise_of(before);
            if sum.packets > 0 {
                let first_seen = if before.is_some() { total.first_seen.max(since) } else { total.first_seen };
                let first_seen = first_seen.min(total.last_seen);
                drops.push(DropTotal { packets: sum.packets, bytes: sum.bytes, first_seen, ..total.clone() });
            }
        }
        let overflow = reading.overflow.iter().filter_map(|total| {
            let before = self.overflow.get(&total.reason).copied();
            let Sum { packets, bytes } = Sum { packets: total.packets, bytes: total.bytes }.rise_of(before);
            (packets > 0).then(|| OverflowTotal { reason: total.reason.clone(), packets, bytes })
        });
        let sources = reading.sources.iter().map(|report| {
            let same = |it: &&SourceReport| it.ledger.source() == report.ledger.source();
            let before = self.sources.iter().find(same);
            let ledger = before.map_or(report.ledger, |before| report.ledger.since(&before.ledger));
            SourceReport { mode: report.mode, ledger, held_back: vec![] }
        });
        Delta { drops, overflow: overflow.collect(), sources: sources.collect() }
    }

    /// Goes on to a reading.
    pub(crate) fn advance(&mut self, reading: &Reading) {
        for total in &reading.drops {
            let sum = self.drops.entry(Identity::from(&*total.key)).or_default();
            if total.packets >= sum.packets {
                *sum = Sum { packets: total.packets, bytes: total.bytes };
            }
        }
        for total in &reading.overflow {
            let sum = self.overflow.entry(total.reason.clone()).or_default();
            if total.packets >= sum.packets {
                *sum = Sum { packets: total.packets, bytes: total.bytes };
            }
        }
        self.sources.clone_from(&reading.sources);
    }
}

/// The totals with one for each identity: names of equal keys may differ.
fn merged(totals: Vec<DropTotal>) -> Vec<DropTotal> {
    let mut found: HashMap<Identity, usize, RandomState> = HashMap::default();
    let mut sums: Vec<DropTotal> = Vec::with_capacity(totals.len());
    for total in totals {
        match found.entry(Identity::from(&*total.key)) {
            Entry::Occupied(at) => sums[*at.get()].add(&total),
            Entry::Vacant(vacant) => {
                vacant.insert(sums.len());
                sums.push(total);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{overflow, report, totals};

    fn reading(factor: u64) -> Reading {
        let scaled = |total: &DropTotal| DropTotal {
            packets: total.packets * factor,
            bytes: total.bytes.map(|bytes| bytes * factor),
            ..total.clone()
        };
        let overflow = overflow().into_iter().map(|total| OverflowTotal { packets: total.packets * factor, ..total });
        let sources = report(vec![], vec![]).sources;
        Reading::new(totals().iter().map(scaled).collect(), overflow.collect(), sources)
    }

    fn packets(delta: &Delta) -> u64 {
        let rows = delta.drops.iter().map(|total| total.packets);
        rows.chain(delta.overflow.iter().map(|total| total.packets)).sum()
    }

    #[test]
    fn rises_add_up_to_the_last_reading() {
        let mut totals = Totals::default();
        let (mut sum, mut before) = (0, 0);
        for factor in [1, 3, 3, 10] {
            let reading = reading(factor);
            let delta = totals.until(&reading, Timestamp(0));
            assert_eq!(delta.drops.is_empty(), factor == before, "{factor}");
            before = factor;
            sum += packets(&delta);
            totals.advance(&reading);
        }
        assert_eq!(sum, packets(&Totals::default().until(&reading(10), Timestamp(0))));
    }

    #[test]
    fn rise_that_was_not_written_is_part_of_the_next_one() {
        let totals = Totals::default();
        let lost = totals.until(&reading(2), Timestamp(0));
        let next = totals.until(&reading(5), Timestamp(0));
        assert_eq!(packets(&next), packets(&lost) / 2 * 5);
    }

    #[test]
    fn first_drop_of_a_known_key_is_in_the_interval() {
        let mut totals = Totals::default();
        totals.advance(&reading(1));
        let mut now = reading(2);
        now.drops.truncate(1);
        let since = Timestamp(now.drops[0].first_seen.0 + 5);
        assert_eq!(totals.until(&now, since).drops[0].first_seen, since);
        assert_eq!(Totals::default().until(&now, since).drops[0].first_seen, now.drops[0].first_seen);
    }
}
