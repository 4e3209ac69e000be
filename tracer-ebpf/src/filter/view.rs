//! The packet of the current drop, as the code of a filter reads it.
//!
//! VLAN tags are transparent: the network header is the one behind all tags, whether the kernel has removed the tag from
//! the bytes (`skb_vlan_untag`, `net/core/skbuff.c`) or not yet.

use tracer_common::{DropFacts, InterfaceName, KIND_TRAP, PacketView, START_MAC, START_NONE, USER_KNOWN, VLAN_PRESENT};

use crate::config::Bytes;
use crate::guard::{Held, barrier};
use crate::memory::{Memory, Typed};
use crate::section;
use crate::skb::{interface_name, vlan};

/// Bytes of an Ethernet header, and of the addresses that it starts with.
const ETH_HLEN: u64 = 14;
const ETH_ADDRESSES: u64 = 12;
/// Bytes of a VLAN tag with its `EtherType`.
const VLAN_HLEN: u64 = 4;
/// Tags in the bytes of a packet that are skipped at most.
const MOST_TAGS: usize = 2;
const ETH_P_8021Q: u32 = 0x8100;
const ETH_P_8021AD: u32 = 0x88a8;

/// Keeps the packet of the current drop for the filter. `skb` is the packet, or NULL without one.
///
/// # Safety
/// The state must be this CPU's own, and the packet located ([`crate::skb`]).
#[inline(always)]
pub(super) unsafe fn keep<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let to = &raw mut (*held.state).view;
        to.write(located(held.dropped()));
        if !skb.is_null()
            && let Some(tag) = vlan::<M>(skb)
        {
            (*to).vlan = VLAN_PRESENT | u32::from(tag.tci);
        }
        barrier();
        if is_tag((*to).protocol) && (*to).link_length != 0 {
            skip_tags(to);
        }
        barrier();
    }
}

/// Keeps the name of the interface of the current drop for the filter.
///
/// # Safety
/// The state must be this CPU's own; `skb` the packet, or NULL without one.
#[inline(never)]
pub(super) unsafe fn keep_interface<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let name = interface_name::<M>(skb, held.dropped());
        (&raw mut (*held.state).interface).cast::<InterfaceName>().write(name);
        barrier();
    }
}

/// Keeps the user who made the socket of the current drop for the filter.
///
/// # Safety
/// As [`keep_interface`].
#[inline(never)]
pub(super) unsafe fn keep_user<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        (*held.state).user = 0;
        if !skb.is_null()
            && let Some(socket) = section::full_socket_of::<M>(skb, held.dropped(), held.state)
            && let Some(uid) = section::uid::<M>(socket)
        {
            (*held.state).user = USER_KNOWN | u64::from(uid);
        }
        barrier();
    }
}

/// The headers where the kernel has them.
#[inline(always)]
fn located(dropped: &DropFacts) -> PacketView {
    let DropFacts { start, linear, start_kind, mut network, key, .. } = *dropped;
    if key.kind == KIND_TRAP && network == 0 {
        network = start.wrapping_add(ETH_HLEN);
    }
    let distance = network.wrapping_sub(start);
    let is_known = start_kind != START_NONE && network != 0 && distance <= linear;
    let is_ethernet = is_known && start_kind == START_MAC && distance >= ETH_HLEN;
    PacketView {
        link: start,
        link_length: if is_ethernet { linear } else { 0 },
        network,
        network_length: if is_known { linear.wrapping_sub(distance) } else { 0 },
        protocol: key.protocol.into(),
        vlan: 0,
    }
}

#[inline(always)]
const fn is_tag(protocol: u32) -> bool {
    protocol == ETH_P_8021Q || protocol == ETH_P_8021AD
}

/// Moves the network header behind the tags that are still in the bytes.
///
/// # Safety
/// `view` must be this CPU's own.
#[inline(always)]
unsafe fn skip_tags(view: *mut PacketView) {
    let mut distance = ETH_ADDRESSES;
    // SAFETY: the caller's.
    unsafe {
        for _ in 0..MOST_TAGS {
            let whole = distance + VLAN_HLEN + ETH_HLEN - ETH_ADDRESSES;
            if (*view).link_length < whole || !is_tag(number(view, distance)) {
                break;
            }
            if (*view).vlan == 0 {
                (*view).vlan = VLAN_PRESENT | number(view, distance + 2);
            }
            distance += VLAN_HLEN;
            (*view).protocol = number(view, distance);
            (*view).network = (*view).link.wrapping_add(whole);
            (*view).network_length = (*view).link_length.wrapping_sub(whole);
            barrier();
        }
    }
}

/// Two bytes at a distance from the Ethernet header.
///
/// # Safety
/// `view` must be this CPU's own.
#[inline(always)]
unsafe fn number(view: *const PacketView, distance: u64) -> u32 {
    // SAFETY: the caller's; bytes that cannot be read are 0.
    unsafe { u16::from_be(Typed::chase((*view).link.wrapping_add(distance), Bytes::<0>)).into() }
}
