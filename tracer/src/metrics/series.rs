//! Counters of drops by labels, of which there are at most so many: what has no series of its own is in one for all
//! others, so that the sum of all is exact.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Names of the labels.
pub const LABELS: [&str; 8] =
    ["reason", "subsystem", "symbol", OFFSET, "module", "interface_class", "netns", "protocol"];

/// The label that is told only if it is asked for: it multiplies the series, and changes with each build of the kernel.
pub const OFFSET: &str = "offset";

/// Value of each label of the series for all others.
pub const OTHER: &str = "other";

/// Values of [`LABELS`]; empty where not known.
pub type Labels = [Arc<str>; LABELS.len()];

/// Drops, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub packets: u64,
    /// Bytes of them; none where not all of them are told.
    pub bytes: Option<u64>,
}

impl Sum {
    const NOTHING: Self = Self { packets: 0, bytes: Some(0) };

    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes = self.bytes.zip(other.bytes).map(|(one, other)| one + other);
    }

    /// What came since `before`; all of it where it is less than that, for then counting began anew.
    fn since(self, before: Self) -> Self {
        match self.packets.checked_sub(before.packets) {
            Some(packets) => {
                Self { packets, bytes: self.bytes.zip(before.bytes).map(|(now, before)| now.saturating_sub(before)) }
            }
            None => self,
        }
    }
}

/// The counters, from 0 at the start and only up. `K` is what a source counts by.
#[derive(Debug)]
pub struct Series<K> {
    limit: usize,
    /// The first is that of all others.
    counters: Vec<(Labels, Sum)>,
    slots: HashMap<Labels, usize, RandomState>,
    /// What was told last.
    told: HashMap<K, Told, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    slot: usize,
    sum: Sum,
}

impl<K: Eq + Hash> Series<K> {
    /// At most `limit` series, at least the one for all others.
    pub fn new(limit: usize) -> Self {
        let other = [(); LABELS.len()].map(|()| Arc::from(OTHER));
        Self { limit, counters: vec![(other, Sum::NOTHING)], slots: HashMap::default(), told: HashMap::default() }
    }

    /// Takes what a source has counted since it began: all of it at each reading. What is told no more keeps its count;
    /// what is told anew, or as less than before, counts from 0.
    pub fn reading(&mut self) -> Reading<'_, K> {
        Reading { series: self, told: HashMap::default() }
    }

    /// All series.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Labels, Sum)> {
        self.counters.iter()
    }

    /// How many there may be.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Where drops with these labels count.
    fn slot(&mut self, labels: Labels) -> usize {
        if let Some(slot) = self.slots.get(&labels) {
            return *slot;
        }
        let slot = self.counters.len();
        if slot >= self.limit {
            return 0;
        }
        self.counters.push((labels.clone(), Sum::NOTHING));
        self.slots.insert(labels, slot);
        slot
    }
}

/// A reading that is being taken; it counts when it is [`Reading::finish`]ed.
#[derive(Debug)]
pub struct Reading<'s, K> {
    series: &'s mut Series<K>,
    told: HashMap<K, Told, RandomState>,
}

