//! The marked packets of which the fate is not known yet.

use std::collections::HashMap;

use super::trace::Packet;

/// The most packets that are remembered. The way of a packet through the rules takes microseconds, unless it is queued.
const ROOM: usize = 16_384;

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// It was marked, and matches.
    Packet(Packet),
    /// It was marked, and does not match.
    Filtered,
    /// It was marked, and is a fragment that may be reassembled: then the whole packet has its number.
    Fragment(Packet),
}

/// A marked packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkedPacket {
    pub(super) known: Known,
    /// The number of changes of tables before the mark.
    pub(super) at: u32,
}

/// Marked packets by the kernel's number. The oldest makes room.
pub(super) struct Pending {
    slots: Vec<(u32, MarkedPacket)>,
    by_id: HashMap<u32, usize>,
    next: usize,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { slots: Vec::with_capacity(ROOM), by_id: HashMap::with_capacity(ROOM), next: 0 }
    }

    /// Remembers a packet, in the place of an earlier one with the same number.
    pub(super) fn insert(&mut self, id: u32, packet: MarkedPacket) {
        if let Some(slot) = self.by_id.get(&id) {
            self.slots[*slot] = (id, packet);
        } else if self.slots.len() < ROOM {
            self.by_id.insert(id, self.slots.len());
            self.slots.push((id, packet));
        } else {
            let oldest = self.slots[self.next].0;
            if self.by_id.get(&oldest) == Some(&self.next) {
                self.by_id.remove(&oldest);
            }
            self.slots[self.next] = (id, packet);
            self.by_id.insert(id, self.next);
            self.next = (self.next + 1) % ROOM;
        }
    }

    /// The packet with this number; `None` for one that is not known.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut MarkedPacket> {
        self.by_id.get(&id).map(|slot| &mut self.slots[*slot].1)
    }

    /// Takes out a packet.
    pub(super) fn take(&mut self, id: u32) -> Option<MarkedPacket> {
        self.by_id.remove(&id).map(|slot| self.slots[slot].1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::{of_rule, parsed};
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_no_packet_is_taken_twice() {
        let payload = of_rule("filter", 7, 5, 0);
        let known = Known::Packet(parsed(&payload).unwrap().unwrap().packet());
        let packet = MarkedPacket { known, at: 0 };
        let mut pending = Pending::new();
        let room = u32::try_from(ROOM).unwrap();
        (0..room).for_each(|id| pending.insert(id, packet));
        pending.insert(5, MarkedPacket { known: Known::Filtered, at: 0 });
        let is_known = |id, pending: &mut Pending| pending.take(id).is_some();
        assert!(is_known(7, &mut pending) && !is_known(7, &mut pending));
        pending.insert(room, packet);
        assert!(!is_known(0, &mut pending) && is_known(1, &mut pending));
        assert!(matches!(pending.take(5), Some(MarkedPacket { known: Known::Filtered, .. })));
        (room..3 * room).for_each(|id| pending.insert(id, packet));
        assert!(!is_known(2, &mut pending) && is_known(3 * room - 1, &mut pending));
        assert!(pending.slots.len() == ROOM && pending.by_id.len() <= ROOM);
    }
}
