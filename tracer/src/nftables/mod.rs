//! nftables: the kernel's own trace of packets (`NFT_MSG_TRACE`, `net/netfilter/nf_tables_trace.c`), and the rules that it
//! names.
//!
//! The kernel traces packets for which a rule has set `meta nftrace`. [`OwnTable`] makes a table with such a rule, and removes
//! it; [`selection`] decides which packets that rule takes. [`trace`] reads the messages, [`tally`] adds them up, [`changes`]
//! follows the changes of tables, [`ruleset`] asks for the rules and chains that they name, and `text` puts rules into words.

mod attributes;
pub(crate) mod changes;
pub(crate) mod conntrack;
mod error;
mod expressions;
mod leftover;
mod loaded;
mod own_table;
mod pending;
pub(crate) mod ruleset;
pub(crate) mod selection;
pub(crate) mod tally;
mod text;
pub(crate) mod trace;

use std::os::fd::BorrowedFd;

pub(crate) use error::NftablesError;
pub(crate) use own_table::{OwnTable, Sampled, TABLE};

use crate::identity::netns;
use crate::netlink::{self, Error, Socket};

/// `NETLINK_NETFILTER` (`include/uapi/linux/netlink.h`).
const PROTOCOL: isize = 12;
/// `NFNL_SUBSYS_NFTABLES` (`include/uapi/linux/netfilter/nfnetlink.h`).
const SUBSYSTEM: u16 = 10;
/// `NFNLGRP_NFTRACE`, the multicast group of the trace.
const TRACE_GROUP: u32 = 9;
/// `NFNLGRP_NFTABLES`, the multicast group of changes.
const CHANGES_GROUP: u32 = 7;

/// `enum nf_tables_msg_types` (`include/uapi/linux/netfilter/nf_tables.h`), with the subsystem in the high byte.
mod message {
    use super::SUBSYSTEM;

    pub(super) const NEW_TABLE: u16 = SUBSYSTEM << 8;
    pub(super) const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
    pub(super) const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
    pub(super) const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
    pub(super) const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
    pub(super) const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
    pub(super) const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
    pub(super) const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;
    pub(super) const NEW_GENERATION: u16 = SUBSYSTEM << 8 | 15;
    pub(super) const GET_GENERATION: u16 = SUBSYSTEM << 8 | 16;
    pub(super) const TRACE: u16 = SUBSYSTEM << 8 | 0x11;
}

/// Families of tables and packets: `NFPROTO_…` (`include/uapi/linux/netfilter.h`).
const INET: u8 = 1;
const IPV4: u8 = 2;
const ARP: u8 = 3;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IPV6: u8 = 10;

/// The bits of the 16 bits at offset 6 of a header of IPv4 that only fragments have: `IP_MF` and `IP_OFFSET`
/// (`include/net/ip.h`).
const IPV4_FRAGMENT: u16 = 0x3fff;
/// `NEXTHDR_FRAGMENT` (`include/net/ipv6.h`).
const IPV6_FRAGMENT: u8 = 44;

/// The length in bytes of `struct nfgenmsg`, which each message starts with.
const HEADER: usize = 4;

/// Opens a socket that receives the trace and the changes of the rules of a network namespace, in their order: an open nsfs
/// file stands for it.
pub(crate) fn trace_socket(namespace: BorrowedFd<'_>) -> Result<Socket, Error> {
    let socket = socket_in(namespace)?;
    socket.join(TRACE_GROUP)?;
    socket.join(CHANGES_GROUP)?;
    Ok(socket)
}

/// Opens a socket for requests to nftables in a network namespace.
fn socket_in(namespace: BorrowedFd<'_>) -> Result<Socket, Error> {
    let socket = netns::visit(namespace, || netlink::raw(PROTOCOL)).map_err(|source| Error::Open { source })?;
    Socket::from_raw(PROTOCOL, socket)
}

/// The name of a table's family, as `nft` writes it.
pub(crate) fn family_name(family: u8) -> &'static str {
    match family {
        INET => "inet",
        IPV4 => "ip",
        ARP => "arp",
        NETDEV => "netdev",
        BRIDGE => "bridge",
        IPV6 => "ip6",
        _ => "unknown",
    }
}

/// The name of a hook, as `nft` writes it; `None` for one that is unknown.
pub(crate) fn hook_name(family: u8, number: u32) -> Option<&'static str> {
    const OF_IP: [&str; 6] = ["prerouting", "input", "forward", "output", "postrouting", "ingress"];
    const OF_DEVICES: [&str; 2] = ["ingress", "egress"];
    const OF_ARP: [&str; 3] = ["input", "output", "forward"];
    let names = match family {
        INET | IPV4 | IPV6 | BRIDGE => &OF_IP[..],
        NETDEV => &OF_DEVICES,
        ARP => &OF_ARP,
        _ => &[],
    };
    names.get(usize::try_from(number).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_have_the_names_of_their_family() {
        assert_eq!(
            (hook_name(INET, 0), hook_name(IPV4, 1), hook_name(NETDEV, 1)),
            (Some("prerouting"), Some("input"), Some("egress"))
        );
        assert_eq!((hook_name(IPV6, 6), hook_name(99, 0), family_name(99)), (None, None, "unknown"));
    }
}
