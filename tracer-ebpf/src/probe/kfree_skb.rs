//! `skb:kfree_skb` (`include/trace/events/skb.h`): the kernel frees a packet that it drops.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};

use super::qdisc_drop::exact_reason;
use super::{take, xdp};
use crate::config::{Bytes, Position, at, config};
use crate::guard::{self, Holder};
use crate::memory::{Memory, Probe, Typed};
use crate::skb;

/// Attached as `tp_btf`: typed pointers, plain loads.
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_btf(ctx: BtfTracePointContext) -> i32 {
    count_drop::<Typed>(ctx.as_ptr().cast());
    0
}

/// The same for kernels whose first functions must not have loads that fault: before Linux 6.1.37 and the like (commit
/// 0108a4e9f358) the kernel does not find what makes up for them in the first function of a program that has others. It
/// costs a return, which takes 11 ns on processors that need a safe one (`spec_rstack_overflow`).
#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_called(ctx: BtfTracePointContext) -> i32 {
    call(ctx.as_ptr().cast());
    0
}

/// Attached as a raw tracepoint, where `tp_btf` is not available.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb_raw(ctx: RawTracePointContext) -> i32 {
    count_drop::<Probe>(ctx.as_ptr().cast());
    0
}

#[inline(never)]
fn call(arguments: *const u8) {
    count_drop::<Typed>(arguments);
}

/// Counts one drop.
///
/// The arguments are read at their first use: kept in registers across look-ups they would be moved to the stack.
#[inline(always)]
fn count_drop<M: Memory>(arguments: *const u8) {
    let Some(guard) = guard::take(Holder::KfreeSkb) else { return };
    let held = guard.held;
    // SAFETY: an argument that this kernel's tracepoint does not have is 0. The state is this CPU's own.
    let skb = unsafe {
        let skb = Bytes::<0>.load::<*const u8>(arguments);
        let reason = at!(arg_reason).load::<u64>(arguments) as u32 | config!(absent_reason);
        let reason = exact_reason(held.state, skb, reason);
        let location = Bytes::<8>.load::<u64>(arguments);
        skb::read::<M>(held, skb, location, reason, at!(arg_rx_sk).load(arguments));
        xdp::settle_with::<M>(held, skb);
        skb
    };
    take::<M>(held, skb, arguments);
}
