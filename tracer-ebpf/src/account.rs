//! The accounting plane: every drop is counted, in the first of three places that has room: the slot of the cache,
//! the hash, the overflow by reason.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use tracer_common::{CacheSlot, DropCount, DropFacts, DropKey, OVERFLOW_SLOTS, PlaceNames, overflow_slot, slot_of};

use crate::config::config;
use crate::guard::Held;
use crate::maps::{DROPS_0, DROPS_1, OVERFLOW, PLACES_0, PLACES_1};
use crate::memory::Memory;
use crate::skb::interface_name;

/// Now, in ticks of the kernel's timer. The verifier makes a plain load of it.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_jiffies64() }
}

/// What became of a drop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It was added to a count.
    Added,
    /// It is the first one of its key, on this CPU or on all.
    First,
    /// There was no room.
    Overflow,
}

/// Counts `dropped`, and keeps the names that belong to a new key. `skb` is the packet, or NULL where there is none.
#[inline(always)]
pub(crate) fn count<M: Memory>(held: &Held, skb: *const u8, dropped: &DropFacts) -> Counted {
    let counted = add_up(held, dropped);
    // At one place, so that the verifier walks the kernel's lists once.
    if counted == Counted::First {
        remember::<M>(held, skb, dropped);
    }
    counted
}

#[inline(always)]
fn add_up(held: &Held, dropped: &DropFacts) -> Counted {
    let now = ticks();
    // SAFETY: all elements are this CPU's own; `slot_of` is less than the number of slots.
    unsafe {
        (*held.counts).counters.ticks = now;
        let slots = (&raw mut (*held.counts).slots).cast::<CacheSlot>();
        let slot = slots.add(slot_of(&dropped.key, config!(cache_mask)));
        if (*slot).count.packets == 0 {
            (*slot).key = dropped.key;
            (*slot).count = first(dropped.length, now);
            return Counted::First;
        }
        if are_same(&raw const (*slot).key, &raw const dropped.key) {
            add(&raw mut (*slot).count, dropped.length, now);
            return Counted::Added;
        }
        count_in_hash(held, dropped, now)
    }
}

/// Takes back one drop without bytes that was counted by `key` on this CPU, in this generation or the one before. A count
/// then can be less than 0 in one generation: sums over generations wrap. False where there is no room.
///
/// # Safety
/// All elements are this CPU's own.
#[inline(never)]
pub(crate) unsafe fn take_back(held: &Held, key: &DropKey) -> bool {
    let now = ticks();
    // SAFETY: the caller's; `slot_of` is less than the number of slots.
    unsafe {
        let slots = (&raw mut (*held.counts).slots).cast::<CacheSlot>();
        let slot = slots.add(slot_of(key, config!(cache_mask)));
        if (*slot).count.packets == 0 {
            (*slot).key = *key;
            (*slot).count = less_one(now);
            return true;
        }
        if are_same(&raw const (*slot).key, key) {
            (*slot).count.packets = (*slot).count.packets.wrapping_sub(1);
            return true;
        }
        let drops = if held.generation == 0 { &DROPS_0 } else { &DROPS_1 };
        if let Some(count) = drops.get_ptr_mut(*key) {
            (*count).packets = (*count).packets.wrapping_sub(1);
            return true;
        }
        drops.insert(*key, less_one(now), BPF_NOEXIST.into()).is_ok()
    }
}

/// A count that takes one back from an earlier generation.
#[inline(always)]
fn less_one(now: u64) -> DropCount {
    DropCount { packets: u64::MAX, ..first(0, now) }
}

/// The counts of a first drop.
#[inline(always)]
fn first(length: u32, now: u64) -> DropCount {
    DropCount { packets: 1, bytes: u64::from(length), first_ticks: now as u32, last_ticks: now as u32 }
}

/// # Safety
/// `count` must be of this CPU.
#[inline(always)]
unsafe fn add(count: *mut DropCount, length: u32, now: u64) {
    // SAFETY: the caller's.
    unsafe {
        (*count).packets += 1;
        (*count).bytes += u64::from(length);
        (*count).last_ticks = now as u32;
    }
}

/// As [`add`], for counts that may still be zeros.
///
/// # Safety
/// `count` must be of this CPU.
#[inline(always)]
unsafe fn add_or_start(count: *mut DropCount, length: u32, now: u64) {
    // SAFETY: the caller's.
    unsafe { if (*count).packets == 0 { *count = first(length, now) } else { add(count, length, now) } }
}

/// Compares two keys a word at a time: a comparison field by field calls a function for the padding.
///
/// # Safety
/// Both must be valid.
#[inline(always)]
unsafe fn are_same(one: *const DropKey, other: *const DropKey) -> bool {
    const WORDS: usize = size_of::<DropKey>() / size_of::<u64>();
    // SAFETY: the caller's; a key is whole words, aligned as such, without holes.
    let (one, other) = unsafe { (&*one.cast::<[u64; WORDS]>(), &*other.cast::<[u64; WORDS]>()) };
    let mut differ = 0;
    for word in 0..WORDS {
        differ |= one[word] ^ other[word];
    }
    differ == 0
}

/// As [`add_up`], where the slot belongs to another key.
///
/// # Safety
/// Only that of the map's pointer, which is this CPU's own.
#[inline(always)]
unsafe fn count_in_hash(held: &Held, dropped: &DropFacts, now: u64) -> Counted {
    let drops = if held.generation == 0 { &DROPS_0 } else { &DROPS_1 };
    if let Some(count) = drops.get_ptr_mut(dropped.key) {
        // SAFETY: the element is this CPU's own.
        unsafe { add_or_start(count, dropped.length, now) };
        return Counted::Added;
    }
    if drops.insert(dropped.key, first(dropped.length, now), BPF_NOEXIST.into()).is_ok() {
        return Counted::First;
    }
    // Another CPU may have been first; this CPU's counts are zeros then.
    if let Some(count) = drops.get_ptr_mut(dropped.key) {
        // SAFETY: the element is this CPU's own.
        unsafe { add_or_start(count, dropped.length, now) };
        return Counted::Added;
    }
    count_overflow(held, dropped);
    Counted::Overflow
}

#[inline(always)]
fn count_overflow(held: &Held, dropped: &DropFacts) {
    // SAFETY: all elements are this CPU's own.
    unsafe {
        (*held.counts).counters.overflow += 1;
        let slot = held.generation * OVERFLOW_SLOTS + overflow_slot(dropped.key.overflow_reason());
        if let Some(count) = OVERFLOW.get_ptr_mut(slot) {
            (*count).packets += 1;
            (*count).bytes += u64::from(dropped.length);
        }
    }
}

/// Keeps the names that belong to a new key. No room: they are unknown, the count is not touched.
#[inline(always)]
fn remember<M: Memory>(held: &Held, skb: *const u8, dropped: &DropFacts) {
    // SAFETY: the packet is the one of `dropped`.
    let interface = unsafe { interface_name::<M>(skb, dropped) };
    let names = PlaceNames { interface, netns_inum: dropped.netns_inum, padding: 0 };
    let places = if held.generation == 0 { &PLACES_0 } else { &PLACES_1 };
    // The first CPU's drop of the key decides.
    let _ = places.insert(dropped.key, names, BPF_NOEXIST.into());
}
