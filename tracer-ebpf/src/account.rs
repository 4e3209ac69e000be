//! Counting: every drop is counted in the first of four stores that has room: the slot of the cache, a slot of a table,
//! the hash, the overflow by reason.

use core::arch::asm;
use core::ptr::null_mut;

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::maps::{HashMap, PerCpuHashMap};
use tracer_common::{
    CacheSlot, DropCount, DropFacts, DropKey, IFNAMSIZ, KeyNames, KeyWords, NOTED_FILTERED, NOTED_UNDECIDED,
    OVERFLOW_SLOTS, SOCKET_RECEIVER, WAYS, XdpNote, overflow_slot, slot_of, table_of,
};

use crate::config::config;
use crate::guard::Held;
use crate::maps::{DROPS_0, DROPS_1, NAMES_0, NAMES_1, OVERFLOW, TABLES};
use crate::memory::Memory;
use crate::skb::interface_name;

/// The error of a map without room, `-E2BIG` (`kernel/bpf/hashtab.c`).
const NO_ROOM: i32 = -7;

/// The current time, in ticks of the kernel's timer. The verifier turns the call into a plain load.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_jiffies64() }
}

/// The result of counting a drop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The drop was added to a count.
    Added,
    /// The drop is the first one of its key, on this CPU or on all.
    First,
    /// There was no room.
    Overflow,
}

/// Counts the current drop, and keeps the names of a new key. `skb` is the packet, or NULL without one.
#[inline(always)]
pub(crate) fn count<M: Memory>(held: Held, skb: *const u8) -> Counted {
    let (now, dropped) = (ticks(), held.dropped());
    // SAFETY: all elements are this CPU's own; `slot_of` is less than the number of slots.
    unsafe {
        (*held.state).ticks = now;
        let key = words(&raw const dropped.key);
        let mut slot = slot(held, &key);
        if (*slot).count.packets == 0 || !is(&raw const (*slot).key, &key) {
            slot = slot_for(held, &key);
        }
        if !slot.is_null() && (*slot).count.packets != 0 {
            add(held, &raw mut (*slot).count, dropped.length, now);
            return Counted::Added;
        }
    }
    count_elsewhere::<M>(held, skb, now)
}

/// The slot of a key in the cache.
///
/// # Safety
/// That of the pointer: `slot_of` is less than the number of slots.
#[inline(always)]
unsafe fn slot(held: Held, key: &KeyWords) -> *mut CacheSlot {
    // SAFETY: the caller's.
    unsafe { (&raw mut (*held.counts).slots).cast::<CacheSlot>().add(slot_of(key, config!(cache_mask))) }
}

/// Returns the slot that a key has, or a free one that it may use; NULL if other keys have all of them.
///
/// # Safety
/// That of the pointers: `slot_of` and `table_of` are less than the numbers of slots.
#[inline(always)]
unsafe fn slot_for(held: Held, key: &KeyWords) -> *mut CacheSlot {
    // SAFETY: the caller's.
    unsafe {
        let slot = slot(held, key);
        if fits(slot, key) {
            return slot;
        }
        let tables = config!(tables);
        if tables == 0 {
            return null_mut();
        }
        let (table, [first, second]) = table_of(key, tables);
        let Some(slots) = TABLES.get_ptr_mut(held.generation() * tables + table) else { return null_mut() };
        (*held.counts).counters.tables |= 1 << table;
        let slots = (&raw mut (*slots).slots).cast::<CacheSlot>();
        let (first, second) = (settled(slots.add(first)), settled(slots.add(second)));
        let mut ways = (0..WAYS).map(|way| first.add(way)).chain((0..WAYS).map(|way| second.add(way)));
        ways.find(|slot| fits(*slot, key)).unwrap_or(null_mut())
    }
}

/// Returns the same pointer, computed here: the compiler could keep its parts and add them later, but the verifier of 5.10
/// forgets the limits of a number that is put on the stack.
#[inline(always)]
fn settled(slot: *mut CacheSlot) -> *mut CacheSlot {
    let mut address = slot as u64;
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(reg) address, options(nomem, nostack, preserves_flags)) };
    address as *mut CacheSlot
}

/// Returns whether a slot is free, or belongs to the key.
///
/// # Safety
/// It must be valid.
#[inline(always)]
unsafe fn fits(slot: *mut CacheSlot, key: &KeyWords) -> bool {
    // SAFETY: the caller's.
    unsafe { (*slot).count.packets == 0 || is(&raw const (*slot).key, key) }
}

/// Does the same as [`count`], if the slot does not have the key yet. This is a separate function, like all rare paths,
/// so that the common path does not pay for its stack and registers.
#[inline(never)]
fn count_elsewhere<M: Memory>(held: Held, skb: *const u8, now: u64) -> Counted {
    let dropped = held.dropped();
    let counted = count_by_key(held, &dropped.key, dropped.length, now);
    // The names are looked up at one position of the code, so that the verifier walks the kernel's lists once.
    if counted == Counted::First {
        remember::<M>(held, skb, dropped);
    }
    counted
}

