//! The listening sockets of TCP in the network namespace of the calling thread, and the packets that each one refused
//! (`net/ipv4/inet_diag.c`, a module in most distributions).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::diag::BY_FAMILY;
use super::exchange::list;
use super::wire::{self, Malformed, Message};

/// A listening socket of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpListener {
    /// The address that the socket is bound to.
    pub address: SocketAddr,
    /// The kernel's number for the socket, which no other socket of the boot has (`sk_cookie`).
    pub cookie: u64,
    /// The inode number of the socket (`socket:[INODE]` in `/proc/PID/fd`).
    pub inode: u64,
    /// The packets that the socket dropped since it was made, modulo 2³² (`sk_drops`): each connection attempt that
    /// raises `TcpExtListenDrops` (`tcp_listendrop`, `include/net/tcp.h`), and malformed segments.
    pub drops: u32,
}

/// The length in bytes of the request, `struct inet_diag_req_v2` (`include/uapi/linux/inet_diag.h`).
const REQUEST: usize = 56;
/// `INET_DIAG_SKMEMINFO`, the attribute with `sk_drops`; its bit in a request is one less.
const MEMORY: u16 = 7;
/// The bit of the state `TCP_LISTEN` (`include/net/tcp_states.h`).
const LISTEN: u32 = 1 << 10;
/// The length in bytes of `struct inet_diag_msg`, and offsets in it.
const HEADER: usize = 72;
const PORT: usize = 4;
const ADDRESS: usize = 8;
const COOKIE: usize = 44;
const INODE: usize = 68;
/// The offset of `SK_MEMINFO_DROPS` (`include/uapi/linux/sock_diag.h`).
const DROPS: usize = 8 * 4;

/// All listening sockets of the namespace that the calling thread is in. The request needs no capability.
///
/// # Errors
/// Those of a netlink socket; `ENOENT` if the kernel has no `tcp_diag`.
pub(crate) fn tcp_listeners() -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).unwrap_or_default();
        list(NETLINK_SOCK_DIAG, "SOCK_DIAG_BY_FAMILY", BY_FAMILY, &request(family), |message| {
            listeners.push(listener(message)?);
            Ok(())
        })?;
    }
    Ok(listeners)
}

fn request(family: u8) -> Vec<u8> {
    let tcp = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    let mut request = Vec::with_capacity(REQUEST);
    request.extend([family, tcp, 1 << (MEMORY - 1), 0]);
    request.extend(LISTEN.to_ne_bytes());
    // No addresses: all sockets.
    request.resize(REQUEST, 0);
    request
}

fn listener(message: &Message<'_>) -> Result<TcpListener, Malformed> {
    let short = Malformed("a socket with too few bytes");
    let (header, attributes) = message.payload.split_at_checked(HEADER).ok_or(short)?;
    let word = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let low_and_high = (word(header, COOKIE).ok_or(short)?, word(header, COOKIE + 4).ok_or(short)?);
    let mut drops = None;
    for attribute in wire::attributes(attributes) {
        let attribute = attribute?;
        if attribute.kind == MEMORY {
            drops = word(attribute.value, DROPS);
        }
    }
    Ok(TcpListener {
        address: address(header).ok_or(short)?,
        cookie: u64::from(low_and_high.0) | u64::from(low_and_high.1) << 32,
        inode: word(header, INODE).ok_or(short)?.into(),
        drops: drops.ok_or(Malformed("a socket without its memory"))?,
    })
}

fn address(header: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*header.get(PORT..)?.first_chunk()?);
    let bytes = header.get(ADDRESS..)?;
    let ip = if i32::from(header[0]) == libc::AF_INET {
        IpAddr::from(Ipv4Addr::from(*bytes.first_chunk::<4>()?))
    } else {
        IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?))
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener as Socket;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn own_listeners_are_found() {
        for (bound, ip) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let Ok(socket) = Socket::bind(bound) else { continue };
            let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
            let found = match tcp_listeners() {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return crate::skipped("own_listeners_are_found", "this kernel has no tcp_diag");
                }
                Err(error) => panic!("{error}"),
            };
            let own = found.iter().find(|listener| listener.inode == inode).unwrap();
            assert_eq!(own.address, socket.local_addr().unwrap(), "{ip}");
            assert_eq!((own.drops, own.cookie == 0), (0, false));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            let header = netlink_packet_core::NetlinkHeader::default();
            _ = listener(&Message { header, payload: &bytes, bytes: &bytes });
        }
    }
}
