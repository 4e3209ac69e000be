//! The other ends of virtual links, and the ids of network namespaces, which tell where those ends are
//! (`net/core/rtnetlink.c`, `net/core/net_namespace.c`). The requests need no capability.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;

use super::exchange::Exchange;
use super::links::{GET_LINK, LINK_INFO, kind, link_request};
use super::request::Kind;
use super::wire::{self, Malformed};

// `include/uapi/linux/rtnetlink.h`, `if_link.h` and `net_namespace.h`.
const RTM_GETNSID: u16 = 90;
const IFLA_LINK: u16 = 5;
const IFLA_LINK_NETNSID: u16 = 37;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// The length in bytes of `struct rtgenmsg` with its padding.
const GENERAL: usize = 4;

/// The other end of a virtual link (`veth_get_link_net`, `drivers/net/veth.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Veth {
    /// The id of the other end's network namespace in this process's own: each namespace gives ids to others
    /// (`peernet2id`, `net/core/net_namespace.c`). A namespace keeps its id as long as it exists.
    pub(crate) namespace: u32,
    /// The index of the other end in its namespace.
    pub(crate) ifindex: u32,
}

/// Asks about the links of the network namespace that the thread was in when it opened this.
pub(crate) struct Peers {
    exchange: Exchange,
}

impl Peers {
    /// Opens a socket.
    ///
    /// # Errors
    /// Those of a netlink socket.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { exchange: Exchange::open(NETLINK_ROUTE)? })
    }

    /// The other end of the link with this index; absent if the link is no veth, or if both ends are in one namespace.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub(crate) fn veth(&mut self, ifindex: u32) -> io::Result<Option<Veth>> {
        let mut found = None;
        self.exchange.call("RTM_GETLINK", GET_LINK.0, &link_request(ifindex), Kind::Do, |reply| {
            found = veth(reply.payload)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// The id of the network namespace that an open nsfs file stands for; absent if it has none.
    ///
    /// # Errors
    /// `EINVAL` if the file is that of no network namespace.
    pub(crate) fn id_of(&mut self, namespace: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        let mut body = vec![0; GENERAL];
        wire::push_u32(&mut body, NETNSA_FD, namespace.as_raw_fd().cast_unsigned());
        let mut found = None;
        self.exchange.call("RTM_GETNSID", RTM_GETNSID, &body, Kind::Do, |reply| {
            found = id(number(reply.payload.get(GENERAL..).unwrap_or_default(), NETNSA_NSID)?);
            Ok(())
        })?;
        Ok(found)
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

/// The other end of a link that the kernel describes (`rtnl_fill_ifinfo`, `net/core/rtnetlink.c`).
fn veth(link: &[u8]) -> Result<Option<Veth>, Malformed> {
    let attributes = link.get(GET_LINK.1..).ok_or(Malformed("a link with too few bytes"))?;
    let Some(info) = attribute(attributes, LINK_INFO)? else { return Ok(None) };
    if kind(&info)?.as_deref() != Some("veth") {
        return Ok(None);
    }
    let (namespace, ifindex) = (id(number(attributes, IFLA_LINK_NETNSID)?), number(attributes, IFLA_LINK)?);
    Ok(namespace.zip(ifindex).map(|(namespace, ifindex)| Veth { namespace, ifindex }))
}

/// A number that is below 0 stands for no id (`NETNSA_NSID_NOT_ASSIGNED`).
fn id(number: Option<u32>) -> Option<u32> {
    number.filter(|number| number.cast_signed() >= 0)
}

fn number(attributes: &[u8], kind: u16) -> Result<Option<u32>, Malformed> {
    attribute(attributes, kind)?.map(|attribute| attribute.u32()).transpose()
}

/// The first attribute of this kind.
fn attribute(attributes: &[u8], kind: u16) -> Result<Option<wire::Attribute<'_>>, Malformed> {
    for attribute in wire::attributes(attributes) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A link of this kind, with its other end's index and the id of the namespace there.
    fn link(kind: &[u8], ifindex: u32, namespace: Option<i32>) -> Vec<u8> {
        let mut link = vec![0; GET_LINK.1];
        wire::push_u32(&mut link, IFLA_LINK, ifindex);
        if let Some(namespace) = namespace {
            wire::push_u32(&mut link, IFLA_LINK_NETNSID, namespace.cast_unsigned());
        }
        let length = u16::try_from(4 + kind.len()).unwrap();
        let info: Vec<u8> = [&length.to_ne_bytes(), &1_u16.to_ne_bytes(), kind].concat();
        link.extend_from_slice(&u16::try_from(4 + info.len()).unwrap().to_ne_bytes());
        link.extend_from_slice(&LINK_INFO.to_ne_bytes());
        link.extend_from_slice(&info);
        link
    }

    #[test]
    fn only_a_veth_with_an_end_elsewhere_has_one() {
        assert_eq!(veth(&link(b"veth\0", 7, Some(0))), Ok(Some(Veth { namespace: 0, ifindex: 7 })));
        assert_eq!(veth(&link(b"veth\0", 7, None)), Ok(None), "both ends are here");
        assert_eq!(veth(&link(b"veth\0", 7, Some(-1))), Ok(None));
        assert_eq!(veth(&link(b"macvlan\0", 7, Some(0))), Ok(None));
        assert!(veth(&[]).is_err());
    }

    #[test]
    fn kernel_answers() {
        let mut peers = Peers::open().unwrap();
        assert_eq!(peers.veth(1).unwrap(), None, "the loopback");
        assert_eq!(peers.veth(i32::MAX.cast_unsigned()).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        peers.id_of(std::os::fd::AsFd::as_fd(&own)).unwrap();
        let other = std::fs::File::open("/proc/self/ns/mnt").unwrap();
        assert_eq!(
            peers.id_of(std::os::fd::AsFd::as_fd(&other)).unwrap_err().raw_os_error(),
            Some(libc::EINVAL),
            "no network namespace"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = (veth(&bytes), number(&bytes, NETNSA_NSID));
        }
    }
}
