//! Sums events by key.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::event::{DropEvent, NamedKey, Origin};
use crate::domain::total::{DropTotal, OverflowTotal};

/// Largest number of aggregation keys that are counted separately.
const MAX_KEYS: usize = 1 << 16;

/// Sums by key.
#[derive(Default)]
pub(crate) struct Tally {
    totals: HashMap<Arc<NamedKey>, DropTotal, RandomState>,
    /// Packets and bytes of the drops whose key found no room.
    beyond: (u64, u64),
}

impl Tally {
    /// Adds an event.
    pub(crate) fn add(&mut self, event: &DropEvent<'_>) {
        let bytes = u64::from(event.length);
        if let Some(total) = self.totals.get_mut(event.key) {
            total.packets += 1;
            total.bytes = total.bytes.map(|sum| sum.saturating_add(bytes));
            total.first_seen = total.first_seen.min(event.timestamp);
            total.last_seen = total.last_seen.max(event.timestamp);
            total.seen_by = Origin::united(total.seen_by, event.seen_by);
        } else if self.totals.len() < MAX_KEYS {
            let total = DropTotal {
                key: Arc::clone(event.key),
                packets: 1,
                bytes: event.key.kind.has_length().then_some(bytes),
                first_seen: event.timestamp,
                last_seen: event.timestamp,
                seen_by: Origin::united(&[], event.seen_by),
                more: 0,
            };
            self.totals.insert(Arc::clone(event.key), total);
        } else {
            self.beyond = (self.beyond.0 + 1, self.beyond.1.saturating_add(bytes));
        }
    }

    /// Returns the totals by key, and the totals of the drops that found no room.
    pub(crate) fn into_totals(self) -> (Vec<DropTotal>, Vec<OverflowTotal>) {
        let (packets, bytes) = self.beyond;
        let beyond = (packets > 0).then_some(OverflowTotal { reason: None, packets, bytes: Some(bytes) });
        (self.totals.into_values().collect(), beyond.into_iter().collect())
    }
}
