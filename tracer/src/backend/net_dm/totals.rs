//! Counts drops by key. The drop monitor keeps no such counts, so they are made from its alerts.

use std::collections::HashMap;

use super::message::PacketAlert;
use crate::domain::event::Timestamp;

/// Cause of a drop as the drop monitor reports it. Numbers are those of [`Totals::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No cause is reported: in summary mode, and by kernels before about 5.18.
    Absent,
    /// A name of the kernel's drop reasons.
    Reason(u32),
    /// A devlink trap.
    Trap {
        /// Number of the trap's name.
        name: u32,
        /// Number of the trap group's name; absent in summary mode, which does not report it.
        group: Option<u32>,
    },
}

/// Aggregation key of drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Address that the freeing call returns to; 0 for hardware drops.
    pub pc: u64,
    /// Cause of the drop.
    pub cause: Cause,
    /// Index of the interface where the packet came in, in a namespace that is not reported; 0 for none.
    pub ifindex: u32,
    /// `EtherType`; 0 where it is not reported.
    pub protocol: u16,
}

/// Drops of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Drops.
    pub packets: u64,
    /// Bytes of the packets; absent in summary mode.
    pub bytes: Option<u64>,
    /// Time of the first drop: in summary mode the time of the alert, about a second later.
    pub first_seen: Timestamp,
    /// Time of the last drop, likewise.
    pub last_seen: Timestamp,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes = self.bytes.zip(other.bytes).map(|(one, two)| one + two);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
    }
}

/// Drops of a cause whose aggregation keys found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Drops.
    pub packets: u64,
    /// Bytes of the packets; absent in summary mode.
    pub bytes: Option<u64>,
}

/// Counts since the start.
#[derive(Clone, Debug)]
pub struct Totals {
    counts: HashMap<Key, Count>,
    overflow: HashMap<Cause, Overflow>,
    max_keys: usize,
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

/// Largest number of names, which no kernel exceeds; further names count as absent.
const MAX_NAMES: usize = 4096;

impl Totals {
    /// Makes room for `max_keys`; drops of further keys are counted by cause.
    pub(super) fn new(max_keys: usize) -> Self {
        let (counts, overflow, numbers) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { counts, overflow, max_keys, names: Vec::new(), numbers }
    }

    /// Counts by key.
    pub const fn counts(&self) -> &HashMap<Key, Count> {
        &self.counts
    }

    /// Counts by cause, of the drops whose key found no room.
    pub const fn overflow(&self) -> &HashMap<Cause, Overflow> {
        &self.overflow
    }

    /// The name of a cause.
    pub fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }

    /// The key of a packet. Allocates for a name that is new.
    pub(super) fn key(&mut self, alert: &PacketAlert<'_>) -> Key {
        let cause = match (alert.trap, alert.reason) {
            (Some(trap), _) => self.trap(trap, alert.trap_group),
            (None, Some(reason)) => self.number(reason).map_or(Cause::Absent, Cause::Reason),
            (None, None) => Cause::Absent,
        };
        Key { pc: alert.pc, cause, ifindex: alert.ifindex, protocol: alert.protocol.unwrap_or_default() }
    }

    pub(super) fn trap(&mut self, name: &str, group: Option<&str>) -> Cause {
        let group = group.and_then(|group| self.number(group));
        self.number(name).map_or(Cause::Absent, |name| Cause::Trap { name, group })
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok().filter(|_| self.names.len() < MAX_NAMES)?;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Some(number)
    }

    /// Counts drops. Returns whether their key had room.
    pub(super) fn add(&mut self, key: Key, count: &Count) -> bool {
        if let Some(sum) = self.counts.get_mut(&key) {
            sum.add(count);
            return true;
        }
        if self.counts.len() < self.max_keys {
            self.counts.insert(key, *count);
            return true;
        }
        let sum = self.overflow.entry(key.cause).or_insert(Overflow { packets: 0, bytes: Some(0) });
        sum.packets += count.packets;
        sum.bytes = sum.bytes.zip(count.bytes).map(|(one, two)| one + two);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(packets: u64, bytes: Option<u64>, seen: u64) -> Count {
        Count { packets, bytes, first_seen: Timestamp(seen), last_seen: Timestamp(seen) }
    }

    #[test]
    fn drops_of_a_key_are_summed_up() {
        let mut totals = Totals::new(8);
        let alert = PacketAlert { pc: 7, reason: Some("NO_SOCKET"), protocol: Some(0x800), ..PacketAlert::default() };
        let key = totals.key(&alert);
        assert_eq!(totals.key(&alert), key);
        assert!(totals.add(key, &count(1, Some(60), 5)) && totals.add(key, &count(2, Some(40), 3)));
        let expected = Count { packets: 3, bytes: Some(100), first_seen: Timestamp(3), last_seen: Timestamp(5) };
        assert_eq!(totals.counts()[&key], expected);
        totals.add(key, &count(1, None, 9));
        assert_eq!(totals.counts()[&key].bytes, None, "bytes of some only are not the bytes of all");
        let Cause::Reason(number) = key.cause else { panic!("{key:?}") };
        assert_eq!(totals.name(number), "NO_SOCKET");
    }

    #[test]
    fn what_finds_no_room_is_counted_by_cause() {
        let mut totals = Totals::new(2);
        for pc in 0..5 {
            let reason = if pc < 4 { "NO_SOCKET" } else { "TCP_FLAGS" };
            let key = totals.key(&PacketAlert { pc, reason: Some(reason), ..PacketAlert::default() });
            assert_eq!(totals.add(key, &count(10, Some(1), 0)), pc < 2);
        }
        assert_eq!(totals.counts().len(), 2);
        assert_eq!(totals.overflow()[&Cause::Reason(0)], Overflow { packets: 20, bytes: Some(2) });
        assert_eq!(totals.overflow()[&Cause::Reason(1)], Overflow { packets: 10, bytes: Some(1) });
    }

    #[test]
    fn names_are_bounded_and_traps_are_no_reasons() {
        let mut totals = Totals::new(1);
        let trap = |totals: &mut Totals, name| totals.trap(name, Some("l3_exceptions"));
        let first = trap(&mut totals, "ttl_value_is_too_small");
        assert_eq!(first, Cause::Trap { name: 1, group: Some(0) });
        for number in 2..MAX_NAMES {
            assert!(totals.number(&number.to_string()).is_some());
        }
        assert_eq!(trap(&mut totals, "one more"), Cause::Absent);
        assert_eq!(trap(&mut totals, "ttl_value_is_too_small"), first);
    }
}
