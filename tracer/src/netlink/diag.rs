//! Facts about the netlink sockets of this namespace that `/proc/net/netlink` does not have: all multicast groups, and
//! the size of the receive buffer (`net/netlink/diag.c`, a module in most distributions).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{self, Timeout};

use super::wire::{self, Malformed, Message};

/// The facts that the kernel reports about a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketDetails {
    /// The multicast groups that the socket joined.
    pub(super) groups: Vec<u32>,
    /// The size of the receive buffer in bytes.
    pub(super) capacity: u32,
}

/// The greatest time to wait for the answer. The kernel answers at once unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The request for all netlink sockets (`struct netlink_diag_req`, `include/uapi/linux/netlink_diag.h`), with their
/// memory and groups.
#[rustfmt::skip]
fn request() -> [u32; 9] {
    let bytes = |bytes| u32::from_ne_bytes(bytes);
    let halves = |low: u16, high: u16| {
        let ([a, b], [c, d]) = (low.to_ne_bytes(), high.to_ne_bytes());
        u32::from_ne_bytes([a, b, c, d])
    };
    [
        36, halves(20, 0x301), 1, 0, // SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP
        bytes([16, 0xff, 0, 0]), // AF_NETLINK, NDIAG_PROTO_ALL
        0,
        3, // NDIAG_SHOW_MEMINFO | NDIAG_SHOW_GROUPS
        0, 0,
    ]
}

/// Requests the facts about all sockets, by inode number. It needs no capability.
pub(super) fn ask() -> io::Result<BTreeMap<u64, SocketDetails>> {
    let request: Vec<u8> = request().iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut sockets = BTreeMap::new();
    dump(&request, |message| {
        let (inode, details) = socket_of(message)?;
        sockets.insert(inode, details);
        Ok(())
    })?;
    Ok(sockets)
}

/// Sends a request for a list to `sock_diag` in the network namespace of the calling thread, and passes each entry to
/// `visit`. `request` is a whole message.
pub(super) fn dump(request: &[u8], mut visit: impl FnMut(&Message<'_>) -> Result<(), Malformed>) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    sockopt::set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(PATIENCE))?;
    socket.send_to(request, &SocketAddr::new(0, 0), 0)?;
    loop {
        let (datagram, sender) = socket.recv_from_full()?;
        if sender.port_number() == 0 && take(&datagram, &mut visit)? {
            return Ok(());
        }
    }
}

/// Passes the entries of a datagram to `visit`. Returns whether it was the last datagram.
fn take(datagram: &[u8], visit: &mut impl FnMut(&Message<'_>) -> Result<(), Malformed>) -> io::Result<bool> {
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    for message in wire::messages(datagram) {
        let message = message.map_err(malformed)?;
        match message.header.message_type {
            netlink_packet_core::NLMSG_NOOP => {}
            netlink_packet_core::NLMSG_DONE => return Ok(true),
            netlink_packet_core::NLMSG_ERROR => {
                let code = message.payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => visit(&message).map_err(malformed)?,
        }
    }
    Ok(false)
}

/// The length in bytes of `struct netlink_diag_msg`, and the offset of the inode number in it.
const HEADER: usize = 28;
const INODE: usize = 16;
/// `NETLINK_DIAG_…` (`include/uapi/linux/netlink_diag.h`).
const MEMORY: u16 = 0;
const GROUPS: u16 = 1;
/// The index of `SK_MEMINFO_RCVBUF` (`include/uapi/linux/sock_diag.h`), in words of 4 bytes.
const CAPACITY: usize = 4;

fn socket_of(message: &Message<'_>) -> Result<(u64, SocketDetails), Malformed> {
    let short = Malformed("a socket with too few bytes");
    let number = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let inode = number(message.payload, INODE).ok_or(short)?;
    let mut details = SocketDetails { groups: Vec::new(), capacity: 0 };
    for attribute in wire::attributes(message.payload.get(HEADER..).ok_or(short)?) {
        let attribute = attribute?;
        match attribute.kind {
            MEMORY => details.capacity = number(attribute.value, CAPACITY).ok_or(short)?,
            GROUPS => details.groups = groups(attribute.value),
            _ => {}
        }
    }
    Ok((inode.into(), details))
}

/// The groups in a bit map of the kernel's `unsigned long`s; the lowest bit is group 1.
fn groups(bits: &[u8]) -> Vec<u32> {
    let words = bits.chunks_exact(size_of::<usize>()).filter_map(|word| word.try_into().ok());
    let is_set = words.flat_map(|word| {
        let word = usize::from_ne_bytes(word);
        (0..usize::BITS).map(move |bit| word >> bit & 1 == 1)
    });
    (1..).zip(is_set).filter_map(|(group, is_set)| is_set.then_some(group)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rustfmt::skip]
    const SOCKET: [u8; 104] = [
        0x68, 0x00, 0x00, 0x00, 0x14, 0x00, 0x02, 0x00, 0x01, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, // header
        0x10, 0x03, 0x10, 0x00, // AF_NETLINK, raw, NETLINK_GENERIC
        0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // ports, group sent to
        0xe7, 0x01, 0x00, 0x00, // inode 487
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // cookie
        0x28, 0x00, 0x00, 0x00, // NETLINK_DIAG_MEMINFO
        0x00, 0x09, 0x00, 0x00, 0x00, 0x40, 0x03, 0x00, // 2304 bytes of 212992
        0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, // 7 dropped
        0x14, 0x00, 0x01, 0x00, // NETLINK_DIAG_GROUPS
        0x01, 0x00, 0x00, 0x80, 0x01, 0x00, 0x00, 0x00, // groups 1, 32, 33
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // group 66
    ];

    fn taken(datagram: &[u8]) -> io::Result<Vec<(u64, SocketDetails)>> {
        let mut sockets = Vec::new();
        let is_last = take(datagram, &mut |message| {
            sockets.push(socket_of(message)?);
            Ok(())
        })?;
        assert!(!is_last);
        Ok(sockets)
    }

    #[test]
    #[cfg(all(target_endian = "little", target_pointer_width = "64"))]
    fn room_and_groups() {
        let expected = SocketDetails { groups: vec![1, 32, 33, 66], capacity: 212_992 };
        assert_eq!(taken(&SOCKET).unwrap(), [(487, expected)]);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refusal = [20_u32, 2, 1, 0, (-2_i32).cast_unsigned()];
        let bytes: Vec<u8> = refusal.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(taken(&bytes).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..=104) {
            _ = take(&[&SOCKET[..cut], &bytes].concat(), &mut |message| socket_of(message).map(drop));
        }
    }
}
