//! The owner of a packet: network namespace, device, interface.
//!
//! `skb->dev` shares its storage with `dev_scratch` (UDP's receive queue) and with a link of the tree in which TCP
//! keeps its out-of-order segments and IP its fragments; `skb->sk` with `ip_defrag_offset`; `_skb_refdst` with a list's
//! links. A value that is read there is therefore not used until it leads to a network namespace, which is recognised
//! by a pointer that all network namespaces have and no other object has at that offset: `net->ns.ops`.

use tracer_common::{ABSENT, CpuState, ProvedNet};

use super::is_kernel;
use crate::config::{Bytes, at, config};
use crate::guard::barrier;
use crate::log;
use crate::memory::{Memory, same};

/// Flags in the lowest bits of `_skb_refdst` (`SKB_DST_NOREF`, `include/linux/skbuff.h`).
const SKB_DST_FLAGS: u64 = 7;
/// The least inode number of a namespace: the initial namespaces have fixed numbers just below `PROC_DYNAMIC_FIRST`
/// (0xf0000000) on newer kernels (`include/linux/proc_ns.h`, `fs/proc/generic.c`).
const LEAST_INUM: u32 = 0xefff_ff00;
/// States of mini sockets (`include/net/tcp_states.h`): `struct inet_timewait_sock` and `struct request_sock`, of which
/// only `struct sock_common` is there.
const TCP_TIME_WAIT: u8 = 6;
const TCP_NEW_SYN_RECV: u8 = 12;
/// Interface indices are positive `int`s.
const MOST_IFINDEX: u32 = i32::MAX as u32;

/// A network namespace.
#[derive(Clone, Copy)]
pub(crate) struct Net {
    /// `struct net`, or NULL if it is unknown.
    pub(crate) pointer: *const u8,
    /// As [`tracer_common::DropKey::netns`].
    pub(crate) id: u64,
    /// Its inode number.
    pub(crate) inum: u32,
}

impl Net {
    pub(crate) const UNKNOWN: Self = Self { pointer: core::ptr::null(), id: 0, inum: 0 };

    /// The namespace at `pointer`, if there is one.
    ///
    /// # Safety
    /// `pointer` must come from [`Memory::root`] or [`Memory::load`]; `state` must be this CPU's own.
    #[inline(always)]
    unsafe fn at<M: Memory>(pointer: *const u8, state: *mut CpuState) -> Self {
        if !is_kernel(pointer as u64) {
            return Self::UNKNOWN;
        }
        // SAFETY: the caller's.
        unsafe {
            let cookie: u64 = M::load(pointer, at!(net_cookie));
            let last = &raw mut (*state).net;
            if (*last).address == pointer as u64 && (*last).cookie == cookie {
                return Self { pointer, id: cookie, inum: (*last).inum };
            }
            let inum: u32 = M::load(pointer, at!(net_inum));
            let ops: usize = M::load(pointer, at!(net_ops));
            let net = Self::proved(pointer, inum, cookie, ops as u64, (*state).netns_ops);
            if config!(offsets.net_cookie) != ABSENT && net.id != 0 {
                *last = ProvedNet { address: pointer as u64, cookie, inum, padding: 0 };
            }
            net
        }
    }

    /// Does the same as [`Net::at`], for an address that is a mere number to the verifier.
    ///
    /// # Safety
    /// `net` is any number.
    #[inline(always)]
    unsafe fn numbered<M: Memory>(net: u64, known_ops: u64) -> Self {
        if !is_kernel(net) {
            return Self::UNKNOWN;
        }
        // SAFETY: only numbers are read.
        unsafe {
            let cookie: u64 = M::chase(net, at!(net_cookie));
            let inum: u32 = M::chase(net, at!(net_inum));
            let ops: u64 = M::chase(net, at!(net_ops));
            Self::proved(net as *const u8, inum, cookie, ops, known_ops)
        }
    }

