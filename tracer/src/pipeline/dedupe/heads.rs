//! A hash table of numbers. The table does not store the keys; the caller compares them.
//!
//! The table uses open addressing by linear probing, and is at most half full. A slot holds the hash beside the number
//! in one word: a look-up touches one cache line, where `hashbrown` touches two, and growing the table touches no key.
//! A removed entry leaves no mark, so any number of entries may come and go without a clean-up or growth of the table.

/// The upper half is the hash, the lower half the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u64);

/// An empty slot. No number is `u32::MAX`.
const EMPTY: Slot = Slot(u64::MAX);

/// Number of slots of the first allocation.
const FIRST: usize = 16;

impl Slot {
    const fn new(hash: u32, number: u32) -> Self {
        Self((hash as u64) << 32 | number as u64)
    }

    const fn hash(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    const fn number(self) -> u32 {
        self.0 as u32
    }
}

/// Index of a number's slot, valid until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position(usize);

/// The hash table. Numbers are below `u32::MAX`, and the table holds at most 2³¹ of them.
#[derive(Debug, Default)]
pub(super) struct Heads {
    slots: Vec<Slot>,
    len: usize,
}

impl Heads {
    /// Bytes allocated now.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Upper bound of [`Heads::bytes`] with `max` numbers.
    pub(super) const fn max_bytes(max: usize) -> usize {
        let slots = (max * 2).next_power_of_two();
        size_of::<Slot>() * if slots < FIRST { FIRST } else { slots }
    }

    /// Finds the number with `hash` that `is_it` accepts.
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<(Position, u32)> {
        let mut at = self.home(hash)?;
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return None;
            }
            if slot.hash() == hash && is_it(slot.number()) {
                return Some((Position(at), slot.number()));
            }
            at = self.after(at);
        }
    }

    /// Inserts a number whose key is not in the table.
    pub(super) fn insert(&mut self, hash: u32, number: u32) {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.put(Slot::new(hash, number));
        self.len += 1;
    }

    /// Replaces a number with another number of the same key.
    pub(super) fn replace(&mut self, position: Position, number: u32) {
        let slot = &mut self.slots[position.0];
        *slot = Slot::new(slot.hash(), number);
    }

    /// Removes a number, and moves the numbers behind it that it kept from their slots.
    pub(super) fn remove(&mut self, position: Position) {
        let (mut gap, mut at) = (position.0, position.0);
        loop {
            at = self.after(at);
            let slot = self.slots[at];
            if slot == EMPTY {
                break;
            }
            let Some(home) = self.home(slot.hash()) else { break };
            if self.distance(home, at) >= self.distance(gap, at) {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = EMPTY;
        self.len -= 1;
    }

    fn grow(&mut self) {
        let slots = vec![EMPTY; (self.slots.len() * 2).max(FIRST)];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot != EMPTY {
                self.put(slot);
            }
        }
    }

    fn put(&mut self, slot: Slot) {
        let Some(mut at) = self.home(slot.hash()) else { return };
        while self.slots[at] != EMPTY {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    /// Slot of a number of `hash` in an empty table; absent while there are no slots.
    fn home(&self, hash: u32) -> Option<usize> {
        Some(hash as usize & self.slots.len().checked_sub(1)?)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The table behaves as a map does, even when hashes collide or wrap around the end.
        #[test]
        fn numbers_come_and_go_as_in_a_map(steps in vec((0..60_u32, any::<bool>()), 0..400), hashes in 1..20_u32) {
            let mut heads = Heads::default();
            // A key is its number modulo 1000; `replace` adds 1000.
            let mut model: HashMap<u32, u32> = HashMap::new();
            let hash = |key: u32| (key % hashes).wrapping_sub(4);
            for (key, insert) in steps {
                let found = heads.find(hash(key), |number| number % 1000 == key);
                prop_assert_eq!(found.map(|(_, number)| number), model.get(&key).copied());
                match (found, insert) {
                    (None, true) => {
                        heads.insert(hash(key), key);
                        model.insert(key, key);
                    }
                    (Some((position, number)), true) => {
                        heads.replace(position, number + 1000);
                        model.insert(key, number + 1000);
                    }
                    (Some((position, _)), false) => {
                        heads.remove(position);
                        model.remove(&key);
                    }
                    (None, false) => {}
                }
                prop_assert_eq!(heads.len, model.len());
                prop_assert!(heads.bytes() <= Heads::max_bytes(60));
                for (key, number) in &model {
                    let found = heads.find(hash(*key), |number| number % 1000 == *key);
                    prop_assert_eq!(found.map(|(_, number)| number), Some(*number));
                }
            }
        }
    }
}
