//! `tcp_conn_request` (`net/ipv4/tcp_input.c`): a listening socket of TCP answers a SYN, or refuses it.
//!
//! It returns 0 in both cases, and the caller consumes the SYN. Each refusal adds 1 to `LINUX_MIB_LISTENDROPS`
//! (`tcp_listendrop`), and to a counter of the cause where there is one. These counters exist for each CPU, and softirqs are
//! off while the function runs (`tcp_rcv_state_process`), so that what they rise by between its entry and its exit is what this
//! SYN added. On `PREEMPT_RT` another task may come in between; there userspace does not load the programs.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::{FEntryContext, FExitContext};
use tracer_common::{
    ABSENT, REFUSED_ACCEPT_QUEUE, REFUSED_OTHER, REFUSED_SYN_QUEUE, RefusedSyn, SynCounters, SynState,
};

use crate::config::{Bytes, at, config};
use crate::guard::add_atomically;
use crate::headers::ETH_P_IPV6;
use crate::maps::{REFUSED, REFUSED_OTHERS, SYN};
use crate::memory::{Memory, Probe};
use crate::skb::cgroup;

/// `AF_INET6` (`include/linux/socket.h`).
const AF_INET6: u16 = 10;
/// The first half of `::ffff:0.0.0.0`'s second word, in network byte order.
const MAPPED: u64 = 0xffff_0000;

/// Runs before the SYN is answered. The arguments are `rsk_ops`, `af_ops`, `sk` and `skb`.
#[fentry(function = "tcp_conn_request")]
pub fn syn_received(ctx: FEntryContext) -> i32 {
    let Some(state) = SYN.get_ptr_mut(0) else { return 0 };
    // SAFETY: the function's arguments; the state is this CPU's own.
    unsafe {
        let (sock, skb): (*const u8, *const u8) = (ctx.arg(2), ctx.arg(3));
        let net: u64 = Probe::load(sock, at!(sock_net));
        let first: u64 = Probe::chase(net, at!(net_statistics));
        let counters = first.wrapping_add(distance_of_this_cpu(state));
        (*state).skb = skb as u64;
        (*state).counters = counters;
        (*state).before = read(counters);
    }
    0
}

/// Runs after the SYN was answered or refused.
#[fexit(function = "tcp_conn_request")]
pub fn syn_answered(ctx: FExitContext) -> i32 {
    let Some(state) = SYN.get_ptr_mut(0) else { return 0 };
    // SAFETY: as in `syn_received`.
    unsafe {
        let (sock, skb): (*const u8, *const u8) = (ctx.arg(2), ctx.arg(3));
        let SynState { skb: noted, counters, before, .. } = *state;
        (*state).skb = 0;
        if noted != skb as u64 {
            return 0;
        }
        let after = read(counters);
        if after.refused != before.refused {
            add_atomically(&raw mut (*state).refused, 1);
            count(state, &key(sock, skb, cause(before, after)));
        }
    }
    0
}

/// The counters at an address.
///
/// # Safety
/// Any number will do.
#[inline(always)]
unsafe fn read(address: u64) -> SynCounters {
    // SAFETY: the helper fails on addresses that cannot be read.
    unsafe {
        SynCounters {
            refused: Probe::chase(address, at!(mib_listen_drops)),
            accept_queue: Probe::chase(address, at!(mib_listen_overflows)),
            syn_queue: Probe::chase(address, at!(mib_syn_queue_full)),
        }
    }
}

#[inline(always)]
fn cause(before: SynCounters, after: SynCounters) -> u8 {
    if after.accept_queue != before.accept_queue {
        REFUSED_ACCEPT_QUEUE
    } else if after.syn_queue != before.syn_queue {
        REFUSED_SYN_QUEUE
    } else {
        REFUSED_OTHER
    }
}

/// How far this CPU's copy of a per-CPU variable lies beyond the first one (`this_cpu_ptr`). No helper returns it; it is the
/// distance from what the map has for its element (`bpf_array.pptrs`, `kernel/bpf/arraymap.c`) to this CPU's element.
///
/// # Safety
/// `state` must be this CPU's own.
#[inline(always)]
unsafe fn distance_of_this_cpu(state: *mut SynState) -> u64 {
    // SAFETY: the caller's; the helper fails on addresses that cannot be read.
    unsafe {
        let map = number(state, &raw const SYN as u64);
        let first: u64 = Probe::chase(map, at!(array_pptrs));
        number(state, state as u64).wrapping_sub(first)
    }
}

