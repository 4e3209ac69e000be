//! How long a packet was, and where its headers are.

use tracer_common::{DropFacts, START_MAC, START_NETWORK, START_NONE};

use crate::config::{at, config};
use crate::memory::{Memory, beyond, distance};

/// `mac_header` while it is not set.
const MAC_HEADER_UNSET: u16 = 0xffff;

/// Finds the first header and the length from there on: `len` alone misses what the layers have pulled. Where the headers
/// are is for records alone.
///
/// # Safety
/// `to` must be this CPU's own; `skb` the tracepoint's.
#[inline(always)]
pub(super) unsafe fn measure<M: Memory>(to: *mut DropFacts, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let head: u64 = M::field(skb, at!(skb_head));
        let mac: u16 = M::field(skb, at!(skb_mac_header));
        let network: u16 = M::field(skb, at!(skb_network_header));
        let len: u32 = M::field(skb, at!(skb_len));
        let (kind, offset) = if mac != MAC_HEADER_UNSET {
            (START_MAC, mac)
        } else if network != 0 {
            (START_NETWORK, network)
        } else {
            (START_NONE, 0)
        };
        let start = beyond(head, offset.into());
        let pulled = distance(M::field(skb, at!(skb_data)), start);
        let whole = u64::from(len).wrapping_add(pulled);
        // A header offset that was left over from an outer packet may lie beyond the data.
        let is_whole = kind != START_NONE && whole >> u32::BITS == 0;
        let length = if is_whole { whole as u32 } else { len };
        (*to).length = length;
        if config!(events) == 0 {
            return;
        }
        (*to).start_kind = kind;
        (*to).start = if kind == START_NONE { 0 } else { start };
        (*to).network = if network == 0 { 0 } else { beyond(head, network.into()) };
        // A paged part that is said to be longer than the packet leaves no linear bytes.
        let paged: u32 = M::field(skb, at!(skb_data_len));
        (*to).linear = if is_whole { length.saturating_sub(paged).into() } else { 0 };
    }
}
