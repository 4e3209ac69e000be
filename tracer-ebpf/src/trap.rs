//! Hardware drops: packets that a device dropped and its driver reports by devlink traps (`net/devlink/trap.c`).
//!
//! They never pass `kfree_skb`: drivers free the copy that they report by `consume_skb`.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::{ABSENT, HardwareState, REASON_ABSENT, TRAP_GROUP_LEN, TRAP_NAME_LEN, TrapKey, TrapNames};

use crate::config::config;
use crate::maps::{HARDWARE, TRAPS};
use crate::memory::{Memory, Probe};
use crate::skb::Dropped;
use crate::{account, record};

/// Attached where the kernel has the tracepoint and lets memory be read by address.
#[raw_tracepoint(tracepoint = "devlink_trap_report")]
pub fn devlink_trap_report(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments.
    unsafe { report(ctx.arg(1), ctx.arg(2)) };
    0
}

/// Counts one drop and, when asked for, sends a record of it.
///
/// # Safety
/// The arguments must be the tracepoint's: `struct sk_buff` and `struct devlink_trap_metadata`.
#[inline(always)]
unsafe fn report(skb: *const u8, metadata: *const u8) {
    // SAFETY: the helper fails on addresses that cannot be read; the element is this CPU's own.
    unsafe {
        let kind = config!(offsets.trap_type);
        if kind != ABSENT && Probe::load::<u32>(metadata, kind) == config!(trap_control) {
            return;
        }
        let Some(state) = HARDWARE.get_ptr_mut(0) else { return };
        (*state).counters.hits += 1;
        let trap: u64 = Probe::load(metadata, config!(offsets.trap_name));
        let device = Probe::load_if_present::<usize>(metadata, config!(offsets.trap_input_dev)) as *const u8;
        // Records are bounded for each name.
        let dropped = Dropped::read::<Probe>(skb, trap, REASON_ABSENT, core::ptr::null()).told_by_device(skb, device);
        if dropped.is_unwanted() {
            (*state).counters.filtered += 1;
            return;
        }
        let names = read_names(metadata, trap);
        count(state, &dropped, &names);
        if config!(events) != 0 {
            record::send::<Probe>(&raw mut (*state).counters, &dropped, Some(&names));
        }
    }
}

/// # Safety
/// As [`report`].
#[inline(always)]
unsafe fn read_names(metadata: *const u8, trap: u64) -> TrapNames {
    let mut names = TrapNames { trap: [0; TRAP_NAME_LEN], group: [0; TRAP_GROUP_LEN] };
    // SAFETY: the buffers have room for as many bytes; the helper fails on addresses that cannot be read, which leaves
    // zeros.
    unsafe {
        let group: u64 = Probe::load_if_present(metadata, config!(offsets.trap_group_name));
        bpf_probe_read_kernel_str((&raw mut names.trap).cast(), TRAP_NAME_LEN as u32, trap as *const _);
        bpf_probe_read_kernel_str((&raw mut names.group).cast(), TRAP_GROUP_LEN as u32, group as *const _);
    }
    names
}

/// # Safety
/// `state` must be the element of `HARDWARE`.
#[inline(always)]
unsafe fn count(state: *mut HardwareState, dropped: &Dropped, names: &TrapNames) {
    let (netns, ifindex, protocol) = (dropped.key.netns, dropped.key.ifindex, dropped.key.protocol);
    let key = TrapKey { names: *names, netns, ifindex, protocol, padding: [0; 3] };
    // SAFETY: the elements are this CPU's own.
    unsafe {
        if let Some(count) = TRAPS.get_ptr_mut(key) {
            account::add_or_start(count, dropped.length);
            return;
        }
        // Another CPU may be first; this CPU's counts are zeros then, as they are where this one is.
        let _ = TRAPS.insert(key, account::NOTHING, BPF_NOEXIST.into());
        if let Some(count) = TRAPS.get_ptr_mut(key) {
            account::add_or_start(count, dropped.length);
            account::remember_interface::<Probe>(dropped);
        } else {
            (*state).counters.overflow += 1;
            (*state).overflow.packets += 1;
            (*state).overflow.bytes += u64::from(dropped.length);
        }
    }
}
