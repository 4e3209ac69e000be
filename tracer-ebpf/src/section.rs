//! The optional sections of a record: facts about a packet beyond its bytes.

use tracer_common::{
    ABSENT, CpuState, DropFacts, RecordHeader, SECTION_DEVICE, SECTION_GSO, SECTION_SOCKET, SECTION_VLAN, SOCKET_OWNER,
    SOCKET_RECEIVER, SocketFacts,
};

use crate::config::{Bytes, at, config};
use crate::guard::Held;
use crate::memory::{Memory, beyond};
use crate::skb::{self, Route, Socket, device_name, is_kernel};

/// The values of a socket without known facts.
pub(crate) const NO_SOCKET: SocketFacts = SocketFacts {
    cookie: 0,
    inode: 0,
    uid: u32::MAX,
    receive_buffer: 0,
    receive_queued: 0,
    port: 0,
    role: 0,
    padding: 0,
};

/// Writes all known sections, and the bits of those that are written.
///
/// # Safety
/// `header` must be a record's, filled in; `skb` the tracepoint's.
#[inline(always)]
pub(crate) unsafe fn write<M: Memory>(header: *mut RecordHeader, held: Held, skb: *const u8, dropped: &DropFacts) {
    // SAFETY: the caller's; the state is this CPU's own.
    unsafe {
        let ops = (*held.state).netns_ops;
        vlan::<M>(header, skb);
        device::<M>(header, skb, dropped);
        gso::<M>(header, skb);
        socket::<M>(header, skb, dropped, held.state);
        (*header).route_mtu = Route::of::<M>(skb, ops).mtu::<M>();
    }
}

/// Marks a section as known. The mark is written at once, so that the verifier need not remember it.
///
/// # Safety
/// `header` must be a record's.
#[inline(always)]
unsafe fn mark(header: *mut RecordHeader, section: u8) {
    // SAFETY: the caller's.
    unsafe {
        let sections = &raw mut (*header).sections;
        sections.write_volatile(sections.read_volatile() | section);
    }
}

/// The VLAN tag that the kernel has removed from the bytes.
///
/// # Safety
/// `header` must be a record's; `skb` the tracepoint's.
#[inline(always)]
unsafe fn vlan<M: Memory>(header: *mut RecordHeader, skb: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        if let Some(tag) = skb::vlan::<M>(skb) {
            (*header).vlan_proto = tag.protocol;
            (*header).vlan_tci = tag.tci;
            mark(header, SECTION_VLAN);
        }
    }
}

/// Facts about the packet's device.
///
/// # Safety
/// `header` must be a record's.
#[inline(always)]
unsafe fn device<M: Memory>(header: *mut RecordHeader, skb: *const u8, dropped: &DropFacts) {
    if dropped.device == 0 {
        return;
    }
    // SAFETY: the pointer is the device's; an address of six bytes is in an array of at least eight.
    unsafe {
        let device = M::device_of(skb, dropped);
        (*header).interface = device_name::<M>(device);
        (*header).mtu = M::load(device, at!(dev_mtu));
        let address: usize = M::load(device, at!(dev_addr));
        let bytes = M::chase::<u64>(address as u64, Bytes::<0>).to_ne_bytes();
        (*header).mac = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]];
        mark(header, SECTION_DEVICE);
    }
}

/// The segmentation of a GSO buffer (`struct skb_shared_info`, `include/linux/skbuff.h`).
///
/// # Safety
/// As [`write()`].
#[inline(always)]
unsafe fn gso<M: Memory>(header: *mut RecordHeader, skb: *const u8) {
    if config!(offsets.skb_end) == ABSENT
        || config!(offsets.shared_gso_size) == ABSENT
        || config!(offsets.shared_gso_segments) == ABSENT
    {
        return;
    }
    // SAFETY: only numbers are read.
    unsafe {
        let end: u32 = M::field(skb, at!(skb_end));
        let shared = beyond(M::field(skb, at!(skb_head)), end.into());
        if !is_kernel(shared) {
            return;
        }
        let size: u16 = M::chase(shared, at!(shared_gso_size));
        (*header).gso_size = size;
        (*header).gso_segments = M::chase(shared, at!(shared_gso_segments));
        if size != 0 {
            mark(header, SECTION_GSO);
        }
    }
}

/// The packet's socket and its role: the receiver, if the tracepoint reports it, else the socket to which the packet
/// belongs.
///
/// # Safety
/// As [`write()`].
#[inline(always)]
pub(crate) unsafe fn socket_of<M: Memory>(skb: *const u8, dropped: &DropFacts, state: *mut CpuState) -> (Socket, u8) {
    // SAFETY: the socket is verified.
    unsafe {
        // Without the argument no path leads to the receiver. If a mere number cannot become a pointer again, only a
        // patched kernel reports the receiver.
        if config!(offsets.arg_rx_sk) != ABSENT && M::takes_numbers() && is_kernel(dropped.receiver) {
            (Socket::at::<M>(dropped.receiver as *const u8, state), SOCKET_RECEIVER)
        } else {
            (Socket::at::<M>(M::pointer(skb, at!(skb_sk)), state), SOCKET_OWNER)
        }
    }
}

