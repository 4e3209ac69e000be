//! Observations that wait for the other source's observation: a slab whose entries are linked in two lists.
//!
//! One list holds all entries in order of arrival. The other list holds the entries that look alike, also in order of
//! arrival; a hash table has its head. So the oldest of all entries is also the oldest of those that look like it, and
//! each entry that leaves is a head. All entries that look alike came from one source: the other source's observations
//! would have been joined with them.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::Moment;
use super::fingerprint::Fingerprint;
use super::heads::{Heads, Position};
use super::observation::SharedFacts;
use crate::domain::event::Origin;

/// A link to no entry.
const NONE: u32 = u32::MAX;

/// Largest number of entries that links and hashes can address.
const MAX_ENTRIES: usize = 1 << 31;

/// Number of entries of the first allocation.
const FIRST: usize = 64;

/// An observation that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting<T> {
    pub(super) origin: Origin,
    pub(super) drop: SharedFacts,
    pub(super) print: Fingerprint,
    pub(super) arrived: Moment,
    pub(super) detail: T,
}

/// The facts that all observations of one drop have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) print: Fingerprint,
    pub(super) pc: u64,
    pub(super) reason: u32,
    pub(super) length: u32,
}

impl<T> Waiting<T> {
    pub(super) fn identity(&self) -> Identity {
        Identity { print: self.print, pc: self.drop.pc, reason: self.drop.reason, length: self.drop.length }
    }
}

#[derive(Debug)]
struct Entry<T> {
    waiting: Waiting<T>,
    /// The next entry that looks alike; for a free entry, the next free one.
    next: u32,
    /// For a head: the last entry that looks alike.
    last: u32,
    /// The next older entry in order of arrival; `newer` is the next newer one.
    older: u32,
    newer: u32,
}

/// The head of a list of entries that look alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    position: Position,
    index: u32,
}

/// All observations that wait, at most `max`.
#[derive(Debug)]
pub(super) struct WaitingRoom<T> {
    max: usize,
    entries: Vec<Entry<T>>,
    free: u32,
    heads: Heads,
    hashing: RandomState,
    oldest: u32,
    newest: u32,
    len: usize,
}

impl<T: Copy> WaitingRoom<T> {
    /// Makes room for `max` entries, 1 to [`MAX_ENTRIES`].
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: max.clamp(1, MAX_ENTRIES),
            entries: Vec::new(),
            free: NONE,
            heads: Heads::default(),
            hashing: RandomState::default(),
            oldest: NONE,
            newest: NONE,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= self.max
    }

    /// Bytes allocated now.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<T>>() + self.heads.bytes()
    }

    /// Upper bound of [`WaitingRoom::bytes`].
    pub(super) const fn max_bytes(max: usize) -> usize {
        max * size_of::<Entry<T>>() + Heads::max_bytes(max)
    }

    /// Hash of the list of entries that look like `identity`.
    pub(super) fn hash(&self, identity: &Identity) -> u32 {
        // Either half of the hash will do.
        (self.hashing.hash_one(identity) >> 32) as u32
    }

    /// Finds the head of the entries that look like `identity`, whose hash is `hash`.
    pub(super) fn head(&self, hash: u32, identity: &Identity) -> Option<(Head, &Waiting<T>)> {
        let is_it = |head: u32| self.entries[head as usize].waiting.identity() == *identity;
        let (position, index) = self.heads.find(hash, is_it)?;
        Some((Head { position, index }, &self.entries[index as usize].waiting))
    }

    /// Adds `waiting`, behind `head` if other entries look like it. The caller makes sure that there is room.
    pub(super) fn push(&mut self, hash: u32, head: Option<Head>, waiting: Waiting<T>) {
        let index = self.allocate(Entry { waiting, next: NONE, last: NONE, older: self.newest, newer: NONE });
        match self.newest {
            NONE => self.oldest = index,
            newest => self.entries[newest as usize].newer = index,
        }
        self.newest = index;
        self.len += 1;
        if let Some(head) = head {
            let last = self.entries[head.index as usize].last;
            self.entries[last as usize].next = index;
            self.entries[head.index as usize].last = index;
        } else {
            self.entries[index as usize].last = index;
            self.heads.insert(hash, index);
        }
    }

    /// The entry that has waited longest.
    pub(super) fn oldest(&self) -> Option<&Waiting<T>> {
        self.entries.get(self.oldest as usize).map(|entry| &entry.waiting)
    }

    /// Removes the entry that has waited longest.
    pub(super) fn take_oldest(&mut self) -> Option<Waiting<T>> {
        let hash = self.hash(&self.oldest()?.identity());
        let (position, index) = self.heads.find(hash, |head| head == self.oldest)?;
        Some(self.take(Head { position, index }))
    }

    /// Removes `head`, which the caller found since the last change.
    pub(super) fn take(&mut self, head: Head) -> Waiting<T> {
        let index = head.index;
        let Entry { waiting, next, last, older, newer } = self.entries[index as usize];
        if next == NONE {
            self.heads.remove(head.position);
        } else {
            self.heads.replace(head.position, next);
            self.entries[next as usize].last = last;
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        self.entries[index as usize].next = self.free;
        self.free = index;
        self.len -= 1;
        waiting
    }

    fn allocate(&mut self, entry: Entry<T>) -> u32 {
        if self.free != NONE {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            return index;
        }
        if self.entries.len() == self.entries.capacity() {
            // The slab doubles, but never grows beyond the bound.
            let more = self.entries.len().max(FIRST).min(self.max - self.len);
            self.entries.reserve_exact(more);
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
    }
}
