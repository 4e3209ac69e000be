//! The length of a packet, and the positions of its headers.

use tracer_common::{DropFacts, START_MAC, START_NETWORK, START_NONE};

use crate::config::at;
use crate::memory::{Memory, beyond, distance};

/// `mac_header` while it is not set.
const MAC_HEADER_UNSET: u16 = 0xffff;

/// Computes the length from the first header on: `len` alone lacks the headers that the layers have pulled.
///
/// # Safety
/// `to` must be this CPU's own; `skb` the tracepoint's.
#[inline(always)]
pub(super) unsafe fn measure<M: Memory>(to: *mut DropFacts, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let mac: u16 = M::field(skb, at!(skb_mac_header));
        let network: u16 = M::field(skb, at!(skb_network_header));
        let mut length: u32 = M::field(skb, at!(skb_len));
        let offset = if mac == MAC_HEADER_UNSET { network } else { mac };
        // Without either header the start of the bytes is unknown.
        if mac != MAC_HEADER_UNSET || network != 0 {
            let whole = reach::<M>(skb, beyond(M::field(skb, at!(skb_head)), offset.into()), length);
            if whole >> u32::BITS == 0 {
                length = whole as u32;
            }
        }
        (*to).length = length;
    }
}

/// Bytes from `start` to the packet's end, whose `len` starts at `data`. The number exceeds 32 bits if a header offset
/// is left from an outer packet and lies beyond the data.
///
/// # Safety
/// `skb` must be the tracepoint's.
#[inline(always)]
unsafe fn reach<M: Memory>(skb: *const u8, start: u64, len: u32) -> u64 {
    // SAFETY: the caller's.
    unsafe { u64::from(len).wrapping_add(distance(M::field(skb, at!(skb_data)), start)) }
}

/// Finds the headers and the linear bytes of a packet that is [`measure`]d; only records, flows and filters need them.
///
/// # Safety
/// As [`measure`].
#[inline(always)]
pub(super) unsafe fn locate<M: Memory>(to: *mut DropFacts, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let head: u64 = M::field(skb, at!(skb_head));
        let mac: u16 = M::field(skb, at!(skb_mac_header));
        let network: u16 = M::field(skb, at!(skb_network_header));
        let (kind, offset) = if mac != MAC_HEADER_UNSET {
            (START_MAC, mac)
        } else if network != 0 {
            (START_NETWORK, network)
        } else {
            (START_NONE, 0)
        };
        let start = beyond(head, offset.into());
        let whole = reach::<M>(skb, start, M::field(skb, at!(skb_len)));
        let is_whole = kind != START_NONE && whole >> u32::BITS == 0;
        (*to).start_kind = kind;
        (*to).start = if kind == START_NONE { 0 } else { start };
        (*to).network = if network == 0 { 0 } else { beyond(head, network.into()) };
        // A paged part that claims to be longer than the packet leaves no linear bytes.
        let paged: u32 = M::field(skb, at!(skb_data_len));
        (*to).linear = if is_whole { (*to).length.saturating_sub(paged).into() } else { 0 };
    }
}
