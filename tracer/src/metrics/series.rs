//! Counters of drops by labels, with a limit of their number. Drops without a series of their own are counted in one
//! series for all others. The counts of series of other network namespaces and of owners that have not risen for long move
//! to one series for all expired ones. The sum of all series is therefore exact.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::label_set::{Labels, OWNER};
use crate::domain::attribution::Attribution;

/// The value of `netns` for the agent's own namespace.
pub(crate) const OWN: &str = "own";

/// Value of each label of the series for all others.
pub(crate) const OTHER: &str = "other";

/// Value of each label of the series for all expired series. It differs from the series for all others, because its
/// increase stands for drops of long ago, which a rate must not show as new drops.
pub(crate) const EXPIRED: &str = "expired";

/// A sum of drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Number of drops.
    pub(crate) packets: u64,
    /// Bytes of the drops; `None` if some are unknown.
    pub(crate) bytes: Option<u64>,
}

impl Sum {
    const NOTHING: Self = Self { packets: 0, bytes: Some(0) };

    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes = self.bytes.zip(other.bytes).map(|(one, other)| one + other);
    }

    /// The increase since `before`; the whole value if it is less than `before`, because then counting started again.
    fn since(self, before: Self) -> Self {
        match self.packets.checked_sub(before.packets) {
            Some(packets) => {
                Self { packets, bytes: self.bytes.zip(before.bytes).map(|(now, before)| now.saturating_sub(before)) }
            }
            None => self,
        }
    }
}

/// The limits of the number and the age of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The most series, at least the one for all others.
    pub(crate) limit: usize,
    /// A series of another network namespace, or of an owner, expires if it has not risen for this time.
    pub(crate) expire_after: Duration,
}

/// The counters, which start at 0 and only rise. `K` is the backend's aggregation key.
#[derive(Debug)]
pub(crate) struct Series<K> {
    bounds: Bounds,
    /// The names of the labels.
    names: Box<[&'static str]>,
    other: (Labels, Sum),
    /// `None` until the first series expires.
    expired: Option<(Labels, Sum)>,
    own: BTreeMap<Arc<Labels>, Counter>,
    /// The last reported counts.
    reported: HashMap<K, Reported, RandomState>,
}

#[derive(Debug)]
struct Counter {
    sum: Sum,
    rose_at: Instant,
}

#[derive(Debug)]
struct Reported {
    /// The series that counts the key; `None` stands for the series for all others.
    labels: Option<Arc<Labels>>,
    sum: Sum,
    has_all_names: bool,
}

impl<K: Eq + Hash> Series<K> {
    /// A value without any counts, whose labels have these names.
    pub(crate) fn new(bounds: Bounds, names: impl IntoIterator<Item = &'static str>) -> Self {
        let names: Box<[_]> = names.into_iter().collect();
        Self {
            bounds,
            other: (all(&names, OTHER), Sum::NOTHING),
            names,
            expired: None,
            own: BTreeMap::new(),
            reported: HashMap::default(),
        }
    }

    /// Adds the counts of a backend since its start: each reading has all of them. Keys that disappear keep their
    /// count; keys that appear again, or with a lower count than before, count from 0.
    pub(crate) fn reading(&mut self, now: Instant) -> Reading<'_, K> {
        Reading { series: self, now, reported: HashMap::default() }
    }

    /// All series.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Labels, Sum)> {
        let shared = [Some(&self.other), self.expired.as_ref()].into_iter().flatten();
        shared.map(|(labels, sum)| (labels, *sum)).chain(self.own.iter().map(|(labels, own)| (&**labels, own.sum)))
    }

    /// Number of series.
    pub(crate) fn count(&self) -> usize {
        1 + usize::from(self.expired.is_some()) + self.own.len()
    }

    /// Limit of the number of series.
    pub(crate) const fn limit(&self) -> usize {
        self.bounds.limit
    }

    /// The series for drops with these labels, if it exists or there is room for it.
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

    /// Adds the increase.
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
        let Self { own, names, .. } = self;
        for (_, own) in own.extract_if(.., |labels, own| may_expire(names, labels) && is_old(own)) {
            let (_, expired) = self.expired.get_or_insert_with(|| (all(names, EXPIRED), Sum::NOTHING));
            expired.add(own.sum);
        }
    }
}

/// The agent's own namespace lasts as long as the agent, and has as many series as the kernel has drop sites, apart from
/// those of owners, which come and go.
fn may_expire(names: &[&str], labels: &Labels) -> bool {
    let is_owned = value(names, labels, OWNER) == Attribution::Attributed.name();
    is_owned || !["", OWN].contains(&value(names, labels, "netns"))
}

/// The value of a label; empty if there is no such label.
fn value<'l>(names: &[&str], labels: &'l Labels, name: &str) -> &'l str {
    names.iter().zip(labels).find(|(known, _)| **known == name).map_or("", |(_, value)| value)
}

/// The same value for each label.
fn all(names: &[&str], value: &str) -> Labels {
    names.iter().map(|_| Arc::from(value)).collect()
}

/// A reading in progress; it takes effect in [`Reading::finish`].
#[derive(Debug)]
pub(crate) struct Reading<'s, K> {
    series: &'s mut Series<K>,
    now: Instant,
    reported: HashMap<K, Reported, RandomState>,
}

impl<K: Eq + Hash> Reading<'_, K> {
    /// Adds the count of `key`. The labels are determined when the count rises and the key has no series, and stay as
    /// long as the series: the backend's names may change in the meantime. Only a key that lacked a name and now has all
    /// names (`has_all_names`) leaves its series: what it adds from then on counts under the new labels.
    pub(crate) fn add(&mut self, key: K, sum: Sum, has_all_names: bool, labels: impl FnOnce() -> Labels) {
        let Self { series, now, reported } = self;
        let last = series.reported.get(&key);
        let before = last.map_or(0, |last| last.sum.packets);
        let keeps_labels = |last: &&Reported| last.has_all_names || !has_all_names;
        let known = last.filter(keeps_labels).and_then(|last| last.labels.clone());
        let reported = reported.entry(key).or_insert(Reported { labels: known, sum: Sum::NOTHING, has_all_names });
        reported.sum.add(sum);
        let has_series = reported.labels.as_ref().is_some_and(|labels| series.own.contains_key(labels));
        if !has_series {
            let has_risen = reported.sum.packets > before;
            reported.labels = if has_risen { series.open(labels(), *now) } else { None };
        }
    }

    /// Adds the increase since the last reading, and lets series expire that have not risen for long.
    pub(crate) fn finish(self) {
        let Self { series, now, reported } = self;
        for (key, Reported { labels, sum, .. }) in &reported {
            let before = series.reported.get(key).map_or(Sum::NOTHING, |reported| reported.sum);
            series.rise(labels.as_deref(), sum.since(before), now);
        }
        series.reported = reported;
        series.expire(now);
    }
}

#[cfg(test)]
mod tests;
