//! The programs on `kfree_skb`, one for each way to attach, and the path that they take.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use tracer_common::REASON_ABSENT;

use crate::config::config;
use crate::maps::CPU_STATE;
use crate::memory::{Direct, Memory, Probe};
use crate::skb::Dropped;
use crate::{account, qdisc, record};

/// Attached as `tp_btf`: typed pointers, plain loads.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_btf(ctx: BtfTracePointContext) -> i32 {
    let reason = if config!(has_reason) != 0 { ctx.arg(2) } else { REASON_ABSENT };
    let rx_sk = if config!(has_rx_sk) != 0 { ctx.arg(3) } else { core::ptr::null() };
    // SAFETY: the tracepoint's arguments.
    unsafe { kfree_skb::<Direct>(&ctx, ctx.arg(0), ctx.arg(1), reason, rx_sk) };
    0
}

/// Attached as a raw tracepoint, where `tp_btf` cannot be had.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb_raw(ctx: RawTracePointContext) -> i32 {
    let reason = if config!(has_reason) != 0 { ctx.arg(2) } else { REASON_ABSENT };
    let rx_sk = if config!(has_rx_sk) != 0 { ctx.arg(3) } else { core::ptr::null() };
    // SAFETY: the tracepoint's arguments.
    unsafe { kfree_skb::<Probe>(&ctx, ctx.arg(0), ctx.arg(1), reason, rx_sk) };
    0
}

/// Does nothing: what it costs is what any program costs there, which measurements of the others are less by.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_none(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Counts one drop and, when asked for, sends a record of it.
///
/// # Safety
/// The arguments must be the tracepoint's; `rx_sk` may be NULL.
#[inline(always)]
unsafe fn kfree_skb<M: Memory>(ctx: &impl EbpfContext, skb: *const u8, location: u64, reason: u32, rx_sk: *const u8) {
    let Some(state) = CPU_STATE.get_ptr_mut(0) else { return };
    // SAFETY: the element is this CPU's own, and the kernel does not run the program inside itself.
    unsafe {
        (*state).counters.hits += 1;
        let reason = qdisc::exact_reason(state, skb, reason);
        let dropped = Dropped::read::<M>(skb, location, reason, rx_sk);
        if dropped.is_unwanted() {
            (*state).counters.filtered += 1;
            return;
        }
        account::count::<M>(ctx, state, &dropped);
        if config!(events) != 0 {
            record::send::<M>(&raw mut (*state).counters, &dropped, None);
        }
    }
}
