//! What a dropped `struct sk_buff` says (`include/linux/skbuff.h`).
//!
//! Fields that share their storage with others are believed only where something else bears them out; `docs/fields.md`
//! has the rule for each.

mod measure;
mod name;
mod owner;

use tracer_common::{
    DropFacts, DropKey, KIND_EMPTY, KIND_NETLINK, KIND_PACKET, KIND_TRAP, KIND_UNIX, KIND_XDP, REASON_ABSENT,
    START_NONE,
};

use crate::config::{config, kernel_space};
use crate::guard::{Held, barrier};
use crate::memory::{Memory, Probe};
pub(crate) use name::{device_name, interface_name};
use owner::{Device, Net, Owner};
pub(crate) use owner::{Route, Socket};

/// Address families of sockets whose messages never leave this host (`include/linux/socket.h`).
const AF_UNIX: u16 = 1;
const AF_NETLINK: u16 = 16;

/// A dropped packet, while it is read.
pub(crate) struct Dropped {
    key: DropKey,
    /// Bytes from `start` on.
    length: u32,
    /// Address of the first header that is set, and which one that is.
    start: u64,
    start_kind: u8,
    /// Bytes from `start` on that lie in one piece.
    linear: u64,
    /// Address of the network header; 0 when it is not set.
    network: u64,
    /// The packet's device; unknown where `skb->dev` holds something else.
    device: Device,
    /// The namespace of `key.netns`.
    net: Net,
    /// The socket that was to receive it, as the tracepoint tells it; NULL when there is none.
    receiver: *const u8,
}

impl Dropped {
    /// Reads what accounting needs. `ops` is [`tracer_common::CpuState::netns_ops`].
    ///
    /// # Safety
    /// `skb` must be the tracepoint's first argument, `rx_sk` its fourth or NULL.
    #[inline(always)]
    pub(crate) unsafe fn read<M: Memory>(
        skb: *const u8,
        location: u64,
        reason: u32,
        rx_sk: *const u8,
        ops: u64,
    ) -> Self {
        // SAFETY: offsets are of the structures that the pointers point to, as BTF has it.
        unsafe {
            let protocol = u16::from_be(M::field(skb, config!(offsets.skb_protocol)));
            let Owner { net, device, ifindex, family } = Owner::read::<M>(skb, rx_sk, ops);
            let key = DropKey { location, netns: net.id, ifindex, reason, protocol, ..Self::key_of_kind(KIND_PACKET) };
            let mut dropped = Self::unmeasured(key, device, net, rx_sk);
            dropped.measure::<M>(skb);
            dropped.key.kind = dropped.kind(family);
            dropped
        }
    }

    /// A drop whose bytes have not been measured, or are not known.
    #[inline(always)]
    const fn unmeasured(key: DropKey, device: Device, net: Net, receiver: *const u8) -> Self {
        Self { key, length: 0, start: 0, start_kind: START_NONE, linear: 0, network: 0, device, net, receiver }
    }

    #[inline(always)]
    const fn key_of_kind(kind: u8) -> DropKey {
        DropKey {
            location: 0,
            netns: 0,
            cgroup_id: 0,
            ifindex: 0,
            reason: 0,
            protocol: 0,
            kind,
            padding: 0,
            padding_to_word: 0,
        }
    }

    /// What was freed: a packet of a network, or something else that passes the same tracepoint.
    #[inline(always)]
    const fn kind(&self, family: u16) -> u8 {
        if self.length == 0 && self.key.protocol == 0 {
            return KIND_EMPTY;
        }
        match family {
            AF_UNIX => KIND_UNIX,
            AF_NETLINK => KIND_NETLINK,
            _ => KIND_PACKET,
        }
    }

    /// What a device reports by a devlink trap: no layer has pulled anything, the bytes start with the MAC header, and
    /// `device`, unless it is NULL, is the one that the packet came in by. So devlink counts it
    /// (`devlink_trap_stats_update`). `name` is the address of the trap's name.
    ///
    /// # Safety
    /// `skb` as in [`Dropped::read`]; `device` must be a `struct net_device` or NULL.
    #[inline(always)]
    pub(crate) unsafe fn trapped(skb: *const u8, name: u64, device: *const u8, ops: u64) -> Self {
        // SAFETY: the helper fails on addresses that cannot be read.
        unsafe {
            let mut dropped = Self::read::<Probe>(skb, name, REASON_ABSENT, core::ptr::null(), ops);
            dropped.key.kind = KIND_TRAP;
            dropped.length = Probe::field(skb, config!(offsets.skb_len));
            dropped.start = Probe::field(skb, config!(offsets.skb_data));
            dropped.start_kind = tracer_common::START_MAC;
            let paged: u32 = Probe::field_if_present(skb, config!(offsets.skb_data_len));
            dropped.linear = u64::from(dropped.length.saturating_sub(paged));
            let device = Device::at::<Probe>(device, ops);
            if device.ifindex != 0 {
                dropped.key.ifindex = device.ifindex;
                dropped.key.netns = device.net.id;
                dropped.net = device.net;
                dropped.device = device;
            }
            dropped
        }
    }

    /// A frame that was dropped on `device` before there was an `sk_buff`: its bytes are not known.
    ///
    /// # Safety
    /// `device` must be a `struct net_device`.
    #[inline(always)]
    pub(crate) unsafe fn frame(device: *const u8, reason: u32, ops: u64) -> Self {
        // SAFETY: the helper fails on addresses that cannot be read.
        let device = unsafe { Device::at::<Probe>(device, ops) };
        let (net, ifindex) = (device.net, device.ifindex);
        let key = DropKey { netns: net.id, ifindex, reason, ..Self::key_of_kind(KIND_XDP) };
        Self::unmeasured(key, device, net, core::ptr::null())
    }

    /// Moves it to this CPU's memory. The compiler is made to read it again from there, of which the verifier knows
    /// nothing: to that all ways to this point are one, and it checks once what follows.
    #[inline(always)]
    pub(crate) fn kept<'a>(&self, held: &'a Held) -> &'a DropFacts {
        // SAFETY: the state is this CPU's own. Field by field, for the program's stack is small.
        unsafe {
            let to = &raw mut (*held.state).dropped;
            (*to).key = self.key;
            (*to).start = self.start;
            (*to).linear = self.linear;
            (*to).network = self.network;
            (*to).device = self.device.pointer as u64;
            (*to).net = self.net.pointer as u64;
            (*to).receiver = self.receiver as u64;
            (*to).length = self.length;
            (*to).netns_inum = self.net.inum;
            (*to).start_kind = self.start_kind;
            barrier();
            &*to
        }
    }
}

/// Whether an address can be one of the kernel's.
#[inline(always)]
pub(crate) fn is_kernel(address: u64) -> bool {
    address >= kernel_space()
}
