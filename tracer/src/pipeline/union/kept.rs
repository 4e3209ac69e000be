//! Events that wait for the other source. Allocated memory is used again.

use std::sync::Arc;

use crate::domain::event::{DropEvent, Location, NamedKey, PacketStart};
use crate::domain::facts::Facts;
use crate::domain::owner::Process;
use crate::pipeline::dedupe::UniqueDrop;

/// Index of an event that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// One event that waits.
struct Entry {
    key: Arc<NamedKey>,
    start: PacketStart,
    captured: usize,
    facts: Facts,
    process: Option<Arc<Process>>,
    stack: Box<[Arc<Location>]>,
}

/// All events that wait, each with room for the same number of bytes.
pub(super) struct Kept {
    entries: Vec<Option<Entry>>,
    bytes: Vec<u8>,
    room: usize,
    free: Vec<Slot>,
}

impl Kept {
    /// Makes room for `room` leading bytes of each packet.
    pub(super) const fn new(room: usize) -> Self {
        Self { entries: Vec::new(), bytes: Vec::new(), room, free: Vec::new() }
    }

    pub(super) fn keep(&mut self, event: &DropEvent<'_>) -> Slot {
        let captured = event.bytes.len().min(self.room);
        let DropEvent { start, facts, .. } = *event;
        let (key, process) = (Arc::clone(event.key), event.process.cloned());
        let entry = Entry { key, start, captured, facts, process, stack: event.stack.into() };
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        let index = slot.0 as usize;
        self.entries[index] = Some(entry);
        self.bytes[index * self.room..][..captured].copy_from_slice(&event.bytes[..captured]);
        slot
    }

    /// The event of `best`, with the bytes of the source that captured more, and the call stack of the one that has it.
    pub(super) fn event(&self, drop: &UniqueDrop<Slot>, best: Slot, other: Option<Slot>) -> Option<DropEvent<'_>> {
        let (entry, mut start, mut bytes) = self.get(best)?;
        // Both captures begin at the MAC header, or the deduper would not have joined them.
        let mut stack = &*entry.stack;
        if let Some((other, other_start, more)) = other.and_then(|slot| self.get(slot)) {
            if more.len() > bytes.len() {
                (start, bytes) = (other_start, more);
            }
            if stack.is_empty() {
                stack = &other.stack;
            }
        }
        Some(DropEvent {
            timestamp: drop.drop.timestamp,
            key: &entry.key,
            seen_by: drop.seen_by.origins(),
            length: drop.drop.length,
            start,
            bytes,
            facts: entry.facts,
            process: entry.process.as_ref(),
            stack,
        })
    }

    pub(super) fn free(&mut self, slot: Slot) {
        if self.entries[slot.0 as usize].take().is_some() {
            self.free.push(slot);
        }
    }

    fn get(&self, slot: Slot) -> Option<(&Entry, PacketStart, &[u8])> {
        let index = slot.0 as usize;
        let entry = self.entries.get(index)?.as_ref()?;
        Some((entry, entry.start, &self.bytes[index * self.room..][..entry.captured]))
    }

    /// There are at most as many slots as the deduper lets wait, and the arriving one: below 2³².
    fn grow(&mut self) -> Slot {
        let slot = Slot(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.push(None);
        self.bytes.resize(self.entries.len() * self.room, 0);
        slot
    }
}
