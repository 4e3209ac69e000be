//! Counts drops by flow, beside the counts by aggregation key.

mod facts;

use tracer_common::{FLOW_TABLES, FLOW_WAYS, FlowRow, FlowSet, FlowSlot, FlowWords, flow_hash, flow_set};

use crate::guard::{Held, barrier};
use crate::maps::FLOW_SLOTS;
use crate::memory::Memory;

/// Counts the current drop by its flow. `skb` is the packet, or NULL without one.
#[inline(always)]
pub(crate) fn count<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the elements are this CPU's own; `flow_set` is less than the number of sets.
    unsafe {
        let row = &raw mut (*held.state).flow;
        // The hash and the user.
        row.cast::<u64>().write(0);
        (*row).drop = held.dropped().key;
        facts::keep::<M>(held, skb);
        barrier();
        let hash = flow_hash(&words(row));
        let (table, set) = flow_set(hash);
        let Some(table) = FLOW_SLOTS.get_ptr_mut(held.generation() * FLOW_TABLES + table) else { return };
        let set = (&raw mut (*table).sets).cast::<FlowSet>().add(set);
        // As a whole word: a processor waits for a word that was written in parts.
        row.cast::<u64>().write(u64::from(hash as u32) | u64::from((*row).uid) << 32);
        let (way, is_its_own) = way_of(set, row);
        let packets = (&raw mut (*set).packets).cast::<u64>().add(way);
        let slot = (&raw mut (*set).slots).cast::<FlowSlot>().add(way);
        let now = (*held.state).ticks as u32;
        if !is_its_own {
            *(&raw mut (*set).hashes).cast::<u32>().add(way) = hash as u32;
            start(slot, row, *packets);
            (*slot).first_ticks = now;
        }
        *packets += 1;
        (*slot).bytes += u64::from(held.dropped().length);
        (*slot).last_ticks = now;
    }
}

/// Gives a slot to a row, after drops of other flows. This function copies a word at a time, because the compiler turns a
/// whole copy into a call of a function that copies bytes.
///
/// # Safety
/// Both must be valid.
#[inline(always)]
unsafe fn start(slot: *mut FlowSlot, row: *const FlowRow, displaced: u64) {
    // SAFETY: the caller's; a row is whole words, aligned as such. Volatile, so that the words stay words.
    unsafe {
        let to = (&raw mut (*slot).row).cast::<u64>();
        for (at, word) in words(row).into_iter().enumerate() {
            to.add(at).write_volatile(word);
        }
        (*slot).displaced = displaced;
        (*slot).bytes = 0;
    }
}

/// The slot of a row in its set: its own, else a free one, else the one with the fewest drops. Whether it is its own.
///
/// # Safety
/// Both must be valid.
#[inline(always)]
unsafe fn way_of(set: *const FlowSet, row: *const FlowRow) -> (usize, bool) {
    // SAFETY: the caller's.
    unsafe {
        let packets = (&raw const (*set).packets).cast::<u64>();
        let hashes = (&raw const (*set).hashes).cast::<u32>();
        let slots = (&raw const (*set).slots).cast::<FlowSlot>();
        let mut least = 0;
        for way in 0..FLOW_WAYS {
            // The slots are filled one after the other, so that the row is in none behind a free one.
            if *packets.add(way) == 0 {
                return (way, false);
            }
            if *hashes.add(way) == (*row).hash && is(&raw const (*slots.add(way)).row, row) {
                return (way, true);
            }
            if *packets.add(way) < *packets.add(least) {
                least = way;
            }
        }
        (least, false)
    }
}

/// # Safety
/// Both must be valid.
#[inline(always)]
unsafe fn is(row: *const FlowRow, wanted: *const FlowRow) -> bool {
    // SAFETY: the caller's.
    let (row, wanted, same_user) = unsafe { (words(row), words(wanted), (*row).uid == (*wanted).uid) };
    // The first word has the hash, which has just been written and is compared already.
    same_user && (1..row.len()).fold(0, |differ, at| differ | (row[at] ^ wanted[at])) == 0
}

/// # Safety
/// `row` must be valid.
#[inline(always)]
unsafe fn words(row: *const FlowRow) -> FlowWords {
    let words = row.cast::<u64>();
    // SAFETY: the caller's; a row is whole words, aligned as such, without holes.
    core::array::from_fn(|at| unsafe { words.add(at).read() })
}
