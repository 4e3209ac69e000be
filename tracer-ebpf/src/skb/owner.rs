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
        // SAFETY: the caller's.
        unsafe { Self::in_net::<M>(pointer, Net::UNKNOWN, ops) }
    }

    /// As [`Device::at`]; `known` is a namespace that is proved already, and likely to be the device's.
    ///
    /// # Safety
    /// As [`Device::at`].
    #[inline(always)]
    unsafe fn in_net<M: Memory>(pointer: *const u8, known: Net, ops: u64) -> Self {
        if !is_kernel(pointer as u64) {
            return Self::UNKNOWN;
        }
        let pointer = M::root(pointer, config!(types.net_device));
        // SAFETY: the pointer is a root.
        unsafe {
            let ifindex: u32 = M::load(pointer, config!(offsets.dev_ifindex));
            let net = M::load::<usize>(pointer, config!(offsets.dev_net)) as *const u8;
            let net = if net as u64 == known.pointer as u64 { known } else { Net::at::<M>(net, ops) };
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
            let receiver = Socket::at::<M>(rx_sk, ops);
            let mut net = receiver.net;
            let device = Device::in_net::<M>(M::pointer(skb, config!(offsets.skb_dev)), net, ops);
            if device.ifindex != 0 && (net.id == 0 || net.id == device.net.id) {
                return Self { net: device.net, device, ifindex: device.ifindex, family: 0 };
            }
            let mut family = receiver.family::<M>();
            let came_by: u32 = M::field_if_present(skb, config!(offsets.skb_iif));
            if device.ifindex != 0 {
                // The socket's namespace is not the device's: neither index belongs to it.
                return Self { net, device: Device::UNKNOWN, ifindex: 0, family };
            }
            if net.id == 0 {
                let owner = M::pointer(skb, config!(offsets.skb_sk));
                let owner = Socket::at::<M>(owner, ops);
                (net, family) = (owner.net, owner.family::<M>());
            }
            if net.id == 0 {
                net = of_route::<M>(skb, ops);
            }
            let ifindex = if came_by > MOST_IFINDEX { 0 } else { came_by };
            Self { net, device, ifindex, family }
        }
    }
}

/// A socket that is proved to be one by the namespace that it leads to.
pub(crate) struct Socket {
    /// A root, for [`Memory::load`].
    pub(crate) pointer: *const u8,
    pub(crate) net: Net,
}

impl Socket {
    /// The socket at `pointer`, if one is there. Sockets of any kind, mini sockets too, start with `struct sock_common`,
    /// which has the namespace.
    ///
    /// # Safety
    /// `pointer` is any number.
    #[inline(always)]
    pub(crate) unsafe fn at<M: Memory>(pointer: *const u8, ops: u64) -> Self {
        if !is_kernel(pointer as u64) {
            return Self { pointer: core::ptr::null(), net: Net::UNKNOWN };
        }
        let pointer = M::root(pointer, config!(types.sock));
        // SAFETY: the pointer is a root.
        let net = unsafe { Net::at::<M>(M::load::<usize>(pointer, config!(offsets.sock_net)) as *const u8, ops) };
        Self { pointer, net }
    }

    /// Its address family; 0 when it is none.
    ///
    /// # Safety
    /// None: the pointer is a root.
    #[inline(always)]
    unsafe fn family<M: Memory>(&self) -> u16 {
        // SAFETY: the pointer is a root.
        if self.net.id == 0 { 0 } else { unsafe { M::load(self.pointer, config!(offsets.sock_family)) } }
    }
}

/// The namespace of a received packet's route: of TCP on kernels whose tracepoint has no `rx_sk`, for example.
///
/// # Safety
/// As [`super::Dropped::read`].
#[inline(always)]
unsafe fn of_route<M: Memory>(skb: *const u8, ops: u64) -> Net {
    // SAFETY: the caller's.
    unsafe { Route::of::<M>(skb, ops) }.net
}

/// A packet's route that is proved to be one by the namespace that it leads to.
pub(crate) struct Route {
    address: u64,
    net: Net,
}

impl Route {
    /// `RTAX_MTU - 1` (`include/uapi/linux/rtnetlink.h`): where the metrics have the MTU.
    const MTU: u32 = 1;
    /// Flags in the lowest bits of `dst_entry._metrics` (`DST_METRICS_FLAGS`, `include/net/dst.h`).
    const METRICS_FLAGS: u64 = 3;

    /// # Safety
    /// `skb` must be the tracepoint's.
    #[inline(always)]
    pub(crate) unsafe fn of<M: Memory>(skb: *const u8, ops: u64) -> Self {
        const NONE: Route = Route { address: 0, net: Net::UNKNOWN };
        if config!(offsets.dst_dev) == ABSENT || config!(offsets.dev_net) == ABSENT {
            return NONE;
        }
        // SAFETY: each step is proved by the namespace that it must lead to.
        unsafe {
            let address = M::field_if_present::<u64>(skb, config!(offsets.skb_refdst)) & !SKB_DST_FLAGS;
            if !is_kernel(address) {
                return NONE;
            }
            let device: u64 = M::chase(address, config!(offsets.dst_dev));
            if !is_kernel(device) {
                return NONE;
            }
            let net: u64 = M::chase(device, config!(offsets.dev_net));
            Self { address, net: numbered::<M>(net, ops) }
        }
    }

    /// The MTU that a metric of the route sets; 0 when none does, or when it is unknown.
    #[inline(always)]
    pub(crate) fn mtu<M: Memory>(&self) -> u32 {
        if self.net.id == 0 || config!(offsets.dst_metrics) == ABSENT {
            return 0;
        }
        // SAFETY: numbers are read.
        unsafe {
            let metrics = M::chase::<u64>(self.address, config!(offsets.dst_metrics)) & !Self::METRICS_FLAGS;
            if is_kernel(metrics) { M::chase(metrics, Self::MTU * size_of::<u32>() as u32) } else { 0 }
        }
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
