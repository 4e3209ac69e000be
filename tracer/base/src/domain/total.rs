//! Sums of drops by key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::event::{NamedKey, Origin, Reason, Timestamp};

/// Drops of one key, summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total<K> {
    /// The aggregation key.
    pub key: K,
    /// Number of drops.
    pub packets: u64,
    /// Bytes of the packets, counted from the MAC header where it is set; absent where a backend does not report them.
    pub bytes: Option<u64>,
    /// Time of the first drop.
    pub first_seen: Timestamp,
    /// Time of the last drop.
    pub last_seen: Timestamp,
    /// The backends that saw the drops; none where the kernel's own counters report them.
    pub seen_by: &'static [Origin],
    /// How many drops more may belong to a flow; 0 if its packets are exact. Of the row of other flows: how many of its
    /// drops one flow without a row may have.
    pub more: u64,
}

/// Drops by all dimensions.
pub type DropTotal = Total<Arc<NamedKey>>;

/// Drops of one reason whose aggregation key found no room in the kernel's map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverflowTotal {
    /// The drop reason; `None` for reasons beyond those that the overflow map has room for.
    pub reason: Option<Arc<Reason>>,
    /// Number of drops.
    pub packets: u64,
    /// Bytes of the drops; `None` if the backend does not report them.
    pub bytes: Option<u64>,
}

impl<K> Total<K> {
    /// Adds other drops.
    pub fn add<L>(&mut self, other: &Total<L>) {
        self.packets += other.packets;
        self.bytes = self.bytes.zip(other.bytes).map(|(bytes, more)| bytes + more);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.seen_by = Origin::united(self.seen_by, other.seen_by);
        self.more += other.more;
    }

    /// The same sums under another key.
    pub fn with_key<L>(&self, key: L) -> Total<L> {
        let Self { packets, bytes, first_seen, last_seen, seen_by, more, .. } = *self;
        Total { key, packets, bytes, first_seen, last_seen, seen_by, more }
    }
}

impl DropTotal {
    /// The greatest number of drops that the row may have; absent for the row of other flows, whose drops are those of flows
    /// with rows as well.
    pub fn at_most(&self) -> Option<u64> {
        let is_others = self.key.flow.as_ref().is_some_and(|flow| flow.is_others);
        (!is_others).then(|| self.packets.saturating_add(self.more))
    }
}

/// Sums totals by another key, in the order in which the keys are first seen. The sum of all packets stays the same.
pub fn group<'t, K: 't, L: Clone + Eq + Hash>(
    totals: impl IntoIterator<Item = &'t Total<K>>,
    key_of: impl Fn(&K) -> L,
) -> Vec<Total<L>> {
    let mut groups: Vec<Total<L>> = Vec::new();
    let mut positions: HashMap<L, usize, RandomState> = HashMap::default();
    for total in totals {
        let key = key_of(&total.key);
        if let Some(at) = positions.get(&key) {
            groups[*at].add(total);
        } else {
            positions.insert(key.clone(), groups.len());
            groups.push(total.with_key(key));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(key: u32, packets: u64, bytes: Option<u64>, at: u64, seen_by: &'static [Origin]) -> Total<u32> {
        Total { key, packets, bytes, first_seen: Timestamp(at), last_seen: Timestamp(at), seen_by, more: packets }
    }

    #[test]
    fn groups_keep_the_sum_and_the_times() {
        let totals = [
            total(11, 2, Some(20), 5, Origin::Ebpf.alone()),
            total(20, 1, Some(10), 1, Origin::Ebpf.alone()),
            total(13, 4, Some(40), 3, Origin::NetDm.alone()),
            total(24, 8, None, 9, &[]),
        ];
        let groups = group(&totals, |key| key / 10);
        let expected = [
            Total { first_seen: Timestamp(3), ..total(1, 6, Some(60), 5, &Origin::ALL) },
            Total { first_seen: Timestamp(1), ..total(2, 9, None, 9, Origin::Ebpf.alone()) },
        ];
        assert_eq!(groups, expected, "bytes of some rows are not the bytes of all");
    }
}
