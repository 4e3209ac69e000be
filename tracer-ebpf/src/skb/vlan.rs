//! The VLAN tag that the kernel has removed from a packet's bytes.

use tracer_common::ABSENT;

use crate::config::{at, config};
use crate::memory::Memory;

/// A VLAN tag.
#[derive(Clone, Copy)]
pub(crate) struct VlanTag {
    /// Its `EtherType`, in the host's byte order.
    pub(crate) protocol: u16,
    /// Priority and VLAN id.
    pub(crate) tci: u16,
}

/// The tag beside the bytes (`__vlan_hwaccel_put_tag`, `include/linux/if_vlan.h`). Before 6.2 a bit says whether there is
/// a tag; later the protocol does, which is cleared with the tag.
///
/// # Safety
/// `skb` must be the tracepoint's.
#[inline(always)]
pub(crate) unsafe fn vlan<M: Memory>(skb: *const u8) -> Option<VlanTag> {
    if config!(offsets.skb_vlan_tci) == ABSENT || config!(offsets.skb_vlan_proto) == ABSENT {
        return None;
    }
    // SAFETY: the caller's.
    unsafe {
        if config!(offsets.skb_vlan_present) != ABSENT {
            let flags: u8 = M::field(skb, at!(skb_vlan_present));
            if u32::from(flags) & config!(vlan_present_mask) == 0 {
                return None;
            }
        }
        let protocol = u16::from_be(M::field(skb, at!(skb_vlan_proto)));
        if protocol == 0 { None } else { Some(VlanTag { protocol, tci: M::field(skb, at!(skb_vlan_tci)) }) }
    }
}
