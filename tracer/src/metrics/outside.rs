//! Losses outside `kfree_skb`: what the kernel's counters rose by beyond the drops, since the start of the agent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::labels::{OUTSIDE, Surroundings};
use super::model::{Family, Kind, Sample, Value};
use super::series::{Bounds, Series, Sum};
use crate::backend::counters::beside::Key;
use crate::domain::reconciliation::{ReconciledCounter, Reconciliation};

/// The part of the limit of series that these may have, beside those of drops.
const PART_OF_SERIES: usize = 5;

/// The losses by counter. Each count only rises.
#[derive(Debug)]
pub(super) struct OutsideAccounts {
    series: Series<Key>,
    estimates: HashMap<Key, Estimate>,
    /// The number of readings of the counters that `estimates` know; absent while the counters are not read.
    readings: Option<u32>,
}

impl OutsideAccounts {
    /// A value without any counts, which has at most a part of the series that drops may have.
    pub(super) fn new(drops: Bounds) -> Self {
        let bounds = Bounds { limit: (drops.limit / PART_OF_SERIES).max(1), ..drops };
        Self { series: Series::new(bounds, OUTSIDE), estimates: HashMap::new(), readings: None }
    }

    /// Takes what the counters show, if they were read again. Absent: they are not read.
    pub(super) fn take(&mut self, found: Option<&Reconciliation>, now: Instant, surroundings: &mut Surroundings) {
        let Some(found) = found else { return };
        if self.readings.replace(found.readings) == Some(found.readings) {
            return;
        }
        let mut before = std::mem::take(&mut self.estimates);
        let mut reading = self.series.reading(now);
        for counter in &found.counters {
            let key = key(counter);
            let mut estimate = before.remove(&key).unwrap_or_default();
            estimate.take(counter.rise, counter.covered);
            let sum = Sum { packets: estimate.outside, bytes: None };
            reading.add(key.clone(), sum, true, || surroundings.outside_labels(counter));
            self.estimates.insert(key, estimate);
        }
        reading.finish();
    }

    /// The metrics; none while the counters are not read.
    pub(super) fn families(&self) -> Option<Family> {
        let sample = |(labels, sum): (&super::label_set::Labels, Sum)| Sample {
            labels: OUTSIDE.into_iter().zip(labels.iter().cloned()).collect(),
            value: Value::Count(sum.packets),
        };
        self.readings.map(|_| Family {
            name: "droptrace_outside_kfree_skb",
            help: "Packets that the kernel's counters count as lost, and that certainly are none of the drops",
            unit: None,
            kind: Kind::Counter,
            samples: self.series.iter().map(sample).collect(),
        })
    }
}

fn key(counter: &ReconciledCounter) -> Key {
    let ifindex = counter.interface.as_ref().map_or(0, |interface| interface.ifindex);
    (Arc::clone(&counter.name), (counter.netns, counter.netns_number), ifindex)
}

/// What certainly was lost outside `kfree_skb`, of one counter.
///
/// Between any two readings of a counter, at least its rise less the drops between two readings of the drops was lost outside,
/// if the first reading of the drops is before that of the counter, and the second one after. Over a long time, drops that may or
/// may not raise the counter would hide all losses. So the times are divided where that shows most: `outside` is the greatest
/// sum over all divisions.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    outside: u64,
    /// The greatest value of `outside` less the rise plus the drops, at the begin of a span of time; absent if no span can begin.
    best: Option<i128>,
    /// The drops at the last two readings. A reading of the counter begins after the drops were read at the last reading but one.
    drops: [Option<u64>; 2],
    rise: u64,
}

impl Default for Estimate {
    /// The first span begins with the run, in which there were neither losses nor drops.
    fn default() -> Self {
        Self { outside: 0, best: Some(0), drops: [None; 2], rise: 0 }
    }
}

