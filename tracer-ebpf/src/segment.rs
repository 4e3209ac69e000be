//! Records of dropped segments of TCP, which userspace joins with retransmissions.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{CpuState, DropFacts, DroppedSegment, KIND_PACKET, SEGMENT_DROPPED, SEGMENT_HEADERS};

use crate::config::Bytes;
use crate::guard::Held;
use crate::headers::{ETH_P_IP, ETH_P_IPV6, TCP};
use crate::maps::SEGMENTS;
use crate::memory::{Memory, Probe, distance};

/// Sends a record of the current drop if it is a packet of TCP, or counts that there was no room.
#[inline(never)]
pub(crate) fn send(held: Held) {
    let dropped = held.dropped();
    // SAFETY: the state is this CPU's own.
    unsafe {
        if dropped.key.kind == KIND_PACKET && dropped.network != 0 && is_tcp(dropped) {
            send_segment(held.state, dropped);
        }
    }
}

/// Whether TCP's header follows the network header.
///
/// # Safety
/// The packet must be located ([`crate::skb`]).
#[inline(always)]
unsafe fn is_tcp(dropped: &DropFacts) -> bool {
    // SAFETY: the helper fails on addresses that cannot be read.
    let transport: u8 = unsafe {
        match dropped.key.protocol {
            ETH_P_IP => Probe::chase(dropped.network, Bytes::<9>),
            ETH_P_IPV6 => Probe::chase(dropped.network, Bytes::<6>),
            _ => 0,
        }
    };
    transport == TCP
}

/// # Safety
/// `state` must be this CPU's own; the packet must be located.
#[inline(always)]
unsafe fn send_segment(state: *mut CpuState, dropped: &DropFacts) {
    // SAFETY: the caller's; the record has room for the headers, and the helper fails on addresses that cannot be read.
    unsafe {
        let Some(mut entry) = SEGMENTS.reserve::<DroppedSegment>(0) else {
            (*state).segments.drops_lost += 1;
            return;
        };
        let record = entry.as_mut_ptr();
        let headers = (&raw mut (*record).headers).cast();
        let result = bpf_probe_read_kernel(headers, SEGMENT_HEADERS as u32, dropped.network as *const _);
        let before = distance(dropped.network, dropped.start);
        (*record).kind = SEGMENT_DROPPED;
        (*record).length = u64::from(dropped.length).saturating_sub(before) as u32;
        (*record).timestamp_ns = bpf_ktime_get_ns();
        (*record).key = dropped.key;
        (*record).available = if result == 0 { dropped.linear.saturating_sub(before) } else { 0 };
        entry.submit(BPF_RB_NO_WAKEUP.into());
    }
}
