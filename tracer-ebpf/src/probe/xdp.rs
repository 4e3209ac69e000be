//! `xdp:xdp_exception` and `xdp:xdp_redirect_err` (`include/trace/events/xdp.h`): frames that XDP drops because of an
//! error, before there is an `sk_buff` that `kfree_skb` could show.
//!
//! XDP also runs on `sk_buff`s: then the same tracepoints fire first, and `kfree_skb` right after them. That drop is
//! counted only in `kfree_skb`, where more facts are known: here it is noted until the next drop on this CPU.
//! `docs/reference/fields.md` has the rules, with the functions of the kernel that they come from.

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::{CpuState, MOST_NOTED_NS, XDP_REDIRECT_FAILED};

use super::take;
use crate::config::{Bytes, at, config};
use crate::guard::{self, Held, Holder, barrier};
use crate::memory::{Memory, Probe};
use crate::{account, filter, skb};

/// `enum xdp_action` (`include/uapi/linux/bpf.h`).
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
/// `enum bpf_attach_type` (`include/uapi/linux/bpf.h`).
const BPF_XDP_DEVMAP: u32 = 33;
const BPF_XDP_CPUMAP: u32 = 35;
/// Words of a `struct bpf_xdp_entity` (`include/linux/netdevice.h`): program and link, of which one is set.
const BPF_XDP_ENTITY: usize = 2;
/// Index of the driver's own program in `net_device.xdp_state` (`XDP_MODE_DRV`).
const XDP_MODE_DRV: usize = 1;

/// A program aborted, returned an invalid verdict, or its frame could not be sent back.
#[raw_tracepoint(tracepoint = "xdp_exception")]
pub fn xdp_exception(ctx: RawTracePointContext) -> i32 {
    let (device, program, action): (*const u8, *const u8, u32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    // SAFETY: the tracepoint's arguments.
    let second_report = unsafe { SecondReport::of_exception(device, program, action) };
    report(Holder::XdpException, &ctx, device, action, second_report, |state| {
        // SAFETY: the element is this CPU's own.
        action == XDP_REDIRECT && unsafe { is_redirect_reported(state, device) }
    });
    0
}

/// A frame could not be redirected.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
pub fn xdp_redirect_err(ctx: RawTracePointContext) -> i32 {
    let (device, error): (*const u8, i32) = (ctx.arg(0), ctx.arg(3));
    // SAFETY: the tracepoint's arguments.
    let second_report = unsafe { SecondReport::of_redirect(device) };
    report(Holder::XdpRedirectErr, &ctx, device, XDP_REDIRECT_FAILED | error.unsigned_abs(), second_report, |state| {
        // SAFETY: the element is this CPU's own.
        unsafe {
            (*state).xdp.redirect_device = device as u64;
            (*state).xdp.redirect_ticks = account::ticks();
        }
        false
    });
    0
}

/// Whether `kfree_skb` reports the packet as well, right after this tracepoint.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum SecondReport {
    /// `kfree_skb` does not, because there is no `sk_buff`.
    Never = 1,
    /// `kfree_skb` does, so that only its report is counted.
    Certain,
    /// `kfree_skb` does if its next packet belongs to the same device.
    IfSameDevice,
    /// `kfree_skb` does if its next packet belongs to a device with a generic XDP program.
    IfGenericDevice,
}

impl SecondReport {
    /// Returns whether `kfree_skb` reports the packet of an exception.
    ///
    /// # Safety
    /// The arguments must be the tracepoint's.
    #[inline(always)]
    unsafe fn of_exception(device: *const u8, program: *const u8, action: u32) -> Self {
        // SAFETY: the helper fails on addresses that cannot be read.
        unsafe {
            match Probe::load(program, at!(prog_attach_type)) {
                BPF_XDP_CPUMAP => return Self::Certain,
                BPF_XDP_DEVMAP => return Self::IfGenericDevice,
                _ => {}
            }
            if has_generic_program::<Probe>(device) {
                return Self::Certain;
            }
            let runs_on_skbs = match kind(device) {
                Kind::Tun => true,
                // The driver frees the `sk_buff` with `consume_skb` before it sends the frame back.
                Kind::Veth => action != XDP_TX,
                Kind::Other => false,
            };
            // The target of a generic redirect has a stopped queue.
            let is_target = action == XDP_TX && !has_own_program(device);
            if runs_on_skbs || is_target { Self::IfSameDevice } else { Self::Never }
        }
    }

    /// Returns whether `kfree_skb` reports the packet of a redirect.
    ///
    /// # Safety
    /// As [`SecondReport::of_exception`].
    #[inline(always)]
    unsafe fn of_redirect(device: *const u8) -> Self {
        // SAFETY: the helper fails on addresses that cannot be read.
        unsafe {
            if has_generic_program::<Probe>(device) {
                return Self::Certain;
            }
            // As above, veth has already freed its `sk_buff`.
            if kind(device) == Kind::Tun { Self::IfSameDevice } else { Self::Never }
        }
    }
}

/// Counts or notes one drop, unless `kfree_skb` is sure to count it, or `is_reported` says that it was already reported.
#[inline(always)]
fn report(
    holder: Holder,
    context: &RawTracePointContext,
    device: *const u8,
    reason: u32,
    second_report: SecondReport,
    is_reported: impl FnOnce(*mut CpuState) -> bool,
) {
    if second_report == SecondReport::Certain {
        return;
    }
    let Some(guard) = guard::take(holder) else { return };
    let held = guard.held;
    // SAFETY: the state is this CPU's own; the device is the tracepoint's.
    unsafe {
        if is_reported(held.state) {
            return;
        }
        settle(held);
        skb::read_frame(held, device, reason);
        if second_report == SecondReport::Never || device.is_null() {
            take::<Probe>(held, core::ptr::null(), context.as_ptr().cast());
        } else {
            note(held, device, second_report);
        }
    }
}