    /// The values at `pointer`, if they can be those of a namespace.
    #[inline(always)]
    fn proved(pointer: *const u8, inum: u32, cookie: u64, ops: u64, known_ops: u64) -> Self {
        let id = if config!(offsets.net_cookie) == ABSENT { u64::from(inum) } else { cookie };
        let is_other = known_ops != 0 && ops != known_ops;
        if is_other || inum < LEAST_INUM || id == 0 { Self::UNKNOWN } else { Self { pointer, id, inum } }
    }
}

/// A network device.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    /// `struct net_device`, or NULL if it is unknown.
    pub(crate) pointer: *const u8,
    /// 0 if it is unknown.
    pub(crate) ifindex: u32,
    /// Its namespace.
    pub(crate) net: Net,
}

impl Device {
    pub(crate) const UNKNOWN: Self = Self { pointer: core::ptr::null(), ifindex: 0, net: Net::UNKNOWN };

    /// The device at `pointer`, if there is one: it must lead to a network namespace.
    ///
    /// # Safety
    /// `pointer` is any number.
    #[inline(always)]
    pub(crate) unsafe fn at<M: Memory>(pointer: *const u8, state: *mut CpuState) -> Self {
        // SAFETY: the caller's.
        unsafe { Self::in_net::<M>(pointer, Net::UNKNOWN, state) }
    }

    /// Does the same as [`Device::at`]; `known` is a verified namespace, which is probably the device's.
    ///
    /// # Safety
    /// As [`Device::at`].
    #[inline(always)]
    unsafe fn in_net<M: Memory>(pointer: *const u8, known: Net, state: *mut CpuState) -> Self {
        if !is_kernel(pointer as u64) {
            return Self::UNKNOWN;
        }
        let pointer = M::root(pointer, config!(types.net_device));
        // SAFETY: the pointer is a root.
        unsafe {
            let ifindex: u32 = M::load(pointer, at!(dev_ifindex));
            let net = M::load::<usize>(pointer, at!(dev_net)) as *const u8;
            let net = if net as u64 == known.pointer as u64 { known } else { Net::at::<M>(net, state) };
            if net.id == 0 || ifindex == 0 || ifindex > MOST_IFINDEX {
                return Self::UNKNOWN;
            }
            Self { pointer, ifindex, net }
        }
    }
}

/// The known facts about the owner of a packet.
pub(super) struct Owner {
    pub(super) net: Net,
    pub(super) device: Device,
    /// 0 if there is no interface or it is unknown.
    pub(super) ifindex: u32,
    /// Address family of the socket of a packet without a device; 0 without a socket.
    pub(super) family: u16,
}

impl Owner {
    /// The facts that follow from a device alone.
    #[inline(always)]
    pub(super) const fn of_device(device: Device) -> Self {
        Self { net: device.net, device, ifindex: device.ifindex, family: 0 }
    }

    /// Reads the facts in the order of trust: the receiving socket, the device, the socket that owns the packet, the
    /// route.
    ///
    /// # Safety
    /// As [`super::read`].
    #[inline(always)]
    pub(super) unsafe fn read<M: Memory>(skb: *const u8, rx_sk: *const u8, state: *mut CpuState) -> Self {
        // SAFETY: values from the packet are verified before they are used.
        unsafe {
            let receiver = Socket::at::<M>(rx_sk, state);
            let mut net = receiver.net;
            let device = Device::in_net::<M>(M::pointer(skb, at!(skb_dev)), net, state);
            if device.ifindex != 0 && (net.id == 0 || net.id == device.net.id) {
                return Self::of_device(device);
            }
            let mut family = receiver.family::<M>();
            let came_by: u32 = M::field(skb, at!(skb_iif));
            if device.ifindex != 0 {
                // The socket's namespace is not the device's: neither index belongs to it.
                return Self { net, device: Device::UNKNOWN, ifindex: 0, family };
            }
            if net.id == 0 {
                let owner = M::pointer(skb, at!(skb_sk));
                let owner = Socket::at::<M>(owner, state);
                (net, family) = (owner.net, owner.family::<M>());
            }
            if net.id == 0 {
                net = of_route::<M>(skb, (*state).netns_ops);
            }
            let ifindex = if came_by > MOST_IFINDEX { 0 } else { came_by };
            Self { net, device, ifindex, family }
        }
    }
}

