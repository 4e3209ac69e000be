//! `tcp:tcp_retransmit_skb` (`include/trace/events/tcp.h`): a socket has sent a segment again.
//!
//! `__tcp_retransmit_skb` (`net/ipv4/tcp_output.c`) fires it after it has sent the segment. Sequence numbers are in
//! `TCP_SKB_CB(skb)`, which belongs to TCP as long as the segment is in the socket's queue; the packet has no headers there. A
//! packet that is dropped on its way through this host's own stack is dropped before the tracepoint fires: the socket's
//! clock from before it was sent tells such drops from earlier ones.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use tracer_common::{ABSENT, Retransmission, SEGMENT_RETRANSMITTED};

use crate::config::{Position, at, config};
use crate::guard::add_atomically;
use crate::maps::{CPU_STATE, SEGMENTS};
use crate::memory::{Memory, Probe};

/// Attached where retransmissions are asked for. The program does not take the guard: it touches nothing but counters, which
/// it adds to atomically, and its record.
#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the tracepoint's arguments; one that this kernel's tracepoint does not have is 0.
    unsafe {
        let error: u64 = at!(arg_retransmit_error).load(ctx.as_ptr().cast());
        if error as u32 == 0 {
            report(ctx.arg(0), ctx.arg(1));
        }
    }
    0
}

/// Counts and sends one retransmission.
///
/// # Safety
/// The arguments must be the tracepoint's: a full `struct sock` of TCP, and a segment of its queue.
#[inline(always)]
unsafe fn report(sock: *const u8, skb: *const u8) {
    let Some(state) = CPU_STATE.get_ptr_mut(0) else { return };
    // SAFETY: the counters are this CPU's own; the helper fails on addresses that cannot be read.
    unsafe {
        let counts = &raw mut (*state).segments;
        let segments: u16 = Probe::load(skb, at!(tcp_segments));
        add_atomically(&raw mut (*counts).retransmissions, 1);
        add_atomically(&raw mut (*counts).segments, segments.into());
        let Some(mut entry) = SEGMENTS.reserve::<Retransmission>(0) else {
            add_atomically(&raw mut (*counts).retransmissions_lost, 1);
            return;
        };
        entry.write(Retransmission {
            kind: SEGMENT_RETRANSMITTED,
            segments: segments.into(),
            timestamp_ns: bpf_ktime_get_ns(),
            began_ns: Probe::load(sock, at!(tcp_clock)),
            netns: namespace(sock),
            start: Probe::load(skb, at!(tcp_seq)),
            end: Probe::load(skb, at!(tcp_end_seq)),
            source_v6: [Probe::load(sock, at!(sock_source_v6)), Probe::load(sock, at!(sock_source_v6, 1))],
            destination_v6: [
                Probe::load(sock, at!(sock_destination_v6)),
                Probe::load(sock, at!(sock_destination_v6, 1)),
            ],
            source_v4: Probe::load(sock, at!(sock_source)),
            destination_v4: Probe::load(sock, at!(sock_destination)),
            family: Probe::load(sock, at!(sock_family)),
            source_port: Probe::load(sock, at!(sock_port)),
            destination_port: Probe::load(sock, at!(sock_peer_port)),
            padding: 0,
        });
        entry.submit(BPF_RB_NO_WAKEUP.into());
    }
}

/// The socket's namespace, as [`tracer_common::DropKey::netns`]. The socket is alive, and keeps its namespace.
///
/// # Safety
/// As [`report`].
#[inline(always)]
unsafe fn namespace(sock: *const u8) -> u64 {
    // SAFETY: the helper fails on addresses that cannot be read.
    unsafe {
        let net: u64 = Probe::load(sock, at!(sock_net));
        if config!(offsets.net_cookie) == ABSENT {
            return Probe::chase::<u32>(net, at!(net_inum)).into();
        }
        Probe::chase(net, at!(net_cookie))
    }
}
