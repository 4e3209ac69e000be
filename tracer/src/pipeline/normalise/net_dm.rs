//! Gives names to the drop monitor's reports. Drop reasons come with their names, and the drop monitor reports no
//! namespaces.

use std::sync::Arc;

use tracer_common::REASON_ABSENT;

use super::{MAX_KEYS, Normaliser, hardware};
use crate::backend::net_dm::{Cause, Key, Report, Totals};
use crate::domain::event::{DropEvent, Kind, NamedKey, Origin, PacketStart, Reason};
use crate::domain::facts::Facts;
use crate::domain::total::{DropTotal, OverflowTotal};

/// Converts a report into an event. `named` comes from [`Normaliser::net_dm_key`].
pub(crate) fn net_dm_event<'e>(report: &Report, bytes: &'e [u8], named: &'e Arc<NamedKey>) -> DropEvent<'e> {
    DropEvent {
        stack: &[],
        process: None,
        timestamp: report.timestamp,
        key: named,
        seen_by: &[Origin::NetDm],
        length: report.length,
        start: PacketStart::Mac,
        bytes,
        facts: Facts::default(),
    }
}

impl Normaliser {
    /// Totals by named key.
    pub(crate) fn net_dm_totals(&mut self, totals: &Totals) -> Vec<DropTotal> {
        let named = totals.counts().iter().map(|(key, count)| DropTotal {
            key: self.net_dm_key(*key, totals, None),
            packets: count.packets,
            bytes: count.bytes,
            first_seen: count.first_seen,
            last_seen: count.last_seen,
            seen_by: &[Origin::NetDm],
            more: 0,
        });
        named.collect()
    }

    /// Totals of the drops of which only the cause is known.
    pub(crate) fn net_dm_overflow(&mut self, totals: &Totals) -> Vec<OverflowTotal> {
        let named = totals.overflow().iter().map(|(cause, count)| OverflowTotal {
            reason: (*cause != Cause::Absent).then(|| self.cause(*cause, totals)),
            packets: count.packets,
            bytes: count.bytes,
        });
        named.collect()
    }

    /// Resolves the names of the drop monitor's numbers. `totals` has the names of its causes. An interface index
    /// belongs to a namespace that the drop monitor does not report, so without a name there is no interface.
    pub(crate) fn net_dm_key(&mut self, key: Key, totals: &Totals, interface: Option<&str>) -> Arc<NamedKey> {
        if let Some(named) = self.net_dm_keys.get(&key) {
            return Arc::clone(named);
        }
        let (kind, location) = match key.cause {
            Cause::Trap { group, .. } => (Kind::Hardware, hardware::location(group.map(|number| totals.name(number)))),
            _ => (Kind::Packet, self.symbols.resolve(key.pc)),
        };
        let named = Arc::new(NamedKey {
            kind: NamedKey::kind_of(kind, key.ifindex, &location),
            reason: self.cause(key.cause, totals),
            location,
            protocol: key.protocol,
            interface: interface.map(Arc::from),
            ifindex: key.ifindex,
            ..NamedKey::default()
        });
        if self.net_dm_keys.len() >= MAX_KEYS {
            self.net_dm_keys.clear();
        }
        self.net_dm_keys.insert(key, Arc::clone(&named));
        named
    }

    fn cause(&mut self, cause: Cause, totals: &Totals) -> Arc<Reason> {
        match cause {
            Cause::Absent => self.reasons.resolve(REASON_ABSENT),
            Cause::Reason(number) => self.reasons.by_name(totals.name(number)),
            Cause::Trap { name, .. } => hardware::reason(totals.name(name)),
        }
    }
}
