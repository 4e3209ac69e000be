//! The slots of a CPU's counts: where a key may be stored, and how it is found there.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DropCount, DropKey};

/// Slots of the cache, and of each table. A power of two.
pub const CACHE_SLOTS: usize = 256;
/// The most tables of one generation. A power of two.
pub const MOST_TABLES: u32 = 32;
/// Slots of a set of a table. A power of two.
pub const WAYS: usize = 4;
/// Sets of a table.
const SETS: usize = CACHE_SLOTS / WAYS;

/// One slot, one cache line: owned by the first key that hashed to it in this generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct CacheSlot {
    /// Counts of `key` on this CPU; `packets` is 0 while the slot is free.
    pub count: DropCount,
    /// The owner.
    pub key: DropKey,
}

/// Slots of one CPU in one generation for keys whose cache slot belongs to another key, by [`table_of`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Table {
    /// In sets of [`WAYS`], filled one after the other.
    pub slots: [CacheSlot; CACHE_SLOTS],
}

/// The words of a key.
pub type KeyWords = [u64; size_of::<DropKey>() / size_of::<u64>()];

/// The slot of a key, of the `mask + 1` in use.
#[inline(always)]
#[must_use]
pub const fn slot_of(key: &KeyWords, mask: u32) -> usize {
    ((mixed(key) >> 56) & mask as u64) as usize
}

/// Where a key may be stored in the tables, of this number of tables, a power of two: the table, and the index of the
/// first slot of each of its sets there, in the order in which the kernel program looks. With one set for each key, a
/// fifth of as many keys as slots would find no room, and would be counted in the hash, which takes several times as
/// long.
#[inline(always)]
#[must_use]
pub const fn table_of(key: &KeyWords, tables: u32) -> (u32, [usize; 2]) {
    let mixed = mixed(key);
    let table = (mixed >> 46) as u32 & (tables - 1);
    (table, [(mixed >> 40) as usize % SETS * WAYS, (mixed >> 30) as usize % SETS * WAYS])
}

/// Fibonacci hashing: the upper bits of the product are well mixed.
#[inline(always)]
const fn mixed(key: &KeyWords) -> u64 {
    let [location, netns, cgroup, interface_and_reason, rest] = *key;
    let mixed = location ^ (netns << 16) ^ cgroup ^ (interface_and_reason << 8) ^ (rest << 24);
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

const _: () = {
    assert!(size_of::<CacheSlot>() == 64);
    assert!(size_of::<Table>() == CACHE_SLOTS * 64);
    assert!(MOST_TABLES <= u64::BITS);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_slot() {
        let key = DropKey { location: u64::MAX, netns: u64::MAX, ifindex: 1, reason: u32::MAX, ..DropKey::default() };
        let slot = |key: DropKey, mask| slot_of(&zerocopy::transmute!(key), mask);
        assert!(slot(key, 255) < CACHE_SLOTS);
        assert!(slot(key, 15) < 16);
        assert_ne!(slot(DropKey { ifindex: 2, ..key }, 255), slot(key, 255));
    }

    #[test]
    fn keys_spread_over_the_tables() {
        let mut used = [[false; CACHE_SLOTS]; MOST_TABLES as usize];
        let mut beyond = 0;
        for protocol in 0..8192 {
            let key =
                DropKey { location: 0xffff_ffff_8123_4567, netns: 77, ifindex: 3, protocol, ..DropKey::default() };
            let (table, sets) = table_of(&zerocopy::transmute!(key), MOST_TABLES);
            let mut slots = sets.into_iter().flat_map(|set| set..set + WAYS);
            let free = slots.find(|slot| !used[table as usize][*slot]);
            free.map_or_else(|| beyond += 1, |slot| used[table as usize][slot] = true);
        }
        assert!(beyond < 8192 / 12, "{beyond} of as many keys as slots find none");
    }
}