/// Counts a frame that XDP dropped, which was noted.
///
/// # Safety
/// `note` must be this CPU's own.
#[inline(never)]
pub(crate) unsafe fn count_noted(held: Held, note: &XdpNote) {
    // SAFETY: all elements are this CPU's own.
    unsafe {
        let counters = &raw mut (*held.counts).counters;
        (*held.state).hits[held.generation() as usize] += 1;
        match note.verdict {
            NOTED_FILTERED => return (*counters).filtered += 1,
            NOTED_UNDECIDED => (*counters).unknown_netns += 1,
            _ => {}
        }
        (*held.state).ticks = ticks();
    }
    if count_by_key(held, &note.key, 0, note.ticks) == Counted::First {
        keep_names(held, &note.key, &note.names);
    }
}

/// Moves the current drop, the last one that was counted, from its key to that of the receiving socket, whose control group
/// is `cgroup_id`. Nothing changes where either key has no room.
///
/// # Safety
/// The current drop must have been counted by its key, in the generation of `held`, and no drop since.
#[inline(never)]
pub(crate) unsafe fn attribute(held: Held, cgroup_id: u64) {
    let dropped = held.dropped();
    // SAFETY: all elements are this CPU's own. While no drop is counted, a key is where it was.
    unsafe {
        let from = count_of(held, &dropped.key);
        let bytes = u64::from(dropped.length);
        if from.is_null() || (*from).packets == 0 || (*from).bytes < bytes {
            return;
        }
        let key = DropKey { cgroup_id, socket: SOCKET_RECEIVER, ..dropped.key };
        let counted = count_in_slot_or_hash(held, &key, dropped.length, (*held.state).ticks);
        if counted != Counted::Overflow {
            (*from).packets -= 1;
            (*from).bytes -= bytes;
        }
        if counted == Counted::First {
            share_names(held, &dropped.key, &key);
        }
    }
}

/// The counts of a key that was the last to be counted; NULL if they are not there.
///
/// # Safety
/// As [`slot_for`].
#[inline(always)]
unsafe fn count_of(held: Held, key: &DropKey) -> *mut DropCount {
    // SAFETY: the caller's.
    unsafe {
        let key_words = words(key);
        let slot = slot_for(held, &key_words);
        if slot.is_null() {
            return drops(held).get_ptr_mut(*key).unwrap_or_default();
        }
        if is(&raw const (*slot).key, &key_words) { &raw mut (*slot).count } else { null_mut() }
    }
}

/// Counts one drop by its key, or without room for the key, by its reason.
#[inline(always)]
fn count_by_key(held: Held, key: &DropKey, length: u32, now: u64) -> Counted {
    let counted = count_in_slot_or_hash(held, key, length, now);
    if counted == Counted::Overflow {
        count_overflow(held, key, length);
    }
    counted
}

/// Counts one drop by its key in the first store that has room, if there is one.
#[inline(never)]
fn count_in_slot_or_hash(held: Held, key: &DropKey, length: u32, now: u64) -> Counted {
    // SAFETY: all elements are this CPU's own.
    unsafe {
        let slot = slot_for(held, &words(key));
        if slot.is_null() {
            count_in_hash(held, key, length, now)
        } else if (*slot).count.packets == 0 {
            (*slot).key = *key;
            (*slot).count = first(held, length, now);
            Counted::First
        } else {
            add(held, &raw mut (*slot).count, length, now);
            Counted::Added
        }
    }
}

/// Keeps the number of the current drop among those of its key, if records are sampled.
#[inline(always)]
fn number(held: Held, nth: u64) {
    if config!(sample_mask) != 0 {
        // SAFETY: the element is this CPU's own.
        unsafe { (*held.state).nth = nth };
    }
}

/// The counts of a first drop.
#[inline(always)]
fn first(held: Held, length: u32, now: u64) -> DropCount {
    number(held, 1);
    DropCount { packets: 1, bytes: u64::from(length), first_ticks: now as u32, last_ticks: now as u32 }
}

/// # Safety
/// `count` must be of this CPU.
#[inline(always)]
unsafe fn add(held: Held, count: *mut DropCount, length: u32, now: u64) {
    // SAFETY: the caller's.
    unsafe {
        (*count).packets += 1;
        number(held, (*count).packets);
        (*count).bytes += u64::from(length);
        (*count).last_ticks = now as u32;
    }
}

/// Does the same as [`add`], for counts that may still be zeros.
///
/// # Safety
/// `count` must be of this CPU.
#[inline(always)]
unsafe fn add_or_start(held: Held, count: *mut DropCount, length: u32, now: u64) {
    // SAFETY: the caller's.
    unsafe { if (*count).packets == 0 { *count = first(held, length, now) } else { add(held, count, length, now) } }
}

/// The words of a key.
///
/// # Safety
/// It must be valid.
#[inline(always)]
unsafe fn words(key: *const DropKey) -> KeyWords {
    let words = key.cast::<u64>();
    // SAFETY: the caller's; a key is whole words, aligned as such, without holes.
    core::array::from_fn(|at| unsafe { words.add(at).read() })
}