/// The address of a pointer. The verifier allows no arithmetic with a pointer to a map, and takes what is read from a map
/// for a number.
///
/// # Safety
/// As [`distance_of_this_cpu`].
#[inline(always)]
unsafe fn number(state: *mut SynState, pointer: u64) -> u64 {
    // SAFETY: the caller's; volatile, so that the compiler does not take the shorter way.
    unsafe {
        let room = &raw mut (*state).pointer;
        write_volatile(room, pointer);
        read_volatile(room)
    }
}

/// The key of a refused SYN.
///
/// # Safety
/// The arguments must be the function's: a full `struct sock` of TCP, and the SYN.
#[inline(always)]
unsafe fn key(sock: *const u8, skb: *const u8, why: u8) -> RefusedSyn {
    // SAFETY: the helper fails on addresses that cannot be read.
    unsafe {
        let net: u64 = Probe::load(sock, at!(sock_net));
        let netns_inum: u32 = Probe::chase(net, at!(net_inum));
        let is_named = config!(offsets.net_cookie) == ABSENT;
        let netns = if is_named { netns_inum.into() } else { Probe::chase(net, at!(net_cookie)) };
        let is_v6 = Probe::load::<u16>(sock, at!(sock_family)) == AF_INET6;
        let listener = if is_v6 {
            [Probe::load(sock, at!(sock_source_v6)), Probe::load(sock, at!(sock_source_v6, 1))]
        } else {
            mapped(Probe::load(sock, at!(sock_source)))
        };
        RefusedSyn {
            netns,
            cgroup_id: cgroup::of::<Probe>(sock),
            source: source(skb),
            listener,
            netns_inum,
            port: Probe::load(sock, at!(sock_port)),
            why,
            padding: 0,
        }
    }
}

/// The address that sent a packet.
///
/// # Safety
/// As [`key`].
#[inline(always)]
unsafe fn source(skb: *const u8) -> [u64; 2] {
    // SAFETY: the helper fails on addresses that cannot be read.
    unsafe {
        let (head, network): (u64, u16) = (Probe::load(skb, at!(skb_head)), Probe::load(skb, at!(skb_network_header)));
        let header = head.wrapping_add(network.into());
        if u16::from_be(Probe::load(skb, at!(skb_protocol))) == ETH_P_IPV6 {
            [Probe::chase(header, Bytes::<8>), Probe::chase(header, Bytes::<16>)]
        } else {
            mapped(Probe::chase(header, Bytes::<12>))
        }
    }
}

/// An address of IPv4 as one of IPv6, both in network byte order.
#[inline(always)]
const fn mapped(address: u32) -> [u64; 2] {
    [0, (address as u64) << 32 | MAPPED]
}

/// Counts a refused SYN.
///
/// # Safety
/// `state` must be this CPU's own.
#[inline(always)]
unsafe fn count(state: *mut SynState, key: &RefusedSyn) {
    // SAFETY: the caller's.
    unsafe {
        if !add(&REFUSED, key) && !add(&REFUSED_OTHERS, &RefusedSyn { source: [0; 2], ..*key }) {
            add_atomically(&raw mut (*state).without_room, 1);
        }
    }
}

/// Adds 1 to the number of a key; false if the map has no room for the key.
///
/// # Safety
/// The map must be one to which keys are only added.
#[inline(always)]
unsafe fn add(map: &HashMap<RefusedSyn, u64>, key: &RefusedSyn) -> bool {
    if let Some(number) = map.get_ptr_mut(key) {
        // SAFETY: the element stays.
        unsafe { add_atomically(number, 1) };
        return true;
    }
    if map.insert(key, 1, BPF_NOEXIST.into()).is_ok() {
        return true;
    }
    // Another CPU may have been faster.
    let Some(number) = map.get_ptr_mut(key) else { return false };
    // SAFETY: the element stays.
    unsafe { add_atomically(number, 1) };
    true
}