impl Estimate {
    /// Takes a reading: the rise since the start of the run, and the drops that may be among the rise; absent if their number is not
    /// known.
    fn take(&mut self, rise: u64, drops: Option<u64>) {
        let went_back = self.drops[1].zip(drops).is_some_and(|(before, now)| now < before) || rise < self.rise;
        if drops.is_none() || went_back {
            (self.best, self.drops) = (None, [None; 2]);
        }
        if let (Some(best), Some(drops)) = (self.best, drops) {
            let outside = i128::from(rise) - i128::from(drops) + best;
            self.outside = self.outside.max(u64::try_from(outside).unwrap_or(0));
        }
        if let Some(before) = self.drops[0] {
            let begin = i128::from(self.outside) - i128::from(rise) + i128::from(before);
            self.best = Some(self.best.map_or(begin, |best| best.max(begin)));
        }
        (self.drops, self.rise) = ([self.drops[1], drops], rise);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::label_set::LabelSet;

    /// `outside` after each reading of the rise and the drops.
    fn estimates(readings: &[(u64, Option<u64>)]) -> Vec<u64> {
        let mut estimate = Estimate::default();
        let mut taken = |(rise, drops): &(u64, Option<u64>)| {
            estimate.take(*rise, *drops);
            estimate.outside
        };
        readings.iter().map(&mut taken).collect()
    }

    #[test]
    fn rise_beyond_all_drops_is_outside() {
        assert_eq!(estimates(&[(10, Some(4)), (10, Some(4)), (30, Some(5))]), [6, 6, 25]);
        assert_eq!(estimates(&[(5, Some(9)), (9, Some(9)), (12, Some(12))]), [0; 3]);
    }

    #[test]
    fn drops_that_may_raise_the_counter_hide_no_later_loss() {
        // A thousand such drops at first, then refused connections.
        let many = Some(1000);
        assert_eq!(estimates(&[(3, many), (3, many), (3, many), (85, many), (85, Some(5000))]), [0, 0, 0, 82, 82]);
    }

    #[test]
    fn drops_between_two_readings_are_claimed_by_neither() {
        // The drops are read after the counter each time: five of them count for the next reading.
        assert_eq!(estimates(&[(0, Some(5)), (5, Some(10)), (10, Some(15)), (15, Some(20)), (20, Some(25))]), [0; 5]);
    }

    #[test]
    fn nothing_is_claimed_over_a_time_with_an_unknown_number_of_drops() {
        assert_eq!(estimates(&[(9, None), (9, Some(0)), (9, Some(0)), (9, Some(0)), (12, Some(0))]), [0, 0, 0, 0, 3]);
        // A part of the drops went elsewhere.
        assert_eq!(estimates(&[(9, Some(9)), (9, Some(4)), (9, Some(4)), (9, Some(4)), (9, Some(4))]), [0; 5]);
    }

    fn counter(name: &str, netns: u32, outside: u64) -> ReconciledCounter {
        ReconciledCounter {
            name: name.into(),
            class: "not-traceable",
            meaning: "".into(),
            netns,
            netns_number: 1,
            netns_name: Some("web".into()),
            interface: None,
            cpus: vec![],
            rise: outside + 2,
            is_compared: true,
            explained: 2,
            outside,
            covered: Some(2),
            is_untraceable: true,
            listeners: vec![],
        }
    }

    fn shown(accounts: &OutsideAccounts) -> Vec<(Vec<String>, u64)> {
        let sample = |sample: Sample| {
            let Value::Count(count) = sample.value else { panic!("{sample:?} is no count") };
            (sample.labels.iter().map(|(_, value)| value.to_string()).collect(), count)
        };
        accounts.families().into_iter().flat_map(|family| family.samples).map(sample).collect()
    }

    /// Three namespaces have the same inode number, one after another.
    #[test]
    fn namespaces_with_one_inode_number_are_counted_apart() {
        let mut surroundings = Surroundings::new(7, LabelSet::new(false, None));
        let mut accounts = OutsideAccounts::new(Bounds { limit: 500, expire_after: Duration::from_hours(1) });
        let lives: [ReconciledCounter; 3] =
            [("p", 1, 20), ("q", 2, 100), ("r", 3, 60)].map(|(name, number, outside)| {
                let counter = ReconciledCounter { covered: Some(0), ..counter("TcpExtListenDrops", 8, outside) };
                ReconciledCounter { netns_name: Some(name.into()), netns_number: number, rise: outside, ..counter }
            });
        // The one that is there comes first, then those that ended.
        for (number, shown) in [(1, vec![0]), (2, vec![1, 0]), (3, vec![2, 0, 1]), (4, vec![2, 0, 1]), (5, vec![2])] {
            let counters = shown.iter().map(|at: &usize| lives[*at].clone()).collect();
            let found = Reconciliation { counters, namespaces: 3, gaps: vec![], readings: number };
            accounts.take(Some(&found), Instant::now(), &mut surroundings);
        }
        let counted = shown(&accounts).into_iter().filter(|(_, count)| *count > 0);
        let expected = [("p", 20), ("q", 100), ("r", 60)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counted.map(|(labels, count)| (labels[2].clone(), count)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn series_are_bounded_and_their_sum_is_exact() {
        let bounds = |limit| Bounds { limit, expire_after: Duration::from_hours(1) };
        let mut surroundings = Surroundings::new(7, LabelSet::new(false, None));
        let mut accounts = OutsideAccounts::new(bounds(10));
        accounts.take(None, Instant::now(), &mut surroundings);
        assert_eq!(accounts.families(), None);
        let mut take = |number, counters: Vec<ReconciledCounter>, accounts: &mut OutsideAccounts| {
            let found = Reconciliation { counters, namespaces: 2, gaps: vec![], readings: number };
            accounts.take(Some(&found), Instant::now(), &mut surroundings);
            shown(accounts)
        };
        let labels = |counter: &str, class: &str, netns: &str| [counter, class, netns].map(str::to_owned).to_vec();
        let (first, second) = (counter("TcpExtListenDrops", 8, 5), counter("rx_dropped", 7, 3));
        let other = labels("other", "other", "other");
        let of_first = labels("TcpExtListenDrops", "", "web");
        let expected = [(other.clone(), 3), (of_first.clone(), 5)];
        assert_eq!(take(1, vec![first.clone(), second.clone()], &mut accounts), expected);
        // The same reading of the counters, with fewer drops.
        assert_eq!(take(1, vec![counter("TcpExtListenDrops", 8, 7), second.clone()], &mut accounts), expected);
        // The namespace is gone.
        assert_eq!(take(2, vec![second], &mut accounts), expected);
        let mut own = OutsideAccounts::new(bounds(500));
        assert_eq!(take(3, vec![counter("IpReasmFails", 7, 1)], &mut own)[1], (labels("IpReasmFails", "", "own"), 1));
    }
}