/// Compares a key without a call: for `==` the compiler emits a call of a function that compares byte by byte.
///
/// # Safety
/// `key` must be valid.
#[inline(always)]
unsafe fn is(key: *const DropKey, wanted: &KeyWords) -> bool {
    // SAFETY: the caller's.
    let key = unsafe { words(key) };
    (0..key.len()).fold(0, |differ, at| differ | (key[at] ^ wanted[at])) == 0
}

/// Counts one drop by its key, if no slot has room.
///
/// # Safety
/// Only that of the map's pointer, which is this CPU's own.
#[inline(always)]
unsafe fn count_in_hash(held: Held, key: &DropKey, length: u32, now: u64) -> Counted {
    let drops = drops(held);
    if let Some(count) = drops.get_ptr_mut(*key) {
        // SAFETY: the element is this CPU's own.
        unsafe { add_or_start(held, count, length, now) };
        return Counted::Added;
    }
    if drops.insert(*key, first(held, length, now), BPF_NOEXIST.into()).is_ok() {
        return Counted::First;
    }
    // Another CPU may have been first; the counts of this CPU are then zeros.
    if let Some(count) = drops.get_ptr_mut(*key) {
        // SAFETY: the element is this CPU's own.
        unsafe { add_or_start(held, count, length, now) };
        return Counted::Added;
    }
    Counted::Overflow
}

/// The hash of the current generation.
#[inline(always)]
fn drops(held: Held) -> &'static PerCpuHashMap<DropKey, DropCount> {
    if held.generation() == 0 { &DROPS_0 } else { &DROPS_1 }
}

#[inline(always)]
fn count_overflow(held: Held, key: &DropKey, length: u32) {
    number(held, u64::MAX);
    // SAFETY: all elements are this CPU's own.
    unsafe {
        (*held.counts).counters.overflow += 1;
        let slot = held.generation() * OVERFLOW_SLOTS + overflow_slot(key.overflow_reason());
        if let Some(count) = OVERFLOW.get_ptr_mut(slot) {
            (*count).packets += 1;
            (*count).bytes += u64::from(length);
        }
    }
}

/// Keeps the names of a new key.
#[inline(always)]
fn remember<M: Memory>(held: Held, skb: *const u8, dropped: &DropFacts) {
    // SAFETY: the packet is the one of `dropped`.
    let names = unsafe { names::<M>(skb, dropped) };
    keep_names(held, &dropped.key, &names);
}

/// The names of the interface and namespace of a drop.
///
/// # Safety
/// `skb` must be the packet of `dropped`, or NULL without one.
#[inline(always)]
pub(crate) unsafe fn names<M: Memory>(skb: *const u8, dropped: &DropFacts) -> KeyNames {
    // SAFETY: the caller's.
    let interface = unsafe { interface_name::<M>(skb, dropped) };
    KeyNames { interface, netns_inum: dropped.netns_inum, padding: 0 }
}

/// Keeps the names that belong to a new key, unless those of its interface are the same. Without room the names are unknown;
/// the count is not affected.
#[inline(always)]
fn keep_names(held: Held, key: &DropKey, names: &KeyNames) {
    if key.netns == 0 {
        // Nothing has a name in an unknown namespace.
        return;
    }
    let (map, shared_key) = (names_map(held), key.names_key());
    // SAFETY: names that another CPU is replacing by unknown ones are taken for others, or for those that they were.
    if unsafe { map.get(shared_key) }.is_some_and(|known| have_same_words(known, names)) {
        return;
    }
    if map.insert(shared_key, names, BPF_NOEXIST.into()).is_err()
        && map.insert(key, names, BPF_NOEXIST.into()) == Err(NO_ROOM)
    {
        // The names of the interface are not those of all its keys.
        let unknown = KeyNames { interface: [0; IFNAMSIZ], netns_inum: names.netns_inum, padding: 0 };
        let _ = map.insert(shared_key, unknown, BPF_EXIST.into());
    }
}

/// Gives a key the names of another key of the same interface.
#[inline(always)]
fn share_names(held: Held, from: &DropKey, to: &DropKey) {
    // SAFETY: names of keys are written before they are in the map, and never changed.
    if let Some(names) = unsafe { names_map(held).get(from) } {
        keep_names(held, to, names);
    }
}

/// The names of the current generation.
#[inline(always)]
fn names_map(held: Held) -> &'static HashMap<DropKey, KeyNames> {
    if held.generation() == 0 { &NAMES_0 } else { &NAMES_1 }
}

/// Compares without a call, as [`is`].
#[inline(always)]
fn have_same_words(one: &KeyNames, other: &KeyNames) -> bool {
    const WORDS: usize = size_of::<KeyNames>() / size_of::<u64>();
    let [one, other] = [one, other].map(|names| (&raw const *names).cast::<u64>());
    // SAFETY: names are whole words, without holes.
    (0..WORDS).fold(0, |differ, at| differ | unsafe { one.add(at).read_unaligned() ^ other.add(at).read_unaligned() })
        == 0
}
