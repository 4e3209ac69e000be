//! Whose packet it was: network namespace, device, interface.
//!
//! `skb->dev` shares its storage with `dev_scratch` (UDP's receive queue) and with a link of the tree that TCP keeps its
//! out-of-order segments in and IP its fragments; `skb->sk` with `ip_defrag_offset`; `_skb_refdst` with a list's links. So
//! nothing that is read there is believed until it leads to a network namespace, which is recognised by a pointer that all
//! network namespaces have and nothing else has at that offset: `net->ns.ops`.

use tracer_common::ABSENT;

use super::is_kernel;
use crate::config::config;
use crate::memory::Memory;

/// Flags in the lowest bits of `_skb_refdst` (`SKB_DST_NOREF`, `include/linux/skbuff.h`).
const SKB_DST_FLAGS: u64 = 7;
/// The least inode number that a namespace has: the initial namespaces have fixed numbers just below
/// `PROC_DYNAMIC_FIRST` (0xf0000000) on newer kernels (`include/linux/proc_ns.h`, `fs/proc/generic.c`).
const LEAST_INUM: u32 = 0xefff_ff00;
/// Interface indices are positive `int`s.
const MOST_IFINDEX: u32 = i32::MAX as u32;

/// A network namespace.
#[derive(Clone, Copy)]
pub(crate) struct Net {
    /// `struct net`, or NULL when it is unknown.
    pub(crate) pointer: *const u8,
    /// As [`tracer_common::DropKey::netns`].
    pub(crate) id: u64,
    /// Its inode number.
    pub(crate) inum: u32,
}

impl Net {
    pub(crate) const UNKNOWN: Self = Self { pointer: core::ptr::null(), id: 0, inum: 0 };

    /// The namespace at `pointer`, if one is there.
    ///
    /// # Safety
    /// `pointer` must come from [`Memory::root`] or [`Memory::load`].
    #[inline(always)]
    unsafe fn at<M: Memory>(pointer: *const u8, ops: u64) -> Self {
        if !is_kernel(pointer as u64) {
            return Self::UNKNOWN;
        }
        // SAFETY: the caller's.
        unsafe {
            let inum: u32 = M::load(pointer, config!(offsets.net_inum));
            let id = if config!(offsets.net_cookie) == ABSENT {
                u64::from(inum)
            } else {
                M::load(pointer, config!(offsets.net_cookie))
            };
            let found: usize = M::load(pointer, config!(offsets.net_ops));
            let is_other = ops != 0 && found as u64 != ops;
            if is_other || inum < LEAST_INUM || id == 0 { Self::UNKNOWN } else { Self { pointer, id, inum } }
        }
    }
}

/// A network device.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    /// `struct net_device`, or NULL when it is unknown.
    pub(crate) pointer: *const u8,
    /// 0 when it is unknown.
    pub(crate) ifindex: u32,
    /// Its namespace.
    pub(crate) net: Net,
}

impl Device {
    pub(crate) const UNKNOWN: Self = Self { pointer: core::ptr::null(), ifindex: 0, net: Net::UNKNOWN };

    /// The device at `pointer`, if one is there: it must lead to a network namespace.
    ///
    /// # Safety
    /// `pointer` is any number.
    #[inline(always)]
    pub(crate) unsafe fn at<M: Memory>(pointer: *const u8, ops: u64) -> Self {
        if !is_kernel(pointer as u64) {
            return Self::UNKNOWN;
        }
        let pointer = M::root(pointer, config!(types.net_device));
        // SAFETY: the pointer is a root.
        unsafe {
            let ifindex: u32 = M::load(pointer, config!(offsets.dev_ifindex));
            let net = Net::at::<M>(M::load::<usize>(pointer, config!(offsets.dev_net)) as *const u8, ops);
            if net.id == 0 || ifindex == 0 || ifindex > MOST_IFINDEX {
                return Self::UNKNOWN;
            }
            Self { pointer, ifindex, net }
        }
    }
}

/// All that is known of whose packet it was.
pub(super) struct Owner {
    pub(super) net: Net,
    pub(super) device: Device,
    /// 0 when there is no interface or it is unknown.
    pub(super) ifindex: u32,
    /// Address family of the socket of a packet without a device; 0 when there is none.
    pub(super) family: u16,
}

