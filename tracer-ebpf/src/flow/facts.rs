//! The facts of a drop that make its flow.
//!
//! Headers are read, and facts are written, in whole words: this machine reads bytes where it does not know the alignment,
//! and a processor is slow to read a word that has just been written in parts.

use core::mem::offset_of;

use tracer_common::{
    ABSENT, DropFacts, FLOW_DESTINATION, FLOW_DESTINATION_PORT, FLOW_MARK, FLOW_PROCESS, FLOW_SOURCE, FLOW_SOURCE_PORT,
    FLOW_TRANSPORT, FLOW_USER, FlowFacts, KNOWN_ADDRESSES, KNOWN_MARK, KNOWN_PORTS, KNOWN_USER,
};

use crate::config::{at, config};
use crate::guard::Held;
use crate::headers::{self, ETH_P_IP, Headers, TCP};
use crate::memory::{Memory, distance};
use crate::section;

// `IPPROTO_*` (`include/uapi/linux/in.h`).
const UDP: u8 = 17;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
const IPV6_HEADER: u64 = 40;

/// The last two words of [`FlowFacts`].
struct Rest {
    /// The mark; from [`PORTS`] on, both ports in network byte order.
    mark_and_ports: u64,
    /// The version; from [`TRANSPORT`], [`KNOWN`] and [`INODE`] on, what their names say.
    kinds: u64,
}

const PORTS: u32 = bit(offset_of!(FlowFacts, source_port));
const TRANSPORT: u32 = bit(offset_of!(FlowFacts, transport));
const KNOWN: u32 = bit(offset_of!(FlowFacts, known));
const INODE: u32 = bit(offset_of!(FlowFacts, inode));

/// The first bit of a byte in its word.
const fn bit(byte: usize) -> u32 {
    (byte % 8 * 8) as u32
}

const _: () = {
    assert!(offset_of!(FlowFacts, source) == 0 && offset_of!(FlowFacts, destination) == 16);
    assert!(offset_of!(FlowFacts, mark) == 32 && offset_of!(FlowFacts, source_port) == 36);
    assert!(offset_of!(FlowFacts, destination_port) == 38 && offset_of!(FlowFacts, version) == 40);
    assert!(offset_of!(FlowFacts, inode) == 44 && size_of::<FlowFacts>() == 48);
};

/// Keeps the wanted facts of the current drop in [`tracer_common::CpuState::flow`]; all others are 0.
///
/// # Safety
/// `skb` must be the packet of the current drop, or NULL without one.
#[inline(always)]
pub(super) unsafe fn keep<M: Memory>(held: Held, skb: *const u8) {
    let mut rest = Rest { mark_and_ports: 0, kinds: 0 };
    // SAFETY: the state is this CPU's own.
    unsafe {
        let facts = &raw mut (*held.state).flow.facts;
        let addresses = facts.cast::<u64>();
        addresses.cast::<[u64; 4]>().write([0; 4]);
        if wants(FLOW_MARK) && config!(offsets.skb_mark) != ABSENT && !skb.is_null() {
            rest.mark_and_ports = u64::from(M::field::<u32>(skb, at!(skb_mark)));
            rest.kinds = known(KNOWN_MARK);
        }
        if wants(FLOW_PROCESS | FLOW_USER) && !skb.is_null() {
            rest.kinds |= keep_socket::<M>(held, skb);
        }
        if wants(FLOW_SOURCE | FLOW_DESTINATION | FLOW_SOURCE_PORT | FLOW_DESTINATION_PORT | FLOW_TRANSPORT) {
            keep_headers(held, addresses, &mut rest);
        }
        addresses.add(4).write(rest.mark_and_ports);
        addresses.add(5).write(rest.kinds);
    }
}

/// Keeps the facts of [`section::full_socket_of`]. Returns what is to be added to [`Rest::kinds`].
///
/// # Safety
/// As [`keep`], with a packet.
#[inline(never)]
unsafe fn keep_socket<M: Memory>(held: Held, skb: *const u8) -> u64 {
    // SAFETY: the socket is verified; the state is this CPU's own.
    unsafe {
        let Some(socket) = section::full_socket_of::<M>(skb, held.dropped(), held.state) else { return 0 };
        let mut kinds = 0;
        if wants(FLOW_PROCESS) {
            kinds = u64::from(section::inode::<M>(socket) as u32) << INODE;
        }
        if wants(FLOW_USER)
            && let Some(uid) = section::uid::<M>(socket)
        {
            (*held.state).flow.uid = uid;
            kinds |= known(KNOWN_USER);
        }
        kinds
    }
}

