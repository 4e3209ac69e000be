//! The fields of a dropped `struct sk_buff` (`include/linux/skbuff.h`).
//!
//! Fields that share their storage with others are used only if another fact confirms them; `docs/reference/fields.md` has the
//! rule for each.

pub(crate) mod cgroup;
mod measure;
mod name;
mod owner;
mod vlan;

use tracer_common::{
    DropFacts, FILTER_PACKET, KIND_COPY, KIND_EMPTY, KIND_NETLINK, KIND_PACKET, KIND_TRAP, KIND_UNIX, KIND_XDP,
    REASON_ABSENT, START_MAC, START_NONE, UDP_RECEIVERS_LATER,
};

use crate::config::{at, config, kernel_space};
use crate::guard::{Held, barrier};
use crate::memory::{Memory, Probe};
use measure::{locate, measure};
pub(crate) use name::{device_name, interface_name};
use owner::{Device, Owner};
pub(crate) use owner::{Route, Socket};
pub(crate) use vlan::vlan;

/// Address families of sockets whose messages never leave this host (`include/linux/socket.h`).
const AF_UNIX: u16 = 1;
const AF_NETLINK: u16 = 16;
/// The address family of packet sockets, as sniffers have.
const AF_PACKET: u16 = 17;

/// Reads the fields that counting needs into this CPU's memory. `location` and `reason` are the tracepoint's.
///
/// The fields are read a part at a time, with a barrier after each part: the compiler then reads again from memory what
/// it has written there, of which the verifier knows nothing. For the verifier, all paths to a barrier are therefore
/// equal, and it checks the code after it once.
///
/// # Safety
/// `skb` must be the tracepoint's first argument, `rx_sk` its fourth or NULL.
#[inline(always)]
pub(crate) unsafe fn read<M: Memory>(held: Held, skb: *const u8, location: u64, reason: u32, rx_sk: *const u8) {
    // SAFETY: the state is this CPU's own; offsets are of the structures that the pointers point to, as BTF has it.
    unsafe {
        let to = &raw mut (*held.state).dropped;
        (*to).key.location = location;
        (*to).receiver = rx_sk as u64;
        (*held.state).reason = reason;
        barrier();
        if !owner::keep_usual::<M>(held.state, skb, rx_sk) {
            owner::keep_any::<M>(held.state, skb, rx_sk);
        }
        barrier();
        measure::<M>(to, skb);
        if locates_each() {
            locate::<M>(to, skb);
        }
        barrier();
        let socket = if config!(cgroups) == 0 { 0 } else { cgroup::keep::<M>(held.state, skb, rx_sk) };
        let protocol = u16::from_be(M::field(skb, at!(skb_protocol)));
        let flags: u8 = M::field(skb, at!(skb_pkt_type));
        let is_copy = u32::from(flags) & config!(pkt_type_mask) == config!(pkt_type_outgoing);
        let kind = kind((*to).length, protocol, (*to).family, is_copy, (*to).key.ifindex);
        keep_kind(to, protocol, kind, socket);
    }
}

/// Whether the headers of each drop are located. If only a sample of the drops becomes records, and nothing else needs the
/// headers, [`locate_sampled`] locates them for the sample alone.
#[inline(always)]
fn locates_each() -> bool {
    config!(flows) != 0
        || config!(retransmits) != 0
        || config!(filter) & FILTER_PACKET != 0
        || (config!(events) != 0 && config!(sample_mask) == 0)
}

/// Locates the headers of the current drop for its record, unless they are located already.
///
/// # Safety
/// The state must be this CPU's own; `skb` the packet of the current drop, or NULL without one.
#[inline(always)]
pub(crate) unsafe fn locate_sampled<M: Memory>(held: Held, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        let to = &raw mut (*held.state).dropped;
        // Of a trapped packet and of a frame, the headers are where `read_trapped` and `read_frame` have put them.
        if !locates_each() && (*to).key.kind != KIND_TRAP && (*to).key.kind != KIND_XDP {
            locate::<M>(to, skb);
            barrier();
        }
    }
}

