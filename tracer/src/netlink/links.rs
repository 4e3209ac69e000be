//! The interfaces of the network namespace of the calling thread: their counters, those of their queueing disciplines, and what
//! each interface is (`net/core/rtnetlink.c`, `net/sched/sch_api.c`). The requests need no capability.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use netlink_sys::protocols::NETLINK_ROUTE;

use super::exchange::list;
use super::wire::{self, Malformed, Message};

/// The names of the counters, and the positions of those of `struct rtnl_link_stats64` (`include/uapi/linux/if_link.h`) in it, in
/// words of 8 bytes. The last one is the root queueing discipline's.
const COUNTERS: [(&str, usize); LINK_COUNTERS - 1] = [
    ("rx_dropped", 6),
    ("tx_dropped", 7),
    ("rx_length_errors", 10),
    ("rx_over_errors", 11),
    ("rx_crc_errors", 12),
    ("rx_frame_errors", 13),
    ("rx_fifo_errors", 14),
    ("rx_missed_errors", 15),
    ("rx_nohandler", 23),
    ("rx_otherhost_dropped", 24),
];
const QDISC_DROPS: &str = "qdisc_drops";
/// The number of counters of each interface.
pub(crate) const LINK_COUNTERS: usize = 11;

/// The name of each counter.
pub(crate) fn link_counter_names() -> [&'static str; LINK_COUNTERS] {
    std::array::from_fn(|slot| COUNTERS.get(slot).map_or(QDISC_DROPS, |(name, _)| name))
}

/// The counters of an interface in the order of [`link_counter_names`]; absent are those that the kernel does not have, and that of
/// the queueing discipline of an interface without one. The latter has 32 bits, and wraps.
pub(crate) type LinkCounters = [Option<u64>; LINK_COUNTERS];

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The index.
    pub ifindex: u32,
    /// The name.
    pub name: Arc<str>,
    /// The kind of a virtual interface, such as `veth`; absent for the interface of a device, and for `lo`.
    pub kind: Option<Arc<str>>,
    /// The interface is that of a device (`IFLA_PARENT_DEV_NAME`, since Linux 5.14).
    pub has_device: bool,
    /// The index of the interface that this one is a part of, as of a bond; 0 for none.
    pub master: u32,
}

/// `RTM_GETLINK`, `RTM_GETQDISC` and `RTM_GETSTATS` (`include/uapi/linux/rtnetlink.h`), and the lengths in bytes of `struct ifinfomsg`,
/// `struct tcmsg` and `struct if_stats_msg`.
pub(super) const GET_LINK: (u16, usize) = (18, 16);
const GET_QDISC: (u16, usize) = (38, 20);
const GET_STATS: (u16, usize) = (94, 12);
/// The offset of the index in all three.
const IFINDEX: usize = 4;
/// `IFLA_STATS_LINK_64`, and the offset of `filter_mask` in `struct if_stats_msg`, in which its bit is one less.
const STATS_LINK_64: u16 = 1;
const FILTER_MASK: usize = 8;
/// The offset of `tcm_parent`, and `TC_H_ROOT` (`include/uapi/linux/pkt_sched.h`).
const PARENT: usize = 12;
const ROOT: u32 = u32::MAX;
/// `TCA_STATS2`, `TCA_STATS_QUEUE` in it, and the offset of `drops` in `struct gnet_stats_queue`.
const STATS2: u16 = 7;
const STATS_QUEUE: u16 = 3;
const DROPS: usize = 8;
/// `IFLA_…`, and `RTEXT_FILTER_SKIP_STATS`.
const NAME: u16 = 3;
const MASTER: u16 = 10;
pub(super) const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const EXT_MASK: u16 = 29;
const PARENT_DEVICE: u16 = 56;
const SKIP_STATS: u32 = 8;

/// The counters of all interfaces, by index.
///
/// # Errors
/// Those of a netlink socket.
pub(crate) fn link_counters() -> io::Result<BTreeMap<u32, LinkCounters>> {
    let mut found = BTreeMap::new();
    let mut body = [0; GET_STATS.1];
    body[FILTER_MASK] = 1 << (STATS_LINK_64 - 1);
    list(NETLINK_ROUTE, "RTM_GETSTATS", GET_STATS.0, &body, |message| {
        let (ifindex, counters) = counters(message)?;
        found.insert(ifindex, counters);
        Ok(())
    })?;
    list(NETLINK_ROUTE, "RTM_GETQDISC", GET_QDISC.0, &[0; GET_QDISC.1], |message| {
        if let Some((ifindex, drops)) = root_drops(message)?
            && let Some(counters) = found.get_mut(&ifindex)
        {
            counters[LINK_COUNTERS - 1] = Some(drops);
        }
        Ok(())
    })?;
    Ok(found)
}

/// All interfaces.
///
/// # Errors
/// Those of a netlink socket.
pub fn links() -> io::Result<Vec<Link>> {
    let mut links = Vec::new();
    let body = link_request(0);
    list(NETLINK_ROUTE, "RTM_GETLINK", GET_LINK.0, &body, |message| {
        links.push(link(message)?);
        Ok(())
    })?;
    Ok(links)
}

