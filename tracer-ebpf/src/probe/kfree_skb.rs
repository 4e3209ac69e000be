//! `skb:kfree_skb` (`include/trace/events/skb.h`): the kernel frees a packet that it drops.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use tracer_common::REASON_ABSENT;

use super::qdisc_drop::exact_reason;
use super::{take, xdp};
use crate::config::config;
use crate::guard;
use crate::memory::{Memory, Probe, Typed};
use crate::skb::Dropped;

/// Attached as `tp_btf`: typed pointers, plain loads.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_btf(ctx: BtfTracePointContext) -> i32 {
    let reason = if config!(has_reason) != 0 { ctx.arg(2) } else { REASON_ABSENT };
    let rx_sk = if config!(has_rx_sk) != 0 { ctx.arg(3) } else { core::ptr::null() };
    // SAFETY: the tracepoint's arguments.
    unsafe { kfree_skb::<Typed>(&ctx, ctx.arg(0), ctx.arg(1), reason, rx_sk) };
    0
}

/// Attached as a raw tracepoint, where `tp_btf` is not available.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb_raw(ctx: RawTracePointContext) -> i32 {
    let reason = if config!(has_reason) != 0 { ctx.arg(2) } else { REASON_ABSENT };
    let rx_sk = if config!(has_rx_sk) != 0 { ctx.arg(3) } else { core::ptr::null() };
    // SAFETY: the tracepoint's arguments.
    unsafe { kfree_skb::<Probe>(&ctx, ctx.arg(0), ctx.arg(1), reason, rx_sk) };
    0
}

/// Does nothing: its cost is that of any program there, which measurements of the others subtract.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_none(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Counts one drop.
///
/// # Safety
/// The arguments must be the tracepoint's; `rx_sk` may be NULL.
#[inline(always)]
unsafe fn kfree_skb<M: Memory>(ctx: &impl EbpfContext, skb: *const u8, location: u64, reason: u32, rx_sk: *const u8) {
    guard::exclusively(|held| {
        // SAFETY: the state is this CPU's own; the arguments are the caller's.
        let dropped = unsafe {
            let reason = exact_reason(held.state, skb, reason);
            Dropped::read::<M>(skb, location, reason, rx_sk, (*held.state).netns_ops)
        };
        let dropped = dropped.kept(held);
        // SAFETY: as above.
        unsafe { xdp::settle::<M>(held, skb, dropped) };
        take::<M>(ctx, held, skb, dropped);
    });
}
