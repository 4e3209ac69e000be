//! Gives names to what the drop monitor tells: reasons have theirs already, namespaces are not told.

use std::sync::Arc;

use tracer_common::REASON_ABSENT;

use super::{MAX_PLACES, Normaliser, hardware};
use crate::backend::net_dm::{Cause, Heard, Key, Totals};
use crate::domain::event::{DropEvent, DropTotal, Kind, Origin, PacketStart, Place, Reason, Timestamp};
use crate::domain::facts::Facts;
use crate::domain::report::OverflowTotal;

impl Normaliser {
    /// Totals by place.
    pub fn told_totals(&mut self, totals: &Totals) -> Vec<DropTotal> {
        let named = totals.counts().iter().map(|(key, count)| DropTotal {
            place: self.told_place(*key, totals, None),
            packets: count.packets,
            bytes: count.bytes,
            first_seen: count.first_seen,
            last_seen: count.last_seen,
            seen_by: &[Origin::NetDm],
        });
        named.collect()
    }

    /// Totals of what only the cause is known of.
    pub fn told_overflow(&mut self, totals: &Totals) -> Vec<OverflowTotal> {
        let named = totals.overflow().iter().map(|(cause, count)| OverflowTotal {
            reason: (*cause != Cause::Untold).then(|| self.cause(*cause, totals)),
            packets: count.packets,
            bytes: count.bytes,
        });
        named.collect()
    }

    /// One drop, shown to `visit`.
    pub fn told_event<T>(&mut self, heard: &Heard<'_>, visit: impl FnOnce(&DropEvent<'_>) -> T) -> T {
        let place = self.told_place(heard.key, heard.totals, heard.alert.interface);
        visit(&DropEvent {
            timestamp: Timestamp(heard.alert.timestamp_ns),
            place: &place,
            seen_by: &[Origin::NetDm],
            length: heard.alert.length,
            start: PacketStart::Mac,
            bytes: heard.alert.payload,
            facts: Facts::default(),
        })
    }

    /// An index is one of a namespace that is not told: without a name from the monitor there is none.
    fn told_place(&mut self, key: Key, totals: &Totals, interface: Option<&str>) -> Arc<Place> {
        if let Some(place) = self.told.get(&key) {
            return Arc::clone(place);
        }
        let (kind, location) = match key.cause {
            Cause::Trap { group, .. } => (Kind::Hardware, hardware::location(group.map(|number| totals.name(number)))),
            _ => (Kind::Packet, self.symbols.resolve(key.pc)),
        };
        let place = Arc::new(Place {
            kind: Place::kind_of(kind, key.ifindex, &location),
            reason: self.cause(key.cause, totals),
            location,
            protocol: key.protocol,
            interface: interface.map(Arc::from),
            ifindex: key.ifindex,
            netns: 0,
            netns_cookie: 0,
            netns_name: None,
        });
        if self.told.len() >= MAX_PLACES {
            self.told.clear();
        }
        self.told.insert(key, Arc::clone(&place));
        place
    }

    fn cause(&mut self, cause: Cause, totals: &Totals) -> Arc<Reason> {
        match cause {
            Cause::Untold => self.reasons.resolve(REASON_ABSENT),
            Cause::Reason(number) => self.reasons.by_name(totals.name(number)),
            Cause::Trap { name, .. } => hardware::reason(totals.name(name)),
        }
    }
}
