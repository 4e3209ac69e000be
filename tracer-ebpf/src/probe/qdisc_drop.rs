//! `qdisc:qdisc_drop`: the exact reasons of queueing disciplines, which newer kernels report through a separate
//! tracepoint.
//!
//! `__tcf_kfree_skb_list` (`net/sched/sch_generic.c`) fires `qdisc_drop` with the exact reason, and in the next
//! statement frees the packet with `SKB_DROP_REASON_QDISC_DROP`. The reason is therefore noted on this CPU until
//! `kfree_skb` runs for the same packet, and only `kfree_skb` counts the drop. A note without a matching drop
//! (`kfree_skb` was missed, or the packet has other holders and was not dropped) is replaced by the next note, and
//! counted: no drop is counted twice or missed because of it, at worst the drop has the general reason.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::CpuState;

use crate::config::config;
use crate::guard::is_held;
use crate::maps::CPU_STATE;

/// Attached if the kernel has the tracepoint. Its arguments are plain numbers here, whatever their types are.
#[raw_tracepoint(tracepoint = "qdisc_drop")]
pub fn qdisc_drop(ctx: RawTracePointContext) -> i32 {
    let Some(state) = CPU_STATE.get_ptr_mut(0) else { return 0 };
    // SAFETY: the element is this CPU's own; `kfree_skb` may come in between, but only for another packet.
    unsafe {
        let note = &raw mut (*state).qdisc;
        if is_held(state) {
            // The interrupted program may be using a note.
            (*note).unmatched += 1;
            return 0;
        }
        if (*note).skb != 0 {
            (*note).unmatched += 1;
        }
        (*note).reason = ctx.arg(4);
        (*note).skb = ctx.arg(3);
    }
    0
}

/// Returns the reason that was noted for this packet, if there is one, instead of the general one. On a kernel without
/// the tracepoint, the verifier knows that the comparison is never made.
///
/// # Safety
/// `state` must be the element of `CPU_STATE`.
#[inline(always)]
pub(super) unsafe fn exact_reason(state: *mut CpuState, skb: *const u8, reason: u32) -> u32 {
    let general = config!(qdisc_reason);
    if general == 0 || reason != general {
        return reason;
    }
    // SAFETY: the element is this CPU's own.
    unsafe {
        let note = &raw mut (*state).qdisc;
        if (*note).skb != skb as u64 {
            return reason;
        }
        (*note).skb = 0;
        (*note).reason
    }
}
