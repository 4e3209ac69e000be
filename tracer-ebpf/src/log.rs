//! The program's own log, for who develops it: rare events, each in a function of its own, so that the common path does not
//! pay for them. Without `-vv` the verifier removes the calls.

use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_log_ebpf::debug;

use crate::config::config;

/// Whether rare events are logged.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    config!(log) != 0
}

/// This CPU counts into another generation than before.
#[inline(never)]
pub(crate) fn generation(now: u32) {
    debug!(NoContext, "this CPU counts into generation {} from now on", now);
}

/// A program found another one running on its CPU.
#[inline(never)]
pub(crate) fn nested() {
    debug!(NoContext, "a drop is counted as nested: another program was running on this CPU");
}

/// No room for a new aggregation key.
#[inline(never)]
pub(crate) fn overflow() {
    debug!(NoContext, "no room for a new key: such drops are counted by reason only");
}

/// `skb->dev` has an address of the kernel that leads to no device of the packet's namespace.
#[inline(never)]
pub(crate) fn implausible_device() {
    debug!(NoContext, "skb->dev of a drop leads to no device of its namespace, and is not used");
}

/// The log does not use a program's context.
struct NoContext;

impl EbpfContext for NoContext {
    fn as_ptr(&self) -> *mut c_void {
        core::ptr::null_mut()
    }
}