/// Keeps the facts in the packet's headers.
///
/// # Safety
/// `addresses` must be the first word of this CPU's own facts.
#[inline(always)]
unsafe fn keep_headers(held: Held, addresses: *mut u64, rest: &mut Rest) {
    // SAFETY: the caller's.
    unsafe {
        let dropped = held.dropped();
        let Some(headers) = headers::read(held.state, dropped) else { return };
        let available = linear(dropped);
        if dropped.key.protocol == ETH_P_IP {
            ipv4(headers, available, addresses, rest);
        } else {
            ipv6(headers, available, addresses, rest);
        }
    }
}

/// Whether one of these facts is wanted.
#[inline(always)]
fn wants(facts: u32) -> bool {
    config!(flows) & facts != 0
}

/// A `KNOWN_*` value in [`Rest::kinds`].
#[inline(always)]
const fn known(fact: u8) -> u64 {
    (fact as u64) << KNOWN
}

/// Bytes of the packet from the network header on that are contiguous.
#[inline(always)]
fn linear(dropped: &DropFacts) -> u64 {
    dropped.linear.saturating_sub(distance(dropped.network, dropped.start))
}

/// The bytes that belong to the packet, of those available: frames are padded to the least length of Ethernet, and drops
/// before the IP layer still have the padding. `length` is the header's own field, in network byte order, to which `header`
/// is to be added; 0 stands for a packet of more than 64 KiB (`net/ipv6/ip6_offload.c`, `iph_totlen` in
/// `include/linux/ip.h`).
#[inline(always)]
fn without_padding(available: u64, header: u64, length: u16) -> u64 {
    let length = u16::from_be(length);
    if length == 0 { available } else { available.min(header + u64::from(length)) }
}

/// # Safety
/// `headers` must be those of [`headers::read`], `addresses` those of this CPU's own facts.
#[inline(always)]
unsafe fn ipv4(headers: Headers, available: u64, addresses: *mut u64, rest: &mut Rest) {
    // SAFETY: the caller's; the header's length is at most 60 bytes, so that the ports end at byte 64.
    unsafe {
        let (first, second): (u64, u64) = (headers.at(0), headers.at(8));
        let length = (first & 0xf) * 4;
        let available = without_padding(available, 0, (first >> 16) as u16);
        if first as u8 >> 4 != 4 || length < 20 || available < length {
            return;
        }
        let transport = (second >> 8) as u8;
        keep_kinds(rest, 4, transport);
        if wants(FLOW_SOURCE) {
            addresses.write(second >> 32);
        }
        if wants(FLOW_DESTINATION) {
            addresses.add(2).write(headers.at::<u32>(16).into());
        }
        // The offset of a fragment, in network byte order.
        let is_first = (first >> 48) & 0xff1f == 0;
        if is_first && has_ports(transport) && available >= length + 4 {
            keep_ports(rest, headers.at(length));
        }
    }
}

/// With extension headers, the ports are unknown.
///
/// # Safety
/// As [`ipv4`].
#[inline(always)]
unsafe fn ipv6(headers: Headers, available: u64, addresses: *mut u64, rest: &mut Rest) {
    // SAFETY: the caller's; all within 48 bytes.
    unsafe {
        let first: u64 = headers.at(0);
        let available = without_padding(available, IPV6_HEADER, (first >> 32) as u16);
        if first as u8 >> 4 != 6 || available < IPV6_HEADER {
            return;
        }
        let transport = (first >> 48) as u8;
        keep_kinds(rest, 6, transport);
        if wants(FLOW_SOURCE) {
            addresses.write(headers.at(8));
            addresses.add(1).write(headers.at(16));
        }
        if wants(FLOW_DESTINATION) {
            addresses.add(2).write(headers.at(24));
            addresses.add(3).write(headers.at(32));
        }
        if has_ports(transport) && available >= IPV6_HEADER + 4 {
            keep_ports(rest, headers.at(IPV6_HEADER));
        }
    }
}

/// Whether the header begins with the ports.
#[inline(always)]
fn has_ports(transport: u8) -> bool {
    matches!(transport, TCP | UDP | DCCP | SCTP | UDP_LITE)
}

/// Keeps that the addresses are known, and the facts of their header.
#[inline(always)]
fn keep_kinds(rest: &mut Rest, version: u8, transport: u8) {
    rest.kinds |= known(KNOWN_ADDRESSES);
    if wants(FLOW_SOURCE | FLOW_DESTINATION) {
        rest.kinds |= u64::from(version);
    }
    if wants(FLOW_TRANSPORT) {
        rest.kinds |= u64::from(transport) << TRANSPORT;
    }
}

/// `ports` are the first bytes of the transport's header, as they are in memory.
#[inline(always)]
fn keep_ports(rest: &mut Rest, ports: u32) {
    rest.kinds |= known(KNOWN_PORTS);
    let mut wanted = 0;
    if wants(FLOW_SOURCE_PORT) {
        wanted |= 0xffff;
    }
    if wants(FLOW_DESTINATION_PORT) {
        wanted |= 0xffff_0000;
    }
    rest.mark_and_ports |= u64::from(ports & wanted) << PORTS;
}
