//! The accounting plane: every drop is counted, in the first of three places that has room: the slot of the cache,
//! the hash, the overflow by reason.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_jiffies64};
use aya_log_ebpf::debug;
use tracer_common::{CacheSlot, CpuState, DropCount, DropKey, InterfaceKey, overflow_slot, slot_of};

use crate::config::config;
use crate::maps::{DROPS, INTERFACES, OVERFLOW};
use crate::memory::Memory;
use crate::skb::Dropped;

/// Now, in ticks of the kernel's timer. The verifier makes a plain load of it.
#[inline(always)]
pub(crate) fn ticks() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_jiffies64() }
}

/// The counts of a first drop, but for `packets`.
#[inline(always)]
fn first_count(length: u32) -> DropCount {
    let now = ticks();
    // SAFETY: no arguments.
    let first_ns = unsafe { bpf_ktime_get_ns() };
    DropCount { packets: 0, bytes: u64::from(length), first_ns, first_ticks: now, last_ticks: now }
}

/// Counts `dropped`.
///
/// # Safety
/// `state` must be the element of `CPU_STATE`.
#[inline(always)]
pub(crate) unsafe fn count<M: Memory>(ctx: &impl EbpfContext, state: *mut CpuState, dropped: &Dropped) {
    // SAFETY: `slot_of` is less than the number of slots.
    let slot = unsafe { (&raw mut (*state).slots).cast::<CacheSlot>().add(slot_of(&dropped.key, config!(cache_mask))) };
    // SAFETY: `slot` lies in the element, which only this CPU writes.
    unsafe {
        if (*slot).count.packets == 0 {
            take_slot::<M>(slot, dropped);
        } else if (*slot).key == dropped.key {
            add(&raw mut (*slot).count, dropped.length);
        } else if !count_in_hash::<M>(dropped) {
            count_overflow(ctx, state, dropped);
        }
    }
}

/// Makes the key the owner of a free slot; `packets` is written last, for a reader takes it as the sign.
///
/// # Safety
/// `slot` must be of this CPU.
#[inline(always)]
unsafe fn take_slot<M: Memory>(slot: *mut CacheSlot, dropped: &Dropped) {
    // SAFETY: the caller's; volatile keeps the order.
    unsafe {
        (*slot).key = dropped.key;
        (*slot).count = first_count(dropped.length);
        core::ptr::write_volatile(&raw mut (*slot).count.packets, 1);
    }
    remember_interface::<M>(dropped);
}

/// # Safety
/// `count` must be of this CPU.
#[inline(always)]
unsafe fn add(count: *mut DropCount, length: u32) {
    // SAFETY: the caller's.
    unsafe {
        (*count).packets += 1;
        (*count).bytes += u64::from(length);
        (*count).last_ticks = ticks();
    }
}

/// False when the hash has no room for a new key.
///
/// # Safety
/// Only that of the map's pointer, which is this CPU's own.
#[inline(always)]
unsafe fn count_in_hash<M: Memory>(dropped: &Dropped) -> bool {
    if let Some(count) = DROPS.get_ptr_mut(dropped.key) {
        // SAFETY: the element is this CPU's own.
        unsafe { add_or_start(count, dropped.length) };
        return true;
    }
    let first = DropCount { packets: 1, ..first_count(dropped.length) };
    if DROPS.insert(dropped.key, first, BPF_NOEXIST.into()).is_ok() {
        remember_interface::<M>(dropped);
        return true;
    }
    // Another CPU may have been first; this CPU's counts are zeros then.
    match DROPS.get_ptr_mut(dropped.key) {
        Some(count) => {
            // SAFETY: the element is this CPU's own.
            unsafe { add_or_start(count, dropped.length) };
            true
        }
        None => false,
    }
}

/// Counts before the first drop.
pub(crate) const NOTHING: DropCount = DropCount { packets: 0, bytes: 0, first_ns: 0, first_ticks: 0, last_ticks: 0 };

/// As [`add`], for counts that may still be zeros.
///
/// # Safety
/// `count` must be of this CPU.
#[inline(always)]
pub(crate) unsafe fn add_or_start(count: *mut DropCount, length: u32) {
    // SAFETY: the caller's.
    unsafe {
        if (*count).packets == 0 {
            *count = DropCount { packets: 1, ..first_count(length) };
        } else {
            add(count, length);
        }
    }
}

/// # Safety
/// `state` must be the element of `CPU_STATE`.
#[inline(always)]
unsafe fn count_overflow(ctx: &impl EbpfContext, state: *mut CpuState, dropped: &Dropped) {
    // SAFETY: both elements are this CPU's own.
    unsafe {
        if (*state).counters.overflow == 0 {
            debug!(ctx, "no room for a new place: from now on counted by reason only");
        }
        (*state).counters.overflow += 1;
        if let Some(count) = OVERFLOW.get_ptr_mut(overflow_slot(dropped.key.reason)) {
            (*count).packets += 1;
            (*count).bytes += u64::from(dropped.length);
        }
    }
}

/// Keeps the name of the interface of a new key. No room: the name is unknown, the count is not touched.
#[inline(always)]
pub(crate) fn remember_interface<M: Memory>(dropped: &Dropped) {
    let DropKey { netns, ifindex, .. } = dropped.key;
    let name = dropped.interface_name::<M>();
    if name[0] != 0 {
        let _ = INTERFACES.insert(InterfaceKey { netns, ifindex }, name, BPF_ANY.into());
    }
}
