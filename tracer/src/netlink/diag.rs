//! Facts about the netlink sockets of this namespace that `/proc/net/netlink` does not have: all multicast groups, and
//! the size of the receive buffer (`net/netlink/diag.c`, a module in most distributions).

use std::collections::BTreeMap;
use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::exchange::list;
use super::wire::{self, Malformed, Message};

/// The facts that the kernel reports about a netlink socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetlinkSocket {
    /// The multicast groups that the socket joined.
    pub(crate) groups: Vec<u32>,
    /// The size of the receive buffer in bytes.
    pub(crate) capacity: u32,
}

/// `SOCK_DIAG_BY_FAMILY` (`include/uapi/linux/sock_diag.h`).
pub(super) const BY_FAMILY: u16 = 20;
/// The request for all netlink sockets, with their memory and groups: `struct netlink_diag_req`
/// (`include/uapi/linux/netlink_diag.h`) with `AF_NETLINK`, `NDIAG_PROTO_ALL`, and `NDIAG_SHOW_MEMINFO | NDIAG_SHOW_GROUPS`.
const REQUEST: [u8; 20] = {
    let mut request = [0; 20];
    (request[0], request[1]) = (16, 0xff);
    let [a, b, c, d] = 3_u32.to_ne_bytes();
    (request[8], request[9], request[10], request[11]) = (a, b, c, d);
    request
};

/// Requests the facts about all sockets, by inode number. It needs no capability.
///
/// # Errors
/// Those of a netlink socket; `ENOENT` if the kernel has no `netlink_diag`.
pub(crate) fn netlink_sockets() -> io::Result<BTreeMap<u64, NetlinkSocket>> {
    let mut sockets = BTreeMap::new();
    list(NETLINK_SOCK_DIAG, "SOCK_DIAG_BY_FAMILY", BY_FAMILY, &REQUEST, |message| {
        let (inode, details) = socket_of(message)?;
        sockets.insert(inode, details);
        Ok(())
    })?;
    Ok(sockets)
}

/// The length in bytes of `struct netlink_diag_msg`, and the offset of the inode number in it.
const HEADER: usize = 28;
const INODE: usize = 16;
/// `NETLINK_DIAG_…` (`include/uapi/linux/netlink_diag.h`).
const MEMORY: u16 = 0;
const GROUPS: u16 = 1;
/// The index of `SK_MEMINFO_RCVBUF` (`include/uapi/linux/sock_diag.h`), in words of 4 bytes.
const CAPACITY: usize = 4;

fn socket_of(message: &Message<'_>) -> Result<(u64, NetlinkSocket), Malformed> {
    let short = Malformed("a socket with too few bytes");
    let number = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let inode = number(message.payload, INODE).ok_or(short)?;
    let mut details = NetlinkSocket { groups: Vec::new(), capacity: 0 };
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
    use crate::netlink::error::Error;
    use crate::netlink::request::{Kind, Replies};

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

    fn taken(datagram: &[u8]) -> Result<Vec<(u64, NetlinkSocket)>, Error> {
        let mut sockets = Vec::new();
        let mut replies = Replies::of("sockets", datagram, 1, Kind::LooseDump);
        for reply in &mut replies {
            sockets.push(socket_of(&reply?).unwrap());
        }
        assert!(!replies.is_complete());
        Ok(sockets)
    }

    #[test]
    #[cfg(all(target_endian = "little", target_pointer_width = "64"))]
    fn room_and_groups() {
        let expected = NetlinkSocket { groups: vec![1, 32, 33, 66], capacity: 212_992 };
        assert_eq!(taken(&SOCKET).unwrap(), [(487, expected)]);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refusal = [20_u32, 2, 1, 0, (-2_i32).cast_unsigned()];
        let bytes: Vec<u8> = refusal.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(taken(&bytes).unwrap_err().errno(), Some(libc::ENOENT));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..=104) {
            let datagram = [&SOCKET[..cut], &bytes].concat();
            for reply in Replies::of("sockets", &datagram, 1, Kind::LooseDump).flatten() {
                _ = socket_of(&reply);
            }
        }
    }
}