/// Stores the owner of the packet in the usual case: the device is in the namespace of the last drop, and so is the
/// receiving socket, if there is one. All rarer cases are in [`keep_any`], a separate function, so that the common path
/// does not pay for its stack and registers.
///
/// # Safety
/// As [`super::read`].
#[inline(always)]
pub(super) unsafe fn keep_usual<M: Memory>(state: *mut CpuState, skb: *const u8, rx_sk: *const u8) -> bool {
    // SAFETY: values from the packet are verified before they are used.
    unsafe {
        let mut receiver = 0;
        if is_kernel(rx_sk as u64) {
            receiver = M::load::<usize>(M::root(rx_sk, config!(types.sock)), at!(sock_net)) as u64;
        }
        let pointer = M::pointer(skb, at!(skb_dev));
        if !is_kernel(pointer as u64) {
            return false;
        }
        let device = M::root(pointer, config!(types.net_device));
        let net = M::load::<usize>(device, at!(dev_net)) as *const u8;
        let ifindex: u32 = M::load(device, at!(dev_ifindex));
        let last = (*state).net;
        let is_other = net as u64 != last.address || (receiver != 0 && receiver != net as u64);
        if is_other || ifindex == 0 || ifindex > MOST_IFINDEX || last.cookie == 0 {
            return false;
        }
        if M::load::<u64>(same(net), at!(net_cookie)) != last.cookie {
            return false;
        }
        let net = Net { pointer: net, id: last.cookie, inum: last.inum };
        keep(state, &Owner::of_device(Device { pointer: device, ifindex, net }));
        true
    }
}

/// Stores the owner of the packet.
///
/// # Safety
/// As [`super::read`].
#[inline(never)]
pub(super) unsafe fn keep_any<M: Memory>(state: *mut CpuState, skb: *const u8, rx_sk: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let owner = Owner::read::<M>(skb, rx_sk, state);
        if log::is_on() && owner.device.ifindex == 0 && is_kernel(M::pointer(skb, at!(skb_dev)) as u64) {
            log::implausible_device();
        }
        keep(state, &owner);
    }
}

/// Stores `owner`, and the reason. Fields that are read as one word are written as one: a processor that has to combine
/// a word from recent stores waits until they are in the cache.
///
/// # Safety
/// `state` must be this CPU's own.
#[inline(always)]
pub(super) unsafe fn keep(state: *mut CpuState, owner: &Owner) {
    // SAFETY: the caller's; both fields are in one word of the key.
    unsafe {
        let to = &raw mut (*state).dropped;
        (*to).key.netns = owner.net.id;
        let word = (&raw mut (*to).key.ifindex).cast::<u64>();
        word.write(u64::from(owner.ifindex) | u64::from((*state).reason) << 32);
        (*to).net = owner.net.pointer as u64;
        (*to).netns_inum = owner.net.inum;
        (*to).device = owner.device.pointer as u64;
        (*to).family = owner.family;
    }
    barrier();
}

/// Whether a socket has more than `struct sock_common`.
///
/// # Safety
/// `socket` must be a root.
#[inline(always)]
pub(super) unsafe fn is_full<M: Memory>(socket: *const u8) -> bool {
    // SAFETY: the caller's.
    let state: u8 = unsafe { M::load(socket, at!(sock_state)) };
    state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV && config!(offsets.sock_state) != ABSENT
}

/// A socket that was verified through the namespace that it leads to.
pub(crate) struct Socket {
    /// A root, for [`Memory::load`].
    pub(crate) pointer: *const u8,
    pub(crate) net: Net,
}

