//! Counts drops by flow, beside the counts by aggregation key.

use tracer_common::{
    ABSENT, DropFacts, FLOW_DESTINATION, FLOW_DESTINATION_PORT, FLOW_MARK, FLOW_PROCESS, FLOW_SOURCE, FLOW_SOURCE_PORT,
    FLOW_TABLES, FLOW_TRANSPORT, FLOW_USER, FLOW_WAYS, FlowCount, FlowFacts, FlowRow, FlowSlot, FlowWords,
    KNOWN_ADDRESSES, KNOWN_MARK, KNOWN_PORTS, KNOWN_USER, SOCKET_RECEIVER, flow_hash, flow_set,
};

use crate::config::{at, config};
use crate::guard::{Held, barrier};
use crate::headers::{self, ETH_P_IP};
use crate::maps::FLOW_SLOTS;
use crate::memory::{Memory, distance};
use crate::section;
use crate::skb::is_kernel;

// `IPPROTO_*` (`include/uapi/linux/in.h`).
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
const IPV6_HEADER: u64 = 40;

/// Counts the current drop by its flow. `skb` is the packet, or NULL without one.
#[inline(never)]
pub(crate) fn count<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the elements are this CPU's own; `flow_set` is less than the number of slots.
    unsafe {
        let row = &raw mut (*held.state).flow;
        // The hash and the user.
        row.cast::<u64>().write(0);
        (*row).drop = held.dropped().key;
        keep_facts::<M>(held, skb);
        barrier();
        let hash = flow_hash(&words(row));
        (*row).hash = hash as u32;
        let (table, set) = flow_set(hash);
        let Some(table) = FLOW_SLOTS.get_ptr_mut(held.generation() * FLOW_TABLES + table) else { return };
        let slot = slot_for((&raw mut (*table).slots).cast::<FlowSlot>().add(set), row);
        let count = &raw mut (*slot).count;
        let now = (*held.state).ticks as u32;
        if (*count).packets == 0 || !is(&raw const (*slot).row, row) {
            let displaced = (*count).packets;
            count.write(FlowCount { packets: displaced, displaced, bytes: 0, first_ticks: now, last_ticks: now });
            (*slot).row = *row;
        }
        (*count).packets += 1;
        (*count).bytes += u64::from(held.dropped().length);
        (*count).last_ticks = now;
    }
}

/// The slot of a row in its set: its own, else a free one, else the one with the fewest drops.
///
/// # Safety
/// `set` must be the first slot of a set of this CPU.
#[inline(always)]
unsafe fn slot_for(set: *mut FlowSlot, row: *const FlowRow) -> *mut FlowSlot {
    // SAFETY: the caller's.
    unsafe {
        let mut least = set;
        for way in 0..FLOW_WAYS {
            let slot = set.add(way);
            // The slots are filled one after the other, so that the row is in none behind a free one.
            if (*slot).count.packets == 0 || is(&raw const (*slot).row, row) {
                return slot;
            }
            if (*slot).count.packets < (*least).count.packets {
                least = slot;
            }
        }
        least
    }
}

/// # Safety
/// Both must be valid.
#[inline(always)]
unsafe fn is(row: *const FlowRow, wanted: *const FlowRow) -> bool {
    // SAFETY: the caller's.
    let (row, wanted) = unsafe {
        if (*row).hash != (*wanted).hash {
            return false;
        }
        (words(row), words(wanted))
    };
    (0..row.len()).fold(0, |differ, at| differ | (row[at] ^ wanted[at])) == 0
}

/// # Safety
/// `row` must be valid.
#[inline(always)]
unsafe fn words(row: *const FlowRow) -> FlowWords {
    let words = row.cast::<u64>();
    // SAFETY: the caller's; a row is whole words, aligned as such, without holes.
    core::array::from_fn(|at| unsafe { words.add(at).read() })
}

/// Keeps the wanted facts of the current drop; all others are 0.
///
/// # Safety
/// `skb` must be the packet of the current drop, or NULL without one.
#[inline(always)]
unsafe fn keep_facts<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the state is this CPU's own.
    unsafe {
        let facts = &raw mut (*held.state).flow.facts;
        facts.cast::<[u64; size_of::<FlowFacts>() / 8]>().write([0; size_of::<FlowFacts>() / 8]);
        if wants(FLOW_MARK) && config!(offsets.skb_mark) != ABSENT && !skb.is_null() {
            (*facts).mark = M::field(skb, at!(skb_mark));
            (*facts).known = KNOWN_MARK;
        }
        if wants(FLOW_PROCESS | FLOW_USER) && !skb.is_null() {
            keep_socket::<M>(held, skb);
        }
        if !wants(FLOW_SOURCE | FLOW_DESTINATION | FLOW_SOURCE_PORT | FLOW_DESTINATION_PORT | FLOW_TRANSPORT) {
            return;
        }
        let dropped = held.dropped();
        let Some(header) = headers::read(held.state, dropped) else { return };
        let available = linear(dropped);
        if dropped.key.protocol == ETH_P_IP {
            ipv4(facts, header, available);
        } else {
            ipv6(facts, header, available);
        }
    }
}

