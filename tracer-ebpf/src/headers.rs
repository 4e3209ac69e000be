//! The network and transport headers of a packet.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{BYTES_NONE, CpuState, DropFacts, READ_CAST, SCRATCH_LEN};

use crate::config::{Bytes, config};
use crate::memory::{Memory, Typed};

pub(crate) const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Reads [`SCRATCH_LEN`] bytes, in whole words, from the network header on, whether they are the packet's or not. `None` if the packet is
/// not IP, or the helper cannot read it; casts read zeros then.
///
/// # Safety
/// `state` must be the element of `CPU_STATE`; the packet must be located ([`crate::skb`]).
#[inline(always)]
pub(crate) unsafe fn read(state: *mut CpuState, dropped: &DropFacts) -> Option<*const u64> {
    let protocol = dropped.key.protocol;
    if config!(bytes) == BYTES_NONE || dropped.network == 0 || (protocol != ETH_P_IP && protocol != ETH_P_IPV6) {
        return None;
    }
    // SAFETY: the scratch is this CPU's own.
    unsafe {
        let header = (&raw mut (*state).scratch).cast::<u64>();
        if config!(reads) == READ_CAST {
            for word in 0..SCRATCH_LEN / 8 {
                let address = dropped.network.wrapping_add(word as u64 * 8);
                header.add(word).write(Typed::chase(address, Bytes::<0>));
            }
        } else if bpf_probe_read_kernel(header.cast(), SCRATCH_LEN as u32, dropped.network as *const _) != 0 {
            return None;
        }
        Some(header)
    }
}