impl Socket {
    /// The socket at `pointer`, if there is one. Sockets of any kind, mini sockets too, start with `struct
    /// sock_common`, which contains the namespace.
    ///
    /// # Safety
    /// `pointer` is any number.
    #[inline(always)]
    pub(crate) unsafe fn at<M: Memory>(pointer: *const u8, state: *mut CpuState) -> Self {
        if !is_kernel(pointer as u64) {
            return Self { pointer: core::ptr::null(), net: Net::UNKNOWN };
        }
        let pointer = M::root(pointer, config!(types.sock));
        // SAFETY: the pointer is a root.
        let net = unsafe { Net::at::<M>(M::load::<usize>(pointer, at!(sock_net)) as *const u8, state) };
        Self { pointer, net }
    }

    /// Whether there is more than `struct sock_common`.
    ///
    /// # Safety
    /// The pointer must be a root.
    #[inline(always)]
    pub(crate) unsafe fn is_full<M: Memory>(&self) -> bool {
        // SAFETY: the caller's.
        unsafe { is_full::<M>(self.pointer) }
    }

    /// The listener of a connection that is being opened (`reqsk_to_listener`, `include/net/request_sock.h`); else the socket
    /// itself. A listener is in the namespace of its connections.
    ///
    /// # Safety
    /// As [`Socket::is_full`].
    #[inline(always)]
    pub(crate) unsafe fn or_listener<M: Memory>(self, state: *mut CpuState) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let tcp_state: u8 = M::load(self.pointer, at!(sock_state));
            // Verifiers without casts (before 6.2) take the field, a member of a union, for a number.
            if tcp_state != TCP_NEW_SYN_RECV || !M::takes_numbers() {
                return self;
            }
            Self::at::<M>(M::load::<usize>(self.pointer, at!(sock_listener)) as *const u8, state)
        }
    }

    /// The address family of the socket; 0 if there is none.
    ///
    /// # Safety
    /// None: the pointer is a root.
    #[inline(always)]
    unsafe fn family<M: Memory>(&self) -> u16 {
        // SAFETY: the pointer is a root.
        if self.net.id == 0 { 0 } else { unsafe { M::load(self.pointer, at!(sock_family)) } }
    }
}

/// The namespace of a received packet's route, which is needed for example for TCP on kernels whose tracepoint has no
/// `rx_sk`.
///
/// # Safety
/// As [`super::read`].
#[inline(always)]
unsafe fn of_route<M: Memory>(skb: *const u8, ops: u64) -> Net {
    // SAFETY: the caller's.
    unsafe { Route::of::<M>(skb, ops) }.net
}

/// A packet's route that was verified through the namespace that it leads to.
pub(crate) struct Route {
    address: u64,
    net: Net,
}

impl Route {
    /// `RTAX_MTU - 1` (`include/uapi/linux/rtnetlink.h`): the index of the MTU among the metrics.
    const MTU: usize = 1;
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
        // SAFETY: each step is verified through the namespace that it must lead to.
        unsafe {
            let address = M::field::<u64>(skb, at!(skb_refdst)) & !SKB_DST_FLAGS;
            if !is_kernel(address) {
                return NONE;
            }
            let device: u64 = M::chase(address, at!(dst_dev));
            if !is_kernel(device) {
                return NONE;
            }
            let net: u64 = M::chase(device, at!(dev_net));
            Self { address, net: Net::numbered::<M>(net, ops) }
        }
    }

    /// The MTU that a metric of the route sets; 0 if none does, or it is unknown.
    #[inline(always)]
    pub(crate) fn mtu<M: Memory>(&self) -> u32 {
        if self.net.id == 0 || config!(offsets.dst_metrics) == ABSENT {
            return 0;
        }
        // SAFETY: only numbers are read.
        unsafe {
            let metrics = M::chase::<u64>(self.address, at!(dst_metrics)) & !Self::METRICS_FLAGS;
            if is_kernel(metrics) { M::chase(metrics, Bytes::<{ Self::MTU * size_of::<u32>() }>) } else { 0 }
        }
    }
}
