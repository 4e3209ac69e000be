//! The network and transport headers of a packet.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_common::{BYTES_NONE, CpuState, DropFacts, READ_CAST, SCRATCH_LEN};

use crate::config::{Bytes, config};
use crate::memory::{Memory, Typed};

pub(crate) const ETH_P_IP: u16 = 0x0800;
pub(crate) const ETH_P_IPV6: u16 = 0x86dd;
/// `IPPROTO_TCP` (`include/uapi/linux/in.h`).
pub(crate) const TCP: u8 = 6;

/// The bytes of a packet from its network header on.
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    /// The address of the network header.
    network: u64,
    /// A copy of [`SCRATCH_LEN`] bytes, where the kernel has no casts.
    copy: *const u8,
}

impl Headers {
    /// The number at `offset` bytes from the network header, which with its size must be within [`SCRATCH_LEN`], as it is
    /// in memory. It is read whether the bytes are the packet's or not, and is 0 if a cast cannot read it.
    ///
    /// # Safety
    /// `T` must be a plain number.
    #[inline(always)]
    pub(crate) unsafe fn at<T: Copy + Default>(self, offset: u64) -> T {
        // SAFETY: the caller's; the copy is that long.
        unsafe {
            if config!(reads) == READ_CAST {
                Typed::chase(self.network.wrapping_add(offset), Bytes::<0>)
            } else {
                self.copy.add(offset as usize).cast::<T>().read()
            }
        }
    }
}

/// The headers of a packet. `None` if the packet is not IP, or the helper cannot read it.
///
/// # Safety
/// `state` must be the element of `CPU_STATE`; the packet must be located ([`crate::skb`]).
#[inline(always)]
pub(crate) unsafe fn read(state: *mut CpuState, dropped: &DropFacts) -> Option<Headers> {
    let (protocol, network) = (dropped.key.protocol, dropped.network);
    if config!(bytes) == BYTES_NONE || network == 0 || (protocol != ETH_P_IP && protocol != ETH_P_IPV6) {
        return None;
    }
    // SAFETY: the scratch is this CPU's own.
    unsafe {
        let copy = (&raw mut (*state).scratch).cast::<u8>();
        if config!(reads) != READ_CAST
            && bpf_probe_read_kernel(copy.cast(), SCRATCH_LEN as u32, network as *const _) != 0
        {
            return None;
        }
        Some(Headers { network, copy })
    }
}