/// Keeps the facts of the socket: of the receiver, if the kernel reports it, else of the socket to which the packet
/// belongs. A connection that is being opened has those of its listener, as in [`crate::skb`].
///
/// # Safety
/// As [`keep_facts`], with a packet.
#[inline(never)]
unsafe fn keep_socket<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the socket is verified; the state is this CPU's own.
    unsafe {
        let dropped = held.dropped();
        let (socket, role) = section::socket_of::<M>(skb, dropped, held.state);
        // A receiver that cannot be read is not the socket that the packet came from.
        if socket.net.id == 0 || (role != SOCKET_RECEIVER && is_kernel(dropped.receiver)) {
            return;
        }
        let socket = socket.or_listener::<M>(held.state);
        if socket.net.id == 0 || !socket.is_full::<M>() {
            return;
        }
        let row = &raw mut (*held.state).flow;
        if wants(FLOW_PROCESS) {
            (*row).facts.inode = section::inode::<M>(socket.pointer) as u32;
        }
        if wants(FLOW_USER)
            && let Some(uid) = section::uid::<M>(socket.pointer)
        {
            (*row).uid = uid;
            (*row).facts.known |= KNOWN_USER;
        }
    }
}

/// Whether one of these facts is wanted.
#[inline(always)]
fn wants(facts: u32) -> bool {
    config!(flows) & facts != 0
}

/// Bytes of the packet from the network header on that are contiguous.
#[inline(always)]
fn linear(dropped: &DropFacts) -> u64 {
    dropped.linear.saturating_sub(distance(dropped.network, dropped.start))
}

/// The bytes that belong to the packet, of those available: frames are padded to the least length of Ethernet, and drops
/// before the IP layer still have the padding. `length` is the header's own field, to which `header` is to be added; 0 stands
/// for a packet of more than 64 KiB (`net/ipv6/ip6_offload.c`, `iph_totlen` in `include/linux/ip.h`).
///
/// # Safety
/// `length` must be valid.
#[inline(always)]
unsafe fn without_padding(available: u64, header: u64, length: *const u8) -> u64 {
    // SAFETY: the caller's.
    let length = u16::from_be(unsafe { length.cast::<u16>().read_unaligned() });
    if length == 0 { available } else { available.min(header + u64::from(length)) }
}

/// # Safety
/// `header` must be that of [`headers::read`], `facts` this CPU's own.
#[inline(always)]
unsafe fn ipv4(facts: *mut FlowFacts, header: *const u8, available: u64) {
    // SAFETY: the caller's; the header's length is at most 60 bytes, so that the ports end at byte 64.
    unsafe {
        let first = header.read();
        let length = usize::from(first & 0xf) * 4;
        let available = without_padding(available, 0, header.add(2));
        if first >> 4 != 4 || length < 20 || available < length as u64 {
            return;
        }
        let transport = header.add(9).read();
        let source = header.add(12).cast::<u32>().read_unaligned();
        let destination = header.add(16).cast::<u32>().read_unaligned();
        addresses(facts, 4, transport, [source.into(), 0], [destination.into(), 0]);
        let is_first = (header.add(6).cast::<u16>().read_unaligned() & 0xff1f) == 0;
        if is_first && has_ports(transport) && available >= length as u64 + 4 {
            ports(facts, header.add(length));
        }
    }
}

/// With extension headers, the ports are unknown.
///
/// # Safety
/// As [`ipv4`].
#[inline(always)]
unsafe fn ipv6(facts: *mut FlowFacts, header: *const u8, available: u64) {
    // SAFETY: the caller's; all within 44 bytes.
    unsafe {
        let available = without_padding(available, IPV6_HEADER, header.add(4));
        if header.read() >> 4 != 6 || available < IPV6_HEADER {
            return;
        }
        let word = |at: usize| header.add(at).cast::<u64>().read_unaligned();
        let transport = header.add(6).read();
        addresses(facts, 6, transport, [word(8), word(16)], [word(24), word(32)]);
        if has_ports(transport) && available >= IPV6_HEADER + 4 {
            ports(facts, header.add(IPV6_HEADER as usize));
        }
    }
}

/// Whether the header begins with the ports.
#[inline(always)]
fn has_ports(transport: u8) -> bool {
    matches!(transport, TCP | UDP | DCCP | SCTP | UDP_LITE)
}

/// # Safety
/// `facts` must be this CPU's own.
#[inline(always)]
unsafe fn addresses(facts: *mut FlowFacts, version: u8, transport: u8, source: [u64; 2], destination: [u64; 2]) {
    // SAFETY: the caller's.
    unsafe {
        (*facts).known |= KNOWN_ADDRESSES;
        if wants(FLOW_SOURCE | FLOW_DESTINATION) {
            (*facts).version = version;
        }
        if wants(FLOW_TRANSPORT) {
            (*facts).transport = transport;
        }
        if wants(FLOW_SOURCE) {
            (*facts).source = source;
        }
        if wants(FLOW_DESTINATION) {
            (*facts).destination = destination;
        }
    }
}

/// # Safety
/// As [`addresses`]; `header` must have four bytes.
#[inline(always)]
unsafe fn ports(facts: *mut FlowFacts, header: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        (*facts).known |= KNOWN_PORTS;
        if wants(FLOW_SOURCE_PORT) {
            (*facts).source_port = header.cast::<u16>().read_unaligned();
        }
        if wants(FLOW_DESTINATION_PORT) {
            (*facts).destination_port = header.add(2).cast::<u16>().read_unaligned();
        }
    }
}