/// The packet's socket as a root, if it is a full one: the receiver, if the kernel reports it, else the socket to which the
/// packet belongs. A connection that is being opened has its listener, as in [`crate::skb`].
///
/// # Safety
/// As [`write()`].
#[inline(always)]
pub(crate) unsafe fn full_socket_of<M: Memory>(
    skb: *const u8,
    dropped: &DropFacts,
    state: *mut CpuState,
) -> Option<*const u8> {
    // SAFETY: the socket is verified.
    unsafe {
        let (socket, role) = socket_of::<M>(skb, dropped, state);
        // A receiver that cannot be read is not the socket that the packet came from.
        if socket.net.id == 0 || (role != SOCKET_RECEIVER && is_kernel(dropped.receiver)) {
            return None;
        }
        let socket = socket.or_listener::<M>(state);
        if socket.net.id == 0 || !socket.is_full::<M>() { None } else { Some(socket.pointer) }
    }
}

/// The facts of the packet's socket.
///
/// # Safety
/// As [`write()`].
#[inline(always)]
unsafe fn socket<M: Memory>(header: *mut RecordHeader, skb: *const u8, dropped: &DropFacts, state: *mut CpuState) {
    // SAFETY: the socket is verified.
    unsafe {
        let (socket, role) = socket_of::<M>(skb, dropped, state);
        if socket.net.id == 0 {
            return;
        }
        let facts = &raw mut (*header).socket;
        (*facts).role = role;
        (*facts).cookie = M::load(socket.pointer, at!(sock_cookie));
        (*facts).port = M::load(socket.pointer, at!(sock_port));
        if socket.is_full::<M>() {
            full_socket::<M>(facts, socket.pointer);
        }
        mark(header, SECTION_SOCKET);
    }
}

/// The fields beyond `struct sock_common`.
///
/// # Safety
/// `facts` must be a record's; `socket` a root.
#[inline(always)]
unsafe fn full_socket<M: Memory>(facts: *mut SocketFacts, socket: *const u8) {
    // SAFETY: the caller's; only numbers are read.
    unsafe {
        if let Some(uid) = uid::<M>(socket) {
            (*facts).uid = uid;
        }
        (*facts).receive_buffer = M::load(socket, at!(sock_receive_buffer));
        (*facts).receive_queued = M::load(socket, at!(sock_receive_queued));
        (*facts).inode = inode::<M>(socket);
    }
}

/// Whether a full socket is one of a tun or tap device. Its `sk_socket` is part of `struct tun_file` or `struct tap_queue`
/// and has no inode: what lies where the inode would be is another structure, from which kernels before 6.2 also took
/// `sk_uid` (`drivers/net/tun.c`, `drivers/net/tap.c`). No other socket has this family.
///
/// # Safety
/// `socket` must be a root.
#[inline(always)]
unsafe fn is_of_tap<M: Memory>(socket: *const u8) -> bool {
    const AF_UNSPEC: u16 = 0;
    // SAFETY: the caller's.
    unsafe { M::load::<u16>(socket, at!(sock_family)) == AF_UNSPEC }
}

/// Whether the kernel made a full socket for itself (`sk_alloc`, `net/core/sock.c`), as for replies of its own. No user has
/// it, although its `sk_uid` is 0.
///
/// # Safety
/// `socket` must be a root.
#[inline(always)]
unsafe fn is_of_kernel<M: Memory>(socket: *const u8) -> bool {
    // SAFETY: the caller's.
    let flags: u8 = unsafe { M::load(socket, at!(sock_kernel)) };
    u32::from(flags) & config!(sock_kernel_mask) != 0
}

/// `sk_uid` of a full socket: the user who made it.
///
/// # Safety
/// `socket` must be a root.
#[inline(always)]
pub(crate) unsafe fn uid<M: Memory>(socket: *const u8) -> Option<u32> {
    // SAFETY: the caller's.
    unsafe {
        if config!(offsets.sock_uid) == ABSENT || is_of_tap::<M>(socket) || is_of_kernel::<M>(socket) {
            return None;
        }
        Some(M::load(socket, at!(sock_uid)))
    }
}

/// The inode number of a full socket; 0 if no process has it open any more, or it is unknown.
///
/// # Safety
/// `socket` must be a root.
#[inline(always)]
pub(crate) unsafe fn inode<M: Memory>(socket: *const u8) -> u64 {
    // SAFETY: the caller's; only numbers are read.
    unsafe {
        let file = M::load::<usize>(socket, at!(sock_socket)) as u64;
        if is_kernel(file) && !is_of_tap::<M>(socket) { M::chase(file, at!(socket_inode)) } else { 0 }
    }
}
