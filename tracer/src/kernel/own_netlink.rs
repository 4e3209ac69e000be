//! Drops that this process causes: messages of the kernel for which this process's netlink sockets had no room. The
//! backends see these drops like any others, and must not report them as the host's.

use std::collections::HashSet;
use std::io;

/// The table of sockets in this process's network namespace (`netlink_native_seq_show`, `net/netlink/af_netlink.c`).
const TABLE: &str = "/proc/self/net/netlink";
const DESCRIPTORS: &str = "/proc/self/fd";

/// The number of messages that the kernel could not deliver to the netlink sockets that this process has open now,
/// summed up since each socket was opened. Sockets in other network namespaces than the process's own are not counted.
///
/// The kernel counts a unicast message here when it frees the message. It counts a multicast message once for each full
/// socket, but frees it as a drop (`kfree_skb`) only where a listener set `NETLINK_BROADCAST_ERROR`.
pub(crate) fn drops() -> io::Result<u64> {
    // The sockets are listed first: a socket that is opened later cannot have dropped a message before.
    let sockets = sockets()?;
    Ok(sum(&std::fs::read(TABLE)?, &sockets))
}

/// The inode numbers of the sockets that this process has open.
fn sockets() -> io::Result<HashSet<u64>> {
    let links = std::fs::read_dir(DESCRIPTORS)?.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Ok(links.filter_map(|link| link.to_str().and_then(socket_inode)).collect())
}

/// The inode number in a link such as `socket:[4711]`.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The sum of the column `Drops` over the lines whose `Inode` is in `sockets`. Malformed lines do not count.
fn sum(table: &[u8], sockets: &HashSet<u64>) -> u64 {
    let mut lines = table.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let Some(header) = lines.next() else { return 0 };
    let column = |name| header.split_ascii_whitespace().position(|word| word == name);
    let (Some(drops), Some(inode)) = (column("Drops"), column("Inode")) else { return 0 };
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |at: usize| words.get(at)?.parse::<u64>().ok();
            number(drops).filter(|_| number(inode).is_some_and(|inode| sockets.contains(&inode)))
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::OwnedFd;

    use proptest::prelude::*;
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

    use super::*;

    const FIXTURE: &[u8] = include_bytes!("fixtures/netlink");

    #[test]
    fn drops_of_the_given_sockets_are_summed() {
        let sum_of = |inodes: &[u64]| sum(FIXTURE, &inodes.iter().copied().collect());
        assert_eq!(sum_of(&[]), 0);
        assert_eq!(sum_of(&[485]), 0);
        assert_eq!(sum_of(&[23_041]), 17);
        assert_eq!(sum_of(&[23_041, 23_055, 4, 1]), 17 + 4_294_967_295);
    }

    #[test]
    fn tables_without_the_columns_have_no_drops() {
        let everything = (0..100_000).collect();
        assert_eq!(sum(b"", &everything), 0);
        assert_eq!(sum(b"sk Eth Pid\n1 2 3\n", &everything), 0);
        assert_eq!(sum(b"Inode Drops\n7 x\n7\n\n7 5", &everything), 5);
    }

    #[test]
    fn only_links_to_sockets_are_sockets() {
        assert_eq!(socket_inode("socket:[4711]"), Some(4711));
        for link in ["socket:[]", "socket:[x]", "pipe:[4711]", "socket:[4711", "/dev/null"] {
            assert_eq!(socket_inode(link), None);
        }
    }

    /// A socket for rtnetlink (protocol 0) with the smallest receive buffer. Needs no capability.
    fn small_socket() -> OwnedFd {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
        rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0)).unwrap();
        socket
    }

    /// A message of a type that rtnetlink does not have, with `NLM_F_REQUEST`: the kernel answers with an error.
    fn wrong_request() -> Vec<u8> {
        let (length, kind, flags): (u32, u16, u16) = (16, 0xfff, 1);
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat()
    }

    #[test]
    fn messages_that_the_kernel_could_not_deliver_are_counted() {
        let _alone = crate::netlink::ONE_AT_A_TIME.lock();
        let sent = 500;
        let socket = small_socket();
        let before = drops().unwrap();
        for _ in 0..sent {
            rustix::net::send(&socket, &wrong_request(), SendFlags::empty()).unwrap();
        }
        let dropped = drops().unwrap() - before;
        let mut received = 0;
        loop {
            match rustix::net::recv(&socket, &mut [0_u8; 256], RecvFlags::empty()) {
                Ok(_) => received += 1,
                Err(Errno::NOBUFS) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(received > 0 && dropped > 0, "{received} {dropped}");
        assert_eq!(received + dropped, sent);
        drop(socket);
        assert_eq!(drops().unwrap(), before, "closed sockets no longer count");
    }

    proptest! {
        #[test]
        fn any_table_is_accepted(table: Vec<u8>, cut: prop::sample::Index, inode: u64) {
            let sockets = HashSet::from([inode, 23_041]);
            sum(&table, &sockets);
            prop_assert!(sum(&FIXTURE[..cut.index(FIXTURE.len())], &sockets) <= 17);
        }
    }
}