impl Owner {
    /// Reads it in the order of trust: the receiving socket, the device, the socket that owns the packet, the route.
    ///
    /// # Safety
    /// As [`super::Dropped::read`].
    #[inline(always)]
    pub(super) unsafe fn read<M: Memory>(skb: *const u8, rx_sk: *const u8, ops: u64) -> Self {
        // SAFETY: what is read out of the packet is proved before it is believed.
        unsafe {
            let (mut net, mut family) = (Net::UNKNOWN, 0);
            if is_kernel(rx_sk as u64) {
                (net, family) = of_socket::<M>(rx_sk, ops);
            }
            let device = Device::at::<M>(M::field_if_present::<usize>(skb, config!(offsets.skb_dev)) as *const u8, ops);
            if device.ifindex != 0 && (net.id == 0 || net.id == device.net.id) {
                return Self { net: device.net, device, ifindex: device.ifindex, family: 0 };
            }
            let came_by: u32 = M::field_if_present(skb, config!(offsets.skb_iif));
            if device.ifindex != 0 {
                // The socket's namespace is not the device's: neither index belongs to it.
                return Self { net, device: Device::UNKNOWN, ifindex: 0, family };
            }
            if net.id == 0 {
                let owner = M::field_if_present::<usize>(skb, config!(offsets.skb_sk)) as *const u8;
                if is_kernel(owner as u64) {
                    (net, family) = of_socket::<M>(owner, ops);
                }
            }
            if net.id == 0 {
                net = of_route::<M>(skb, ops);
            }
            let ifindex = if came_by > MOST_IFINDEX { 0 } else { came_by };
            Self { net, device, ifindex, family }
        }
    }
}

/// Namespace and address family of a socket. Sockets of any kind, mini sockets too, start with `struct sock_common`,
/// which has both.
///
/// # Safety
/// `socket` is any number.
#[inline(always)]
unsafe fn of_socket<M: Memory>(socket: *const u8, ops: u64) -> (Net, u16) {
    let socket = M::root(socket, config!(types.sock));
    // SAFETY: the pointer is a root.
    unsafe {
        let net = Net::at::<M>(M::load::<usize>(socket, config!(offsets.sock_net)) as *const u8, ops);
        let family = if net.id == 0 { 0 } else { M::load(socket, config!(offsets.sock_family)) };
        (net, family)
    }
}

/// The namespace of a received packet's route: of TCP on kernels whose tracepoint has no `rx_sk`, for example.
///
/// # Safety
/// As [`super::Dropped::read`].
#[inline(always)]
unsafe fn of_route<M: Memory>(skb: *const u8, ops: u64) -> Net {
    if config!(offsets.dst_dev) == ABSENT || config!(offsets.dev_net) == ABSENT {
        return Net::UNKNOWN;
    }
    // SAFETY: each step is proved by the namespace that it must lead to.
    unsafe {
        let route = M::field_if_present::<u64>(skb, config!(offsets.skb_refdst)) & !SKB_DST_FLAGS;
        if !is_kernel(route) {
            return Net::UNKNOWN;
        }
        let device: u64 = M::chase(route, config!(offsets.dst_dev));
        if !is_kernel(device) {
            return Net::UNKNOWN;
        }
        let net: u64 = M::chase(device, config!(offsets.dev_net));
        numbered::<M>(net, ops)
    }
}

/// As [`Net::at`], of a namespace whose address is a mere number to the verifier.
///
/// # Safety
/// `net` is any number.
#[inline(always)]
unsafe fn numbered<M: Memory>(net: u64, ops: u64) -> Net {
    if !is_kernel(net) {
        return Net::UNKNOWN;
    }
    // SAFETY: numbers are read.
    unsafe {
        let inum: u32 = M::chase(net, config!(offsets.net_inum));
        let id = if config!(offsets.net_cookie) == ABSENT {
            u64::from(inum)
        } else {
            M::chase(net, config!(offsets.net_cookie))
        };
        let found: u64 = M::chase(net, config!(offsets.net_ops));
        let is_other = ops != 0 && found != ops;
        if is_other || inum < LEAST_INUM || id == 0 {
            return Net::UNKNOWN;
        }
        Net { pointer: net as *const u8, id, inum }
    }
}
