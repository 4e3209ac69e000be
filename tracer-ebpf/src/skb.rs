//! What a dropped `struct sk_buff` tells (`include/linux/skbuff.h`).

use tracer_common::{ABSENT, DropKey, IFNAMSIZ, InterfaceName, START_MAC, START_NETWORK, START_NONE};

use crate::config::{config, kernel_space};
use crate::memory::{Memory, Probe};

/// Buckets of a namespace's hash of interfaces (`NETDEV_HASHBITS`, `include/net/net_namespace.h`).
const NETDEV_HASHENTRIES: u32 = 1 << 8;
/// Interfaces of one bucket that are looked at: enough for four thousand interfaces.
const MAX_CHAIN: u32 = 16;

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
    /// The namespace that `key.netns` is the number of, or NULL.
    net: *const u8,
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
            let mut ifindex = 0;
            let mut net = core::ptr::null();
            if !device.is_null() {
                ifindex = M::load_if_present(device, config!(offsets.dev_ifindex));
                net = M::load_if_present::<usize>(device, config!(offsets.dev_net)) as *const u8;
            }
            if ifindex == 0 {
                ifindex = M::load_if_present(skb, config!(offsets.skb_iif));
            }
            let mut netns;
            if net.is_null() {
                (net, netns) = net_of_socket::<M>(skb, rx_sk);
            } else {
                netns = M::load_if_present(net, config!(offsets.net_inum));
            }
            if net.is_null() && ifindex != 0 {
                (net, netns) = net_of_route::<M>(skb);
            }
            let mut dropped = Self {
                key: DropKey { location, netns, ifindex, reason, protocol, padding: 0 },
                length: 0,
                start: 0,
                start_kind: START_NONE,
                linear: 0,
                device,
                net,
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
            return;
        }
        self.length = length as u32;
        // A paged part that is said to be longer than the packet leaves no linear bytes.
        self.linear = length.saturating_sub(u64::from(data_len));
    }

    /// What a device reports: no layer has pulled anything, the bytes start with the MAC header, and `device`, unless it
    /// is NULL, is the one that the packet came in by. So devlink counts it (`devlink_trap_stats_update`).
    ///
    /// # Safety
    /// `skb` as in [`Dropped::read`]; `device` must be a `struct net_device` or NULL.
    #[inline(always)]
    pub(crate) unsafe fn told_by_device(mut self, skb: *const u8, device: *const u8) -> Self {
        // SAFETY: the helper fails on addresses that cannot be read.
        unsafe {
            self.length = Probe::load(skb, config!(offsets.skb_len));
            self.start = Probe::load(skb, config!(offsets.skb_data));
            self.start_kind = START_MAC;
            let paged: u32 = Probe::load_if_present(skb, config!(offsets.skb_data_len));
            self.linear = u64::from(self.length.saturating_sub(paged));
            if !device.is_null() {
                self.device = device;
                self.key.ifindex = Probe::load_if_present(device, config!(offsets.dev_ifindex));
                self.net = Probe::load_if_present::<usize>(device, config!(offsets.dev_net)) as *const u8;
                self.key.netns = Probe::load_if_present(self.net, config!(offsets.net_inum));
            }
        }
        self
    }

    /// Whether the filters leave it out.
    #[inline(always)]
    pub(crate) fn is_unwanted(&self) -> bool {
        let (netns, ifindex) = (config!(netns), config!(ifindex));
        (netns != 0 && self.key.netns != netns) || (ifindex != 0 && self.key.ifindex != ifindex)
    }

    /// The name of the packet's device; zeros when it has none.
    #[inline(always)]
    pub(crate) fn device_name<M: Memory>(&self) -> InterfaceName {
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

    /// As [`Dropped::device_name`], and for a packet that has lost its device (TCP takes it away) the name of the
    /// interface that it came in by. For rare use: it walks the kernel's list.
    #[inline(always)]
    pub(crate) fn interface_name<M: Memory>(&self) -> InterfaceName {
        let has_index = config!(offsets.net_dev_index_head) != ABSENT && config!(offsets.dev_index_hlist) != ABSENT;
        if self.device.is_null() && has_index && !self.net.is_null() && self.key.ifindex != 0 {
            // SAFETY: `net` is a `struct net`.
            return unsafe { name_by_index(self.net, self.key.ifindex) };
        }
        self.device_name::<M>()
    }
}

