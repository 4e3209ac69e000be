//! Sockets that joined netlink multicast groups: their memory and their lost messages.

mod holders;

use std::collections::BTreeMap;
use std::fs;
use std::io;

use holders::Holders;
pub(crate) use holders::Process;

use super::netns;
use crate::netlink::{NetlinkSocket, netlink_sockets};

/// A netlink socket that joined multicast groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The protocol of the socket, `NETLINK_…` (`include/uapi/linux/netlink.h`).
    pub(crate) protocol: u32,
    /// The address of the socket, which is often the process id.
    pub(crate) port: u32,
    /// The multicast groups that the socket joined.
    pub(crate) groups: Vec<u32>,
    /// `groups` is complete. Otherwise it lacks groups above 32.
    pub(crate) has_all_groups: bool,
    /// The memory in bytes that waits to be read, including the kernel's overhead.
    pub(crate) used: u32,
    /// The limit of `used` in bytes; absent if the kernel does not report it.
    pub(crate) capacity: Option<u32>,
    /// The number of messages for which the socket had no room since it was opened, modulo 2³².
    pub(crate) drops: u32,
    /// The inode number of the socket.
    pub(crate) inode: u64,
    /// The inode number of its network namespace.
    pub(crate) netns: Option<u32>,
    /// The processes that have the socket open, as far as this process may see them.
    pub(crate) processes: Vec<Process>,
}

/// All listeners in the namespace of this process and in those of the processes whose namespace this process may see.
pub(crate) fn listeners() -> io::Result<Vec<Listener>> {
    let own = netns::own().ok();
    let details = netlink_sockets().unwrap_or_else(|error| {
        tracing::debug!("no details of netlink sockets from sock_diag: {error}");
        BTreeMap::new()
    });
    let mut found = parse(&fs::read_to_string("/proc/self/net/netlink")?, own, &details);
    let holders = Holders::look();
    for (netns, process) in holders.namespaces().filter(|(netns, _)| Some(*netns) != own) {
        // The list of a namespace cannot be read after its process has ended.
        if let Ok(text) = fs::read_to_string(format!("/proc/{process}/net/netlink")) {
            found.extend(parse(&text, Some(netns), &BTreeMap::new()));
        }
    }
    for listener in &mut found {
        listener.processes = holders.of(listener.inode);
    }
    Ok(found)
}

/// Parses the lines of `/proc/net/netlink` (`netlink_native_seq_show`, `net/netlink/af_netlink.c`) with listeners.
fn parse(text: &str, netns: Option<u32>, details: &BTreeMap<u64, NetlinkSocket>) -> Vec<Listener> {
    let listeners = text.lines().skip(1).filter_map(|line| {
        let mut listener = line_of(line)?;
        listener.netns = netns;
        if let Some(details) = details.get(&listener.inode) {
            listener.groups.clone_from(&details.groups);
            listener.has_all_groups = true;
            listener.capacity = Some(details.capacity);
        }
        (!listener.groups.is_empty()).then_some(listener)
    });
    listeners.collect()
}

/// Parses one line: `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`. The groups have 32 bits; the lowest is group
/// 1.
fn line_of(line: &str) -> Option<Listener> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_, protocol, port, groups, used, _, _, _, drops, inode] = words[..] else { return None };
    let groups = u32::from_str_radix(groups, 16).ok()?;
    // Some kernels show the number with a sign.
    let number = |word: &str| word.parse().or_else(|_| word.parse().map(i32::cast_unsigned)).ok();
    Some(Listener {
        protocol: protocol.parse().ok()?,
        port: port.parse().ok()?,
        groups: (1..=32).filter(|group| groups & 1 << (group - 1) != 0).collect(),
        used: number(used)?,
        drops: number(drops)?,
        inode: inode.parse().ok()?,
        ..Listener::default()
    })
}

#[cfg(test)]
mod tests {
    use netlink_sys::Socket;
    use netlink_sys::protocols::NETLINK_ROUTE;

    use super::*;

    const TEXT: &str = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000027fecfe1 0   0          00000000 0        0        0     2        0        4       
00000000d8017481 15  4000000000 80000003 2304     0        0     2        -1       487     
00000000d8017482 16  12         00000000 0        0        0     2        7        488     
00000000d8017483 junk
00000000d8017484 16  12         0000000x 0        0        0     2        7        488     
";

    #[test]
    fn lines_of_listeners() {
        let details = NetlinkSocket { groups: vec![40], capacity: 4096 };
        let found = parse(TEXT, Some(9), &BTreeMap::from([(488, details)]));
        let [uevent, generic] = &found[..] else { panic!("{found:?}") };
        assert_eq!((uevent.protocol, uevent.port, uevent.inode), (15, 4_000_000_000, 487));
        assert_eq!((&uevent.groups[..], uevent.has_all_groups, uevent.capacity), (&[1, 2, 32][..], false, None));
        assert_eq!((uevent.used, uevent.drops, uevent.netns), (2304, u32::MAX, Some(9)));
        assert_eq!((&generic.groups[..], generic.has_all_groups, generic.capacity), (&[40][..], true, Some(4096)));
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        let port = socket.bind_auto().unwrap().port_number();
        let is_own = |found: &&Listener| found.protocol == 0 && found.port == port && found.netns == netns::own().ok();
        assert!(!listeners().unwrap().iter().any(|found| is_own(&found)), "it listens to nothing yet");
        socket.add_membership(1).unwrap();
        socket.add_membership(33).unwrap();
        let all = listeners().unwrap();
        let found = all.iter().find(is_own).expect("a listener");
        assert_eq!(found.processes.iter().map(|process| process.id).collect::<Vec<_>>(), [std::process::id()]);
        assert_eq!((found.used, found.drops), (0, 0));
        if found.has_all_groups {
            assert_eq!((&found.groups[..], found.capacity.is_some()), (&[1, 33][..], true));
        } else {
            assert_eq!(found.groups, [1]);
        }
    }
}
