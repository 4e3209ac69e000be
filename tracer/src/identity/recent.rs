//! A map with a bound, for the names of objects that come and go during a long run.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map that never has more than a given number of entries. When it is full, a new entry takes the place of the oldest
/// entry that nobody has looked up since the last time that an entry had to go.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// The same keys, in the order in which they are considered for removal.
    order: VecDeque<K>,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    was_used: bool,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// An empty map for at most `capacity` entries, and for one at least.
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), capacity: capacity.max(1) }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get_mut(key)?;
        entry.was_used = true;
        Some(&entry.value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            return;
        }
        while self.entries.len() >= self.capacity {
            self.remove_one();
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, Entry { value, was_used: false });
    }

    /// Adds an entry for a key that has none, unless an older entry would have to go.
    pub(super) fn insert_if_room(&mut self, key: K, make: impl FnOnce() -> V) {
        if self.entries.len() < self.capacity && !self.entries.contains_key(&key) {
            self.insert(key, make());
        }
    }

    /// Ends after two rounds at most, because the first one clears all marks.
    fn remove_one(&mut self) {
        while let Some(key) = self.order.pop_front() {
            match self.entries.get_mut(&key) {
                Some(entry) if entry.was_used => {
                    entry.was_used = false;
                    self.order.push_back(key);
                }
                _ => {
                    self.entries.remove(&key);
                    return;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_that_are_looked_up_stay() {
        let mut map = Recent::new(4);
        map.insert(0, 'a');
        for key in 1..100 {
            map.insert(key, 'b');
            assert_eq!(map.get(&0), Some(&'a'), "after {key}");
        }
        assert_eq!(map.get(&50), None);
    }

    #[test]
    fn full_map_keeps_its_entries_when_others_need_no_room() {
        let mut map = Recent::new(4);
        for key in 0..100 {
            map.insert_if_room(key, || key);
        }
        assert_eq!((0..100).filter(|key| map.get(key).is_some()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn map_has_no_more_entries_than_its_bound(
            keys in prop::collection::vec((0..40_u8, 0..3_u8), 0..200),
            capacity in 1..20_usize,
        ) {
            let mut map = Recent::new(capacity);
            for (key, action) in keys {
                match action {
                    0 => map.insert(key, key),
                    1 => map.insert_if_room(key, || key),
                    _ => _ = map.get(&key),
                }
                prop_assert!(map.len() <= capacity);
                if action == 0 {
                    prop_assert_eq!(map.get(&key), Some(&key));
                }
            }
        }
    }
}