/// Notes the current drop, which `kfree_skb` may report next on this CPU. It is not counted yet, because a count that a
/// reading showed is never taken back; and no record is sent, because a record cannot be taken back either.
///
/// # Safety
/// The state is this CPU's own, and `device` is that of the current drop.
#[inline(always)]
unsafe fn note(held: Held, device: *const u8, second_report: SecondReport) {
    // SAFETY: the caller's.
    unsafe {
        let note = &raw mut (*held.state).xdp;
        (*note).verdict = filter::verdict::<Probe>(held, core::ptr::null()) as u32;
        let dropped = held.dropped();
        (*note).key = dropped.key;
        (*note).names = account::names::<Probe>(core::ptr::null(), dropped);
        (*note).second_report = second_report as u32;
        (*note).ticks = account::ticks();
        barrier();
        (*note).device = device as u64;
    }
}

/// Counts the noted frame, if there is one: the current drop is not one of `kfree_skb`, which alone could report the
/// same packet.
///
/// # Safety
/// The state is this CPU's own.
#[inline(always)]
pub(super) unsafe fn settle(held: Held) {
    // SAFETY: the caller's.
    unsafe {
        let note = &raw mut (*held.state).xdp;
        if (*note).device != 0 {
            (*note).device = 0;
            account::count_noted(held, &*note);
        }
    }
}

/// Discards the noted frame, if there is one and the current drop, the next one on this CPU, is that packet; else
/// counts it.
///
/// # Safety
/// All elements are this CPU's own; `skb` is the packet of the current drop.
#[inline(always)]
pub(super) unsafe fn settle_with<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        if (*held.state).xdp.device != 0 {
            take_up_note::<M>(held, skb);
        }
    }
}

/// # Safety
/// As [`settle_with`].
#[inline(never)]
unsafe fn take_up_note<M: Memory>(held: Held, skb: *const u8) {
    let dropped = held.dropped();
    // SAFETY: the caller's; the device was verified.
    unsafe {
        let note = &raw mut (*held.state).xdp;
        let device = (*note).device;
        (*note).device = 0;
        let reason = dropped.key.reason;
        let is_general = reason == config!(unspecified_reason) || reason == config!(xdp_reason);
        let is_generic = (*note).second_report == SecondReport::IfGenericDevice as u32
            && dropped.device != 0
            && has_generic_program::<M>(M::device_of(skb, dropped));
        let is_of = dropped.device == device || is_generic;
        if !(is_general && is_of && is_recent((*note).ticks)) {
            account::count_noted(held, &*note);
        }
    }
}

/// Returns whether this frame's failed redirect was reported just before: some drivers report it as an exception, too
/// (`ixgbe_run_xdp`, `netvsc_run_xdp`).
///
/// # Safety
/// `state` must be the element of `CPU_STATE`.
#[inline(always)]
unsafe fn is_redirect_reported(state: *mut CpuState, device: *const u8) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let note = &raw mut (*state).xdp;
        let is_same = (*note).redirect_device == device as u64;
        (*note).redirect_device = 0;
        is_same && is_recent((*note).redirect_ticks)
    }
}

/// Returns whether so little time has passed since `ticks` that the kernel may still handle the same packet.
#[inline(always)]
fn is_recent(ticks: u64) -> bool {
    account::ticks().wrapping_sub(ticks) * u64::from(config!(tick_ns)) <= MOST_NOTED_NS
}

/// Returns whether a generic XDP program is attached, which runs on `sk_buff`s: a device cannot have a driver's program
/// at the same time (`dev_xdp_attach`, `net/core/dev.c`).
///
/// # Safety
/// `device` must be a `struct net_device`.
#[inline(always)]
unsafe fn has_generic_program<M: Memory>(device: *const u8) -> bool {
    // SAFETY: the caller's.
    unsafe { M::load::<usize>(device, at!(dev_xdp_prog)) != 0 }
}

/// Returns whether the driver runs a program of the device's own.
///
/// # Safety
/// `device` must be a `struct net_device`.
#[inline(always)]
unsafe fn has_own_program(device: *const u8) -> bool {
    // SAFETY: the caller's.
    let entity: [u64; 2] = unsafe {
        [
            Probe::load(device, at!(dev_xdp_state, XDP_MODE_DRV * BPF_XDP_ENTITY)),
            Probe::load(device, at!(dev_xdp_state, XDP_MODE_DRV * BPF_XDP_ENTITY + 1)),
        ]
    };
    entity != [0; 2]
}

/// The virtual devices whose drivers run XDP programs on `sk_buff`s as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Veth,
    Tun,
    Other,
}

/// # Safety
/// `device` must be a `struct net_device`.
#[inline(always)]
unsafe fn kind(device: *const u8) -> Kind {
    // SAFETY: the helper fails on addresses that cannot be read.
    let (name, end) = unsafe {
        let ops: u64 = Probe::load(device, at!(dev_rtnl_link_ops));
        let kind: u64 = Probe::chase(ops, at!(link_ops_kind));
        (Probe::chase::<[u8; 4]>(kind, Bytes::<0>), Probe::chase::<u8>(kind, Bytes::<4>))
    };
    if name == *b"tun\0" {
        Kind::Tun
    } else if name == *b"veth" && end == 0 {
        Kind::Veth
    } else {
        Kind::Other
    }
}
