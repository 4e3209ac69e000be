//! The control group of the packet's socket: that of the process that made the socket.

use tracer_common::{ABSENT, CpuState, SOCKET_OWNER, SOCKET_RECEIVER, UDP_RECEIVERS_NOTED, UdpNote};

use super::is_kernel;
use super::owner::{Socket, is_full};
use crate::config::{at, config};
use crate::memory::Memory;

/// Bits of `sock_cgroup_data.val` that mark a number which is not a pointer (`sock_cgroup_ptr`, before 5.15).
const NOT_A_POINTER: u64 = 3;

/// Keeps the control group of the receiving socket, else of the socket that owns the packet. Returns which socket that
/// is: [`SOCKET_RECEIVER`], [`SOCKET_OWNER`], or 0 without a socket.
///
/// In the usual case the socket is a full one in the namespace of the current drop, which is proved already. All rarer cases
/// are in [`keep_any`], so that the common path does not return from a function: on processors with a safe return (`SRSO`,
/// `arch/x86/lib/retpoline.S`) that takes longer than all loads here.
///
/// # Safety
/// As [`super::read`], whose owner must be kept already.
#[inline(always)]
pub(super) unsafe fn keep<M: Memory>(state: *mut CpuState, skb: *const u8, rx_sk: *const u8) -> u8 {
    // SAFETY: sockets are proved before they are believed.
    unsafe {
        let receiver = receiver::<M>(state, skb, rx_sk);
        let (mut role, mut pointer) = (SOCKET_RECEIVER, receiver);
        if !is_kernel(pointer as u64) {
            (role, pointer) = (SOCKET_OWNER, M::pointer(skb, at!(skb_sk)));
        }
        let to = &raw mut (*state).dropped;
        if !is_kernel(pointer as u64) {
            (*to).key.cgroup_id = 0;
            return 0;
        }
        let pointer = M::root(pointer, config!(types.sock));
        let net = M::load::<usize>(pointer, at!(sock_net)) as u64;
        if net != 0 && net == (*to).net && is_full::<M>(pointer) {
            (*to).key.cgroup_id = of::<M>(pointer);
            return role;
        }
        keep_any::<M>(state, skb, receiver)
    }
}

/// Does the same as [`keep`] for any socket; `receiver` is the receiving one.
///
/// # Safety
/// As [`keep`].
#[inline(never)]
unsafe fn keep_any<M: Memory>(state: *mut CpuState, skb: *const u8, receiver: *const u8) -> u8 {
    // SAFETY: sockets are proved before they are believed.
    unsafe {
        let mut role = SOCKET_RECEIVER;
        let mut socket = Socket::at::<M>(receiver, state);
        if socket.net.id == 0 {
            role = SOCKET_OWNER;
            socket = Socket::at::<M>(M::pointer(skb, at!(skb_sk)), state);
        }
        let to = &raw mut (*state).dropped;
        (*to).key.cgroup_id = 0;
        if socket.net.id == 0 {
            return 0;
        }
        let socket = socket.or_listener::<M>(state);
        if socket.net.id != 0 && socket.is_full::<M>() {
            (*to).key.cgroup_id = of::<M>(socket.pointer);
        }
        role
    }
}

/// The receiving socket: the tracepoint's argument, or, where the kernel reports it so, the socket that was noted for this
/// packet. A note is for the next drop of this CPU alone.
///
/// # Safety
/// `state` must be this CPU's own.
#[inline(always)]
unsafe fn receiver<M: Memory>(state: *mut CpuState, skb: *const u8, rx_sk: *const u8) -> *const u8 {
    if config!(udp_receivers) != UDP_RECEIVERS_NOTED || !M::takes_numbers() {
        return rx_sk;
    }
    // SAFETY: the caller's.
    unsafe {
        let note = &raw mut (*state).udp;
        let UdpNote { skb: noted, socket } = *note;
        (*note).skb = 0;
        if noted == skb as u64 { socket as *const u8 } else { core::ptr::null() }
    }
}

/// The control group of a UDP socket in the namespace of the current drop, 0 if the group is unknown; `None` if it is no such
/// socket.
///
/// # Safety
/// `socket` is any number; `state` must be this CPU's own.
#[inline(always)]
pub(crate) unsafe fn of_receiver<M: Memory>(socket: *const u8, state: *mut CpuState) -> Option<u64> {
    // SAFETY: sockets are proved before they are believed.
    unsafe {
        let socket = Socket::at::<M>(socket, state);
        let netns = (*state).dropped.key.netns;
        if socket.net.id == 0 || (netns != 0 && netns != socket.net.id) {
            return None;
        }
        Some(if socket.is_full::<M>() { of::<M>(socket.pointer) } else { 0 })
    }
}

/// The number of the control group of a full socket; 0 when it is unknown.
///
/// # Safety
/// `socket` must be a root.
#[inline(always)]
pub(crate) unsafe fn of<M: Memory>(socket: *const u8) -> u64 {
    if config!(offsets.cgroup_node) == ABSENT || config!(offsets.node_id) == ABSENT {
        return 0;
    }
    // SAFETY: the caller's; numbers are read.
    unsafe {
        if config!(offsets.sock_cgroup) != ABSENT {
            let group = M::load::<usize>(socket, at!(sock_cgroup)) as *const u8;
            if !is_kernel(group as u64) {
                return 0;
            }
            let node = M::load::<usize>(group, at!(cgroup_node)) as *const u8;
            return if is_kernel(node as u64) { M::load(node, at!(node_id)) } else { 0 };
        }
        // Verifiers of that time allow no load of a whole union.
        let group: u64 = M::chase(socket as u64, at!(sock_cgroup_value));
        if !is_kernel(group) || group & NOT_A_POINTER != 0 {
            return 0;
        }
        let node: u64 = M::chase(group, at!(cgroup_node));
        if is_kernel(node) { M::chase(node, at!(node_id)) } else { 0 }
    }
}
