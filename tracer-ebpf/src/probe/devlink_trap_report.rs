//! `devlink:devlink_trap_report`: packets that a device dropped and its driver reports through devlink traps
//! (`net/devlink/trap.c`).
//!
//! These packets never pass `kfree_skb`: drivers free the reported copy with `consume_skb`.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::{ABSENT, TRAP_GROUP_LEN, TRAP_NAME_LEN, TrapNames};

use super::{take, xdp};
use crate::config::{at, config};
use crate::guard::{self, Holder};
use crate::maps::TRAP_NAMES;
use crate::memory::{Memory, Probe};
use crate::skb;

/// Attached where the kernel has the tracepoint and allows `bpf_probe_read_kernel`.
#[raw_tracepoint(tracepoint = "devlink_trap_report")]
pub fn devlink_trap_report(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments.
    unsafe { report(ctx.arg(1), ctx.arg(2), ctx.as_ptr().cast()) };
    0
}

/// Counts one drop.
///
/// # Safety
/// The arguments must be the tracepoint's: `struct sk_buff` and `struct devlink_trap_metadata`; and the program's context.
#[inline(always)]
unsafe fn report(skb: *const u8, metadata: *const u8, context: *const u8) {
    // SAFETY: the helper fails on addresses that cannot be read.
    let kind: u32 = unsafe { Probe::load(metadata, at!(trap_type)) };
    if config!(offsets.trap_type) != ABSENT && kind == config!(trap_control) {
        return;
    }
    let Some(guard) = guard::take(Holder::DevlinkTrapReport) else { return };
    let held = guard.held;
    // SAFETY: as above; the state is this CPU's own.
    unsafe {
        xdp::settle(held);
        let name: u64 = Probe::load(metadata, at!(trap_name));
        let device = Probe::load::<usize>(metadata, at!(trap_input_dev)) as *const u8;
        remember_names(metadata, name);
        skb::read_trapped(held, skb, name, device);
    }
    take::<Probe>(held, skb, context);
}

/// Stores the names of a trap by the address of its name. A driver that is loaded again may have other names at that
/// address.
///
/// # Safety
/// As [`report`].
#[inline(never)]
unsafe fn remember_names(metadata: *const u8, name: u64) {
    let mut names = TrapNames { trap: [0; TRAP_NAME_LEN], group: [0; TRAP_GROUP_LEN] };
    // SAFETY: the buffers have room for as many bytes; the helper fails on addresses that cannot be read, which leaves
    // zeros.
    unsafe {
        bpf_probe_read_kernel_str((&raw mut names.trap).cast(), TRAP_NAME_LEN as u32, name as *const _);
        if let Some(known) = TRAP_NAMES.get(name)
            && known.trap == names.trap
        {
            return;
        }
        let group: u64 = Probe::load(metadata, at!(trap_group_name));
        bpf_probe_read_kernel_str((&raw mut names.group).cast(), TRAP_GROUP_LEN as u32, group as *const _);
    }
    let _ = TRAP_NAMES.insert(name, names, BPF_ANY.into());
}
