//! Counters of drops by labels, of which there are at most so many: what has no series of its own is in one for all
//! others, and what series of other network namespaces counted that did not rise for long is in one for all of these, so
//! that the sum of all is exact.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::dimension::label_names;

/// The label that is told only if it is asked for: it multiplies the series, and changes with each build of the kernel.
pub const OFFSET: &str = "offset";

/// The value of `netns` for the namespace that the agent is in.
pub const OWN: &str = "own";

/// Value of each label of the series for all others.
pub const OTHER: &str = "other";

/// Value of each label of the series for all that expired. It is not the one for all others: what moves to it was
/// dropped long ago, which a rate must not show as drops of now.
pub const EXPIRED: &str = "expired";

/// Values of the labels of all dimensions ([`label_names`]); empty where they are unknown.
pub type Labels = Box<[Arc<str>]>;

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

/// How many series there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most so many series, at least the one for all others.
    pub limit: usize,
    /// A series of another network namespace that did not rise for so long expires.
    pub expire_after: Duration,
}

/// The counters, from 0 at the start and only up. `K` is what a source counts by.
#[derive(Debug)]
pub struct Series<K> {
    bounds: Bounds,
    other: (Labels, Sum),
    /// None until the first one expires.
    expired: Option<(Labels, Sum)>,
    own: BTreeMap<Arc<Labels>, Counter>,
    /// What was told last.
    told: HashMap<K, Told, RandomState>,
}

#[derive(Debug)]
struct Counter {
    sum: Sum,
    rose_at: Instant,
}

#[derive(Debug)]
struct Told {
    /// Of the series that it counts in; none: in that for all others.
    labels: Option<Arc<Labels>>,
    sum: Sum,
}

impl<K: Eq + Hash> Series<K> {
    /// Nothing is counted yet.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            other: (all(OTHER), Sum::NOTHING),
            expired: None,
            own: BTreeMap::new(),
            told: HashMap::default(),
        }
    }

    /// Takes what a source has counted since it began: all of it at each reading. What is told no more keeps its count;
    /// what is told anew, or as less than before, counts from 0.
    pub fn reading(&mut self, now: Instant) -> Reading<'_, K> {
        Reading { series: self, now, told: HashMap::default() }
    }

    /// All series.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, Sum)> {
        let shared = [Some(&self.other), self.expired.as_ref()].into_iter().flatten();
        shared.map(|(labels, sum)| (labels, *sum)).chain(self.own.iter().map(|(labels, own)| (&**labels, own.sum)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + usize::from(self.expired.is_some()) + self.own.len()
    }

    /// How many there may be.
    pub const fn limit(&self) -> usize {
        self.bounds.limit
    }

    /// A series for drops with these labels, if there is one or room for one.
    fn open(&mut self, labels: Labels, now: Instant) -> Option<Arc<Labels>> {
        if let Some((labels, _)) = self.own.get_key_value(&labels) {
            return Some(Arc::clone(labels));
        }
        if self.count() >= self.bounds.limit {
            return None;
        }
        let labels = Arc::new(labels);
        self.own.insert(Arc::clone(&labels), Counter { sum: Sum::NOTHING, rose_at: now });
        Some(labels)
    }

    /// Counts what came.
    fn rise(&mut self, labels: Option<&Labels>, came: Sum, now: Instant) {
        match labels.and_then(|labels| self.own.get_mut(labels)) {
            Some(own) => {
                own.sum.add(came);
                if came.packets > 0 {
                    own.rose_at = now;
                }
            }
            None if came.packets > 0 => self.other.1.add(came),
            None => {}
        }
    }

    fn expire(&mut self, now: Instant) {
        let long = self.bounds.expire_after;
        let is_old = |own: &Counter| now.saturating_duration_since(own.rose_at) >= long;
        for (_, own) in self.own.extract_if(.., |labels, own| may_expire(labels) && is_old(own)) {
            let (_, expired) = self.expired.get_or_insert_with(|| (all(EXPIRED), Sum::NOTHING));
            expired.add(own.sum);
        }
    }
}

/// The agent's own namespace lasts as long as the agent, and has as many series as the kernel has drop sites.
fn may_expire(labels: &Labels) -> bool {
    !["", OWN].contains(&netns(labels))
}

/// The value of the label `netns`.
fn netns(labels: &Labels) -> &str {
    let (_, value) = label_names().zip(labels).find(|(name, _)| *name == "netns").unzip();
    value.map_or("", |value| &**value)
}

fn all(value: &str) -> Labels {
    label_names().map(|_| Arc::from(value)).collect()
}

/// A reading that is being taken; it counts when it is [`Reading::finish`]ed.
#[derive(Debug)]
pub struct Reading<'s, K> {
    series: &'s mut Series<K>,
    now: Instant,
    told: HashMap<K, Told, RandomState>,
}

impl<K: Eq + Hash> Reading<'_, K> {
    /// What was counted by `key`. Its labels are asked for when it rises and has no series, and stay as long as the
    /// series: a source's names may change while it counts on.
    pub fn add(&mut self, key: K, sum: Sum, labels: impl FnOnce() -> Labels) {
        let Self { series, now, told } = self;
        let last = series.told.get(&key);
        let (before, known) = last.map_or((0, None), |last| (last.sum.packets, last.labels.clone()));
        let told = told.entry(key).or_insert(Told { labels: known, sum: Sum::NOTHING });
        told.sum.add(sum);
        let has_series = told.labels.as_ref().is_some_and(|labels| series.own.contains_key(labels));
        if !has_series {
            let has_risen = told.sum.packets > before;
            told.labels = if has_risen { series.open(labels(), *now) } else { None };
        }
    }

    /// Counts what came since the last reading, and lets go of what has not risen for long.
    pub fn finish(self) {
        let Self { series, now, told } = self;
        for (key, Told { labels, sum }) in &told {
            let before = series.told.get(key).map_or(Sum::NOTHING, |told| told.sum);
            series.rise(labels.as_deref(), sum.since(before), now);
        }
        series.told = told;
        series.expire(now);
    }
}

#[cfg(test)]
mod tests;