impl<K: Eq + Hash> Reading<'_, K> {
    /// What was counted by `key`. Its labels are asked for when it is first told, and stay: a source's names may change
    /// while it counts on.
    pub fn add(&mut self, key: K, sum: Sum, labels: impl FnOnce() -> Labels) {
        if let Some(told) = self.told.get_mut(&key) {
            return told.sum.add(sum);
        }
        let slot = match self.series.told.get(&key) {
            Some(told) => told.slot,
            None => self.series.slot(labels()),
        };
        self.told.insert(key, Told { slot, sum });
    }

    /// Counts what came since the last reading.
    pub fn finish(self) {
        for (key, Told { slot, sum }) in &self.told {
            let before = self.series.told.get(key).map_or(Sum::NOTHING, |told| told.sum);
            let (_, counter) = &mut self.series.counters[*slot];
            counter.add(sum.since(before));
        }
        self.series.told = self.told;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(name: &str) -> Labels {
        let mut labels = [(); LABELS.len()].map(|()| Arc::from(""));
        labels[0] = name.into();
        labels
    }

    fn packets(packets: u64) -> Sum {
        Sum { packets, bytes: Some(packets * 10) }
    }

    fn read(series: &mut Series<u8>, told: &[(u8, &str, u64)]) {
        let mut reading = series.reading();
        for (key, name, count) in told {
            reading.add(*key, packets(*count), || labels(name));
        }
        reading.finish();
    }

    fn shown(series: &Series<u8>) -> Vec<(&str, u64)> {
        series.iter().map(|(labels, sum)| (&*labels[0], sum.packets)).collect()
    }

    #[test]
    fn keys_of_the_same_labels_share_a_series() {
        let mut series = Series::new(9);
        read(&mut series, &[(1, "a", 5), (2, "b", 7), (3, "a", 1)]);
        assert_eq!(shown(&series), [("other", 0), ("a", 6), ("b", 7)]);
        read(&mut series, &[(1, "a", 6), (2, "b", 7), (3, "a", 3)]);
        assert_eq!(shown(&series), [("other", 0), ("a", 9), ("b", 7)]);
    }

    #[test]
    fn beyond_the_limit_all_is_in_one() {
        let mut series = Series::new(2);
        read(&mut series, &[(1, "a", 5), (2, "b", 7), (3, "c", 1)]);
        assert_eq!(shown(&series), [("other", 8), ("a", 5)]);
        read(&mut series, &[(2, "b", 8), (3, "c", 1), (1, "a", 6)]);
        assert_eq!(shown(&series), [("other", 9), ("a", 6)]);
        assert!(series.iter().next().unwrap().0.iter().all(|label| &**label == OTHER));
    }

    #[test]
    fn what_is_told_no_more_or_anew_never_goes_down() {
        let mut series = Series::new(9);
        read(&mut series, &[(1, "a", 5)]);
        read(&mut series, &[]);
        assert_eq!(shown(&series), [("other", 0), ("a", 5)]);
        read(&mut series, &[(1, "a", 2)]);
        read(&mut series, &[(1, "a", 1)]);
        assert_eq!(shown(&series), [("other", 0), ("a", 8)]);
    }

    #[test]
    fn a_key_that_is_renamed_does_not_count_twice() {
        let mut series = Series::new(9);
        read(&mut series, &[(1, "eth0", 5)]);
        read(&mut series, &[(1, "wan", 7)]);
        assert_eq!(shown(&series), [("other", 0), ("eth0", 7)]);
    }

    #[test]
    fn bytes_that_are_not_told_make_no_wrong_sum() {
        let mut series = Series::new(9);
        for told in [Some(40), None, Some(90)] {
            let mut reading = series.reading();
            reading.add(1, Sum { packets: 1, bytes: told }, || labels("a"));
            reading.finish();
        }
        let sums: Vec<_> = series.iter().map(|(_, sum)| sum.bytes).collect();
        assert_eq!(sums, [Some(0), None]);
    }

    /// Counts of up to six keys; none for those that are not told.
    fn readings() -> impl Strategy<Value = Vec<[Option<u64>; 6]>> {
        prop::collection::vec(prop::array::uniform6(prop::option::of(0..1000_u64)), 0..12)
    }

    proptest! {
        #[test]
        fn the_sum_is_exact_and_each_series_only_rises(limit in 1..6_usize, readings in readings()) {
            const NAMES: [&str; 6] = ["a", "b", "c", "a", "b", "d"];
            let mut series = Series::new(limit);
            let (mut expected, mut last) = (0, [None; 6]);
            let mut before: Vec<(Labels, Sum)> = vec![];
            for told in readings {
                for (now, last) in told.iter().zip(&last) {
                    let now = now.unwrap_or(0);
                    expected += now.checked_sub(last.unwrap_or(0)).unwrap_or(now);
                }
                last = told;
                let row = told.iter().enumerate().filter_map(|(key, count)| {
                    Some((u8::try_from(key).unwrap(), NAMES[key], (*count)?))
                });
                read(&mut series, &row.collect::<Vec<_>>());
                let now: Vec<_> = series.iter().cloned().collect();
                prop_assert!(now.len() <= limit);
                prop_assert_eq!(now.iter().map(|(_, sum)| sum.packets).sum::<u64>(), expected);
                prop_assert_eq!(now.iter().map(|(_, sum)| sum.bytes.unwrap()).sum::<u64>(), expected * 10);
                for ((was, old), (is, new)) in before.iter().zip(&now) {
                    prop_assert!(was == is && old.packets <= new.packets, "{old:?} became {new:?}");
                }
                before = now;
            }
        }

        #[test]
        fn counts_that_only_rise_are_told_as_they_are(limit in 1..6_usize, rises in readings()) {
            let mut series = Series::new(limit);
            let mut counts = [0; 6];
            for rise in rises {
                for (count, rise) in counts.iter_mut().zip(rise) {
                    *count += rise.unwrap_or(0);
                }
                let row: Vec<_> = (0..6).zip(["a", "b", "c", "d", "e", "f"]).zip(counts).collect();
                read(&mut series, &row.iter().map(|((key, name), count)| (*key, *name, *count)).collect::<Vec<_>>());
                prop_assert_eq!(series.iter().map(|(_, sum)| sum.packets).sum::<u64>(), counts.iter().sum::<u64>());
            }
        }
    }
}
