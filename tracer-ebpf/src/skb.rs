//! What a dropped `struct sk_buff` tells (`include/linux/skbuff.h`).

use tracer_common::{DropKey, IFNAMSIZ, InterfaceName, START_MAC, START_NETWORK, START_NONE};

use crate::config::{config, kernel_space};
use crate::memory::Memory;

/// `mac_header` while it is not set.
const MAC_HEADER_UNSET: u16 = 0xffff;

/// A dropped packet.
pub(crate) struct Dropped {
    pub(crate) key: DropKey,
    /// Bytes from `start` on.
    pub(crate) length: u32,
    /// Address of the first header that is set, and which one that is.
    pub(crate) start: u64,
    pub(crate) start_kind: u8,
    /// Bytes from `start` on that lie in one piece.
    pub(crate) linear: u64,
    /// The packet's `struct net_device`, or NULL.
    device: *const u8,
}

impl Dropped {
    /// Reads what accounting needs.
    ///
    /// # Safety
    /// `skb` must be the tracepoint's first argument, `rx_sk` its fourth or NULL.
    #[inline(always)]
    pub(crate) unsafe fn read<M: Memory>(skb: *const u8, location: u64, reason: u32, rx_sk: *const u8) -> Self {
        // SAFETY: offsets are of the structures that the pointers point to, as BTF has it.
        unsafe {
            let protocol = u16::from_be(M::load(skb, config!(offsets.skb_protocol)));
            let device = kernel_pointer(M::load_if_present::<usize>(skb, config!(offsets.skb_dev)) as *const u8);
            let (mut ifindex, mut netns) = (0, 0);
            if !device.is_null() {
                ifindex = M::load_if_present(device, config!(offsets.dev_ifindex));
                netns = netns_of::<M>(device, config!(offsets.dev_net));
            }
            if ifindex == 0 {
                ifindex = M::load_if_present(skb, config!(offsets.skb_iif));
            }
            if netns == 0 {
                netns = netns_of_socket::<M>(skb, rx_sk);
            }
            let mut dropped = Self {
                key: DropKey { location, netns, ifindex, reason, protocol, padding: 0 },
                length: 0,
                start: 0,
                start_kind: START_NONE,
                linear: 0,
                device,
            };
            dropped.measure::<M>(skb);
            dropped
        }
    }

    /// Finds the first header and the length from there on: `len` alone misses what the layers have pulled.
    ///
    /// # Safety
    /// As [`Dropped::read`].
    #[inline(always)]
    unsafe fn measure<M: Memory>(&mut self, skb: *const u8) {
        // SAFETY: as in `read`.
        let (len, data_len, data, head, mac, network) = unsafe {
            (
                M::load::<u32>(skb, config!(offsets.skb_len)),
                M::load_if_present::<u32>(skb, config!(offsets.skb_data_len)),
                M::load::<u64>(skb, config!(offsets.skb_data)),
                M::load::<u64>(skb, config!(offsets.skb_head)),
                M::load::<u16>(skb, config!(offsets.skb_mac_header)),
                M::load::<u16>(skb, config!(offsets.skb_network_header)),
            )
        };
        self.length = len;
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
            self.start_kind = START_NONE;
            return;
        }
        self.length = length as u32;
        self.linear = length.wrapping_sub(u64::from(data_len));
    }

    /// The name of the packet's interface; zeros when it has none.
    #[inline(always)]
    pub(crate) fn interface_name<M: Memory>(&self) -> InterfaceName {
        let mut name = [0; IFNAMSIZ];
        if !self.device.is_null() {
            let offset = config!(offsets.dev_name);
            // SAFETY: `net_device.name` is an array of `IFNAMSIZ` bytes; two words are as good as sixteen bytes.
            let words = unsafe {
                [
                    M::load_if_present::<u64>(self.device, offset),
                    M::load_if_present::<u64>(self.device, second_word(offset)),
                ]
            };
            name[..8].copy_from_slice(&words[0].to_ne_bytes());
            name[8..].copy_from_slice(&words[1].to_ne_bytes());
        }
        name
    }
}

/// The offset of the word behind the one at `offset`, absent when that is.
#[inline(always)]
const fn second_word(offset: u32) -> u32 {
    if offset == tracer_common::ABSENT { offset } else { offset + 8 }
}

/// NULL for what is not a pointer into the kernel: `skb->dev` and `skb->sk` stand in unions with other things
/// (`dev_scratch`, `ip_defrag_offset`).
#[inline(always)]
fn kernel_pointer(pointer: *const u8) -> *const u8 {
    if (pointer as u64) < kernel_space() { core::ptr::null() } else { pointer }
}

/// Inode number of the namespace whose `struct net` is at `offset` from `base`; 0 when there is none.
///
/// # Safety
/// `base` must be a `struct net_device` or `struct sock`, and `offset` of that structure.
#[inline(always)]
unsafe fn netns_of<M: Memory>(base: *const u8, offset: u32) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        let net = M::load_if_present::<usize>(base, offset) as *const u8;
        if net.is_null() { 0 } else { M::load_if_present(net, config!(offsets.net_inum)) }
    }
}

/// The namespace of the socket that was to receive the packet, else of the one that sent it.
///
/// # Safety
/// As [`Dropped::read`].
#[inline(always)]
unsafe fn netns_of_socket<M: Memory>(skb: *const u8, rx_sk: *const u8) -> u32 {
    let offset = config!(offsets.sock_net);
    // SAFETY: as in `read`; a socket of any kind starts with `struct sock_common`, which has the namespace.
    unsafe {
        if !rx_sk.is_null() {
            return netns_of::<M>(rx_sk, offset);
        }
        let sk = kernel_pointer(M::load_if_present::<usize>(skb, config!(offsets.skb_sk)) as *const u8);
        if sk.is_null() { 0 } else { netns_of::<M>(sk, offset) }
    }
}