/// The body of a request for a link without its statistics; 0 for all links.
pub(super) fn link_request(ifindex: u32) -> Vec<u8> {
    let mut body = vec![0; GET_LINK.1];
    body[IFINDEX..IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
    wire::push_u32(&mut body, EXT_MASK, SKIP_STATS);
    body
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map(|word| u32::from_ne_bytes(*word)).ok_or(Malformed("an interface with too few bytes"))
}

/// The attributes behind the body.
fn attributes<'b>(
    message: &Message<'b>,
    body: usize,
) -> Result<impl Iterator<Item = Result<wire::Attribute<'b>, Malformed>>, Malformed> {
    let attributes = message.payload.get(body..).ok_or(Malformed("an interface with too few bytes"))?;
    Ok(wire::attributes(attributes))
}

fn counters(message: &Message<'_>) -> Result<(u32, LinkCounters), Malformed> {
    let mut counters = LinkCounters::default();
    for attribute in attributes(message, GET_STATS.1)? {
        let attribute = attribute?;
        if attribute.kind == STATS_LINK_64 {
            for (counter, (_, at)) in counters.iter_mut().zip(COUNTERS) {
                let word = attribute.value.get(at * 8..).and_then(|rest| rest.first_chunk());
                *counter = word.map(|word| u64::from_ne_bytes(*word));
            }
        }
    }
    Ok((word(message.payload, IFINDEX)?, counters))
}

/// The index of the interface and the drops of a root queueing discipline; `None` for any other.
fn root_drops(message: &Message<'_>) -> Result<Option<(u32, u64)>, Malformed> {
    if word(message.payload, PARENT)? != ROOT {
        return Ok(None);
    }
    for attribute in attributes(message, GET_QDISC.1)? {
        let attribute = attribute?;
        for inner in attribute.nested().take_while(|_| attribute.kind == STATS2) {
            let inner = inner?;
            if inner.kind == STATS_QUEUE {
                return Ok(Some((word(message.payload, IFINDEX)?, word(inner.value, DROPS)?.into())));
            }
        }
    }
    Ok(None)
}

fn link(message: &Message<'_>) -> Result<Link, Malformed> {
    let ifindex = word(message.payload, IFINDEX)?;
    let mut link = Link { ifindex, name: "".into(), kind: None, has_device: false, master: 0 };
    for attribute in attributes(message, GET_LINK.1)? {
        let attribute = attribute?;
        match attribute.kind {
            NAME => link.name = String::from_utf8_lossy(attribute.until_nul()).into(),
            MASTER => link.master = attribute.u32()?,
            PARENT_DEVICE => link.has_device = true,
            LINK_INFO => link.kind = kind(&attribute)?,
            _ => {}
        }
    }
    Ok(link)
}

/// The kind of a virtual interface, from `IFLA_LINKINFO`.
pub(super) fn kind(info: &wire::Attribute<'_>) -> Result<Option<Arc<str>>, Malformed> {
    for attribute in info.nested() {
        let attribute = attribute?;
        if attribute.kind == INFO_KIND {
            return Ok(Some(attribute.text()?.into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The loopback interface has index 1 in each namespace.
    const LOOPBACK: u32 = 1;

    #[test]
    fn own_interfaces_have_counters_as_in_proc() {
        let (found, links) = (link_counters().unwrap(), links().unwrap());
        let lo = links.iter().find(|link| link.ifindex == LOOPBACK).unwrap();
        assert_eq!((&*lo.name, &lo.kind, lo.has_device, lo.master), ("lo", &None, false, 0));
        for link in &links {
            let counters = &found[&link.ifindex];
            assert!(counters[..8].iter().all(Option::is_some), "{link:?} {counters:?}");
            let file = format!("/sys/class/net/{}/statistics/rx_missed_errors", link.name);
            if let Ok(shown) = std::fs::read_to_string(file) {
                assert_eq!(counters[7], shown.trim().parse().ok(), "{link:?}");
            }
        }
        assert!(
            found[&LOOPBACK][LINK_COUNTERS - 1].is_none_or(|drops| drops == 0),
            "it has no queue that could be full"
        );
    }

    #[test]
    fn names_are_those_of_the_table() {
        let table = crate::explain::Counters::built_in().unwrap();
        let of_interfaces =
            table.iter().filter(|(_, counter)| counter.scope == crate::explain::Scope::Interface && !counter.any_drop);
        let (mut expected, mut names) = (of_interfaces.map(|(name, _)| name).collect::<Vec<_>>(), link_counter_names());
        expected.sort_unstable();
        names.sort_unstable();
        assert_eq!(expected, names);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let header = netlink_packet_core::NetlinkHeader::default();
            let message = Message { header, payload: &bytes, bytes: &bytes };
            _ = (counters(&message), root_drops(&message), link(&message));
        }
    }
}
