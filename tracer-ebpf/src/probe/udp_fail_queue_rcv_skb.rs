//! `udp:udp_fail_queue_rcv_skb`: a UDP socket has no room for a packet. The probe gives the packet's drop its receiver on
//! kernels whose `kfree_skb` does not report it (before 6.11), where control groups are counted.
//!
//! Before 6.10, `__udp_queue_rcv_skb` (`net/ipv4/udp.c`, `net/ipv6/udp.c`) frees the packet and then fires the
//! tracepoint, with bottom halves disabled, so that UDP drops no other packet on this CPU in between. The drop that was
//! counted last is therefore the packet's if it was dropped in that function, and is moved to the receiver's key. Where
//! anything else was counted in between, or does not fit, the drop stays without a socket.
//!
//! A reading may begin in between. The drop is moved in the generation in which it was counted, which is not read yet:
//! with bottom halves disabled the kernel is within one RCU read section, and userspace waits for all of them.
//!
//! From 6.10 on the tracepoint also reports the packet, and fires before the packet is freed: the socket is noted on this
//! CPU, and `kfree_skb` takes it for that packet alone.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::{UDP_RECEIVERS_NOTED, UdpNote};

use crate::account;
use crate::config::config;
use crate::guard::{self, Held, Holder};
use crate::maps::CPU_STATE;
use crate::memory::Probe;
use crate::skb::cgroup;

/// Attached where it is needed. To move a drop, it needs `bpf_probe_read_kernel`.
#[raw_tracepoint(tracepoint = "udp_fail_queue_rcv_skb")]
pub fn udp_fail_queue_rcv_skb(ctx: RawTracePointContext) -> i32 {
    let socket = ctx.arg(1);
    if config!(udp_receivers) == UDP_RECEIVERS_NOTED {
        note(UdpNote { skb: ctx.arg(2), socket: socket as u64 });
        return 0;
    }
    if let Some(guard) = guard::take_if_free(Holder::UdpFailQueueRcvSkb) {
        // SAFETY: the state is this CPU's own.
        unsafe { attribute(guard.held, socket) };
    }
    0
}

/// Keeps the receiver of the packet that the kernel frees next.
#[inline(always)]
fn note(note: UdpNote) {
    let Some(state) = CPU_STATE.get_ptr_mut(0) else { return };
    // SAFETY: the element is this CPU's own; an interrupted program may be using a note.
    unsafe {
        if !guard::is_held(state) {
            (*state).udp = note;
        }
    }
}

/// Gives the drop that was counted last its receiver, if it is the packet's.
///
/// # Safety
/// The elements must be this CPU's own.
#[inline(always)]
unsafe fn attribute(held: Held, socket: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let dropped = &raw mut (*held.state).dropped;
        let counted_in = (*dropped).counted_in;
        (*dropped).counted_in = 0;
        if counted_in == 0 || (*dropped).key.socket != 0 || !is_in_queue(held, (*dropped).key.location) {
            return;
        }
        let Some(held) = held.in_generation(u32::from(counted_in) - 1) else { return };
        if let Some(cgroup_id) = cgroup::of_receiver::<Probe>(socket, held.state) {
            account::attribute(held, cgroup_id);
        }
    }
}

/// Whether a call that returns to `location` is in one of the functions that drop what a socket has no room for.
///
/// # Safety
/// The state must be this CPU's own.
#[inline(always)]
unsafe fn is_in_queue(held: Held, location: u64) -> bool {
    // SAFETY: the caller's.
    let queues = unsafe { &(*held.state).udp_queues };
    queues.iter().any(|queue| queue.start < location && location <= queue.end)
}