/// Stores a packet that a device reports through a devlink trap: no layer has pulled anything, the bytes start with the
/// MAC header, and `device`, unless it is NULL, is the device that received the packet. devlink counts it in the same
/// way (`devlink_trap_stats_update`). `name` is the address of the trap's name.
///
/// # Safety
/// `skb` as in [`read`]; `device` must be a `struct net_device` or NULL.
#[inline(always)]
pub(crate) unsafe fn read_trapped(held: Held, skb: *const u8, name: u64, device: *const u8) {
    // SAFETY: as in `read`; the helper fails on addresses that cannot be read.
    unsafe {
        let to = &raw mut (*held.state).dropped;
        read::<Probe>(held, skb, name, REASON_ABSENT, core::ptr::null());
        locate::<Probe>(to, skb);
        let device = Device::at::<Probe>(device, held.state);
        if device.ifindex != 0 {
            owner::keep(held.state, &Owner::of_device(device));
        }
        (*to).key.kind = KIND_TRAP;
        let length: u32 = Probe::field(skb, at!(skb_len));
        let paged: u32 = Probe::field(skb, at!(skb_data_len));
        (*to).length = length;
        (*to).linear = length.saturating_sub(paged).into();
        (*to).start = Probe::field(skb, at!(skb_data));
        (*to).start_kind = START_MAC;
        barrier();
    }
}

/// Stores a frame that was dropped on `device` before there was an `sk_buff`: its bytes are unknown.
///
/// # Safety
/// `device` must be a `struct net_device`.
#[inline(always)]
pub(crate) unsafe fn read_frame(held: Held, device: *const u8, reason: u32) {
    // SAFETY: the state is this CPU's own; the helper fails on addresses that cannot be read.
    unsafe {
        let to = &raw mut (*held.state).dropped;
        (*to).key.location = 0;
        (*to).receiver = 0;
        (*held.state).reason = reason;
        owner::keep(held.state, &Owner::of_device(Device::at::<Probe>(device, held.state)));
        (*to).key.cgroup_id = 0;
        keep_kind(to, 0, KIND_XDP, 0);
        (*to).length = 0;
        (*to).linear = 0;
        (*to).network = 0;
        (*to).start = 0;
        (*to).start_kind = START_NONE;
        barrier();
    }
}

/// Stores the kind of the drop, as one word. The drop is not counted yet.
///
/// # Safety
/// `to` must be this CPU's own.
#[inline(always)]
unsafe fn keep_kind(to: *mut DropFacts, protocol: u16, kind: u8, socket: u8) {
    let word = u64::from(protocol) | u64::from(kind) << 16 | u64::from(socket) << 24;
    // SAFETY: the caller's; the key's last word holds nothing else.
    unsafe {
        (&raw mut (*to).key.protocol).cast::<u64>().write(word);
        if config!(udp_receivers) == UDP_RECEIVERS_LATER {
            (*to).counted_in = 0;
        }
    }
    barrier();
}

/// The kind of the freed buffer: a packet of a network, or another buffer that passes the same tracepoint. A buffer in
/// the queue of a packet socket has no device any more, but has the index of the interface that received it; a buffer
/// that such a socket sends has none.
#[inline(always)]
const fn kind(length: u32, protocol: u16, family: u16, is_copy: bool, ifindex: u32) -> u8 {
    if length == 0 && protocol == 0 {
        return KIND_EMPTY;
    }
    match family {
        AF_UNIX => KIND_UNIX,
        AF_NETLINK => KIND_NETLINK,
        AF_PACKET if ifindex != 0 => KIND_COPY,
        _ if is_copy => KIND_COPY,
        _ => KIND_PACKET,
    }
}

/// Returns whether an address can be one of the kernel's.
#[inline(always)]
pub(crate) fn is_kernel(address: u64) -> bool {
    address >= kernel_space()
}