/// The name of an interface, by its index within a namespace; zeros when it is gone (`__dev_get_by_index`,
/// `net/core/dev.c`). All reads are by the helper: a list's links have no type.
///
/// # Safety
/// `net` must be a `struct net`.
#[inline(always)]
unsafe fn name_by_index(net: *const u8, ifindex: u32) -> InterfaceName {
    let bucket = (ifindex & (NETDEV_HASHENTRIES - 1)) * size_of::<usize>() as u32;
    // SAFETY: the helper fails on addresses that cannot be read, which ends the walk.
    unsafe {
        let heads: usize = Probe::load(net, config!(offsets.net_dev_index_head));
        let mut link: usize = Probe::load(heads as *const u8, bucket);
        for _ in 0..MAX_CHAIN {
            if link == 0 {
                break;
            }
            let device = link.wrapping_sub(config!(offsets.dev_index_hlist) as usize) as *const u8;
            if Probe::load_if_present::<u32>(device, config!(offsets.dev_ifindex)) == ifindex {
                return Probe::load_if_present(device, config!(offsets.dev_name));
            }
            link = Probe::load(link as *const u8, 0);
        }
    }
    [0; IFNAMSIZ]
}

/// The offset of the word behind the one at `offset`, absent when that is.
#[inline(always)]
const fn second_word(offset: u32) -> u32 {
    if offset == ABSENT { offset } else { offset + 8 }
}

/// NULL for what is not a pointer into the kernel: `skb->dev` and `skb->sk` stand in unions with other things
/// (`dev_scratch`, `ip_defrag_offset`).
#[inline(always)]
fn kernel_pointer(pointer: *const u8) -> *const u8 {
    if (pointer as u64) < kernel_space() { core::ptr::null() } else { pointer }
}

/// The network namespace of the receiving socket, else of the socket that owns the packet; NULL when neither is known.
///
/// Sockets are read through the helper, which fails softly, and never by plain loads: to the verifier `rx_sk` and
/// `skb->sk` are trusted pointers, so loads through them are not fault-tolerant, and from 6.5 on a NULL check of `rx_sk`
/// is deleted as redundant unless the kernel marks the argument as nullable (commit 5da7e15fb5a1).
///
/// # Safety
/// As [`Dropped::read`].
#[inline(always)]
unsafe fn net_of_socket<M: Memory>(skb: *const u8, rx_sk: *const u8) -> (*const u8, u32) {
    let offset = config!(offsets.sock_net);
    if offset == ABSENT {
        return UNKNOWN_NET;
    }
    // SAFETY: the helper fails on addresses that cannot be read; a socket of any kind starts with `struct sock_common`,
    // which holds the namespace.
    unsafe {
        let receiver: u64 = Probe::load(rx_sk, offset);
        if receiver >= kernel_space() {
            return checked_net(receiver);
        }
        let owner = M::load_if_present::<u64>(skb, config!(offsets.skb_sk));
        if owner < kernel_space() { UNKNOWN_NET } else { checked_net(Probe::load(owner as *const u8, offset)) }
    }
}

/// No namespace is known.
const UNKNOWN_NET: (*const u8, u32) = (core::ptr::null(), 0);

/// The namespace at `net` and its inode number; [`UNKNOWN_NET`] where no namespace can be there.
///
/// # Safety
/// The helper fails on addresses that cannot be read; userspace rules it out where the kernel refuses it.
#[inline(always)]
unsafe fn checked_net(net: u64) -> (*const u8, u32) {
    let offset = config!(offsets.net_inum);
    if offset == ABSENT || net < kernel_space() {
        return UNKNOWN_NET;
    }
    // SAFETY: the caller's.
    let number: u32 = unsafe { Probe::load(net as *const u8, offset) };
    if number < LEAST_NAMESPACE_INUM { UNKNOWN_NET } else { (net as *const u8, number) }
}

/// Flags in the lowest bits of `_skb_refdst` (`SKB_DST_NOREF`, `include/linux/skbuff.h`).
const SKB_DST_FLAGS: u64 = 7;
/// The least inode number that a namespace has: the initial namespaces have fixed numbers just below
/// `PROC_DYNAMIC_FIRST` (0xf0000000) on newer kernels (`include/linux/proc_ns.h`, `fs/proc/generic.c`).
const LEAST_NAMESPACE_INUM: u32 = 0xefff_ff00;

/// The network namespace of a received packet's route, and its inode number. For TCP on kernels whose tracepoint has no
/// `rx_sk`.
///
/// # Safety
/// As [`Dropped::read`].
#[inline(always)]
unsafe fn net_of_route<M: Memory>(skb: *const u8) -> (*const u8, u32) {
    if config!(offsets.dst_dev) == ABSENT || config!(offsets.dev_net) == ABSENT {
        return UNKNOWN_NET;
    }
    // SAFETY: as in `read`; the route is a number to the verifier, so what it points to is read by the helper, which
    // fails on addresses that cannot be read. `_skb_refdst` shares its storage with links of lists, which lead to other
    // things: hence the check of the namespace.
    unsafe {
        let route = M::load_if_present::<u64>(skb, config!(offsets.skb_refdst)) & !SKB_DST_FLAGS;
        if route < kernel_space() {
            return UNKNOWN_NET;
        }
        let device: u64 = Probe::load(route as *const u8, config!(offsets.dst_dev));
        checked_net(Probe::load(device as *const u8, config!(offsets.dev_net)))
    }
}
