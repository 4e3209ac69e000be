//! How long a packet was, and where its headers are.

use tracer_common::{START_MAC, START_NETWORK};

use super::Dropped;
use crate::config::config;
use crate::memory::Memory;

/// `mac_header` while it is not set.
const MAC_HEADER_UNSET: u16 = 0xffff;

impl Dropped {
    /// Finds the first header and the length from there on: `len` alone misses what the layers have pulled.
    ///
    /// # Safety
    /// As [`Dropped::read`].
    #[inline(always)]
    pub(super) unsafe fn measure<M: Memory>(&mut self, skb: *const u8) {
        // SAFETY: as in `read`.
        let (len, data_len, data, head, mac, network) = unsafe {
            (
                M::field::<u32>(skb, config!(offsets.skb_len)),
                M::field_if_present::<u32>(skb, config!(offsets.skb_data_len)),
                M::field::<u64>(skb, config!(offsets.skb_data)),
                M::field::<u64>(skb, config!(offsets.skb_head)),
                M::field::<u16>(skb, config!(offsets.skb_mac_header)),
                M::field::<u16>(skb, config!(offsets.skb_network_header)),
            )
        };
        self.length = len;
        if network != 0 {
            self.network = head + u64::from(network);
        }
        let offset = if mac != MAC_HEADER_UNSET {
            self.start_kind = START_MAC;
            mac
        } else if network != 0 {
            self.start_kind = START_NETWORK;
            network
        } else {
            return;
        };
        self.start = head + u64::from(offset);
        let pulled = data.wrapping_sub(self.start);
        let length = u64::from(len).wrapping_add(pulled);
        // A header offset that was left over from an outer packet may lie beyond the data.
        if length > u64::from(u32::MAX) {
            return;
        }
        self.length = length as u32;
        // A paged part that is said to be longer than the packet leaves no linear bytes.
        self.linear = length.saturating_sub(u64::from(data_len));
    }
}
