//! Asks the kernel about links and namespaces over rtnetlink. The kernel answers before the system call that asks returns.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    Emitable, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NlasIterator, Parseable,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

// `include/uapi/linux/rtnetlink.h`, `if_link.h` and `net_namespace.h`.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// The length in bytes of `struct nlmsghdr`, of `struct ifinfomsg`, and of `struct rtgenmsg` with its padding.
const HEADER: usize = 16;
const LINK: usize = 16;
const GENERAL: usize = 4;
/// The greatest length in bytes of an answer. A link without its statistics has some 2 KiB, and 100 more for each queue
/// discipline, alternative name and virtual function.
const ANSWER: usize = 64 << 10;
/// The greatest number of datagrams that are no answer and are left out before one.
const MOST_OTHERS: usize = 8;

/// The other end of a virtual link (`veth_get_link_net`, `drivers/net/veth.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Veth {
    /// The id of the other end's network namespace in this process's own: each namespace gives ids to others
    /// (`peernet2id`, `net/core/net_namespace.c`). A namespace keeps its id as long as it exists.
    pub(super) namespace: u32,
    /// The index of the other end in its namespace.
    pub(super) ifindex: u32,
}

/// A socket of this process's own network namespace.
pub(super) struct Route {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

impl Route {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0, answer: Vec::new() })
    }

    /// The other end of the link with this index; absent if the link is no veth, or if both ends are in one namespace.
    ///
    /// # Errors
    /// `ENODEV` if there is no such link.
    pub(super) fn veth(&mut self, ifindex: u32) -> io::Result<Option<Veth>> {
        let mut body = vec![0; LINK];
        body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        attribute(&mut body, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        Ok(veth(self.ask([RTM_GETLINK, RTM_NEWLINK], &body)?))
    }

    /// The id of the network namespace that an open nsfs file stands for; absent if it has none.
    pub(super) fn id_of(&mut self, namespace: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        let mut body = vec![0; GENERAL];
        attribute(&mut body, NETNSA_FD, namespace.as_raw_fd().cast_unsigned());
        let answer = self.ask([RTM_GETNSID, RTM_NEWNSID], &body)?;
        Ok(id(number(answer.get(GENERAL..).unwrap_or_default(), NETNSA_NSID)))
    }

    /// Sends a request, and returns the answer of the expected kind without its header.
    fn ask(&mut self, [request, expected]: [u16; 2], body: &[u8]) -> io::Result<&[u8]> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = vec![0; HEADER];
        message.extend_from_slice(body);
        let mut header = NetlinkHeader::default();
        header.message_type = request;
        header.flags = NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        header.length = u32::try_from(message.len()).map_err(io::Error::other)?;
        header.emit(&mut message);
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        self.receive()?;
        reply(&self.answer, expected)
    }

    /// Receives the answer to the last request.
    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..MOST_OTHERS {
            self.answer.clear();
            self.answer.reserve(ANSWER);
            let (_, sender) = self.socket.recv_from(&mut self.answer, 0)?;
            let is_answer = header(&self.answer).is_some_and(|header| header.sequence_number == self.sequence);
            if sender.port_number() == 0 && is_answer {
                return Ok(());
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}

/// Adds an attribute whose value is a number of 32 bits.
fn attribute(body: &mut Vec<u8>, kind: u16, value: u32) {
    body.extend_from_slice(&8_u16.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(&value.to_ne_bytes());
}

fn header(message: &[u8]) -> Option<NetlinkHeader> {
    NetlinkHeader::parse(&NetlinkBuffer::new_checked(message).ok()?).ok()
}

/// The bytes behind the header of an answer.
fn reply(message: &[u8], expected: u16) -> io::Result<&[u8]> {
    let header = header(message).ok_or(io::ErrorKind::InvalidData)?;
    let payload = message.get(HEADER..header.length as usize).unwrap_or_default();
    match (header.message_type, payload.first_chunk()) {
        (NLMSG_ERROR, Some(code)) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(*code).saturating_neg())),
        (kind, _) if kind == expected => Ok(payload),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The other end of a link that the kernel describes (`rtnl_fill_ifinfo`, `net/core/rtnetlink.c`).
fn veth(link: &[u8]) -> Option<Veth> {
    let attributes = link.get(LINK..)?;
    let is_veth = value(value(attributes, IFLA_LINKINFO)?, IFLA_INFO_KIND)? == b"veth\0";
    let (namespace, ifindex) = (id(number(attributes, IFLA_LINK_NETNSID))?, number(attributes, IFLA_LINK)?);
    is_veth.then_some(Veth { namespace, ifindex })
}

/// A number that is below 0 stands for no id (`NETNSA_NSID_NOT_ASSIGNED`).
fn id(number: Option<u32>) -> Option<u32> {
    number.filter(|number| number.cast_signed() >= 0)
}

fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(value(attributes, kind)?.try_into().ok()?))
}

/// The value of the first attribute of this kind.
fn value(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(4..length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A link of this kind, with its other end's index and the id of the namespace there.
    fn link(kind: &[u8], ifindex: u32, namespace: Option<i32>) -> Vec<u8> {
        let mut link = vec![0; LINK];
        attribute(&mut link, IFLA_LINK, ifindex);
        if let Some(namespace) = namespace {
            attribute(&mut link, IFLA_LINK_NETNSID, namespace.cast_unsigned());
        }
        let length = u16::try_from(4 + kind.len()).unwrap();
        let info: Vec<u8> = [&length.to_ne_bytes(), &IFLA_INFO_KIND.to_ne_bytes(), kind].concat();
        link.extend_from_slice(&u16::try_from(4 + info.len()).unwrap().to_ne_bytes());
        link.extend_from_slice(&IFLA_LINKINFO.to_ne_bytes());
        link.extend_from_slice(&info);
        link
    }

    #[test]
    fn only_a_veth_with_an_end_elsewhere_has_one() {
        assert_eq!(veth(&link(b"veth\0", 7, Some(0))), Some(Veth { namespace: 0, ifindex: 7 }));
        assert_eq!(veth(&link(b"veth\0", 7, None)), None, "both ends are here");
        assert_eq!(veth(&link(b"veth\0", 7, Some(-1))), None);
        assert_eq!(veth(&link(b"macvlan\0", 7, Some(0))), None);
        assert_eq!(veth(&[]), None);
    }

    #[test]
    fn kernel_answers() {
        let mut route = Route::open().unwrap();
        assert_eq!(route.veth(1).unwrap(), None, "the loopback");
        assert_eq!(route.veth(i32::MAX.cast_unsigned()).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        let own = std::fs::File::open("/proc/self/ns/net").unwrap();
        route.id_of(std::os::fd::AsFd::as_fd(&own)).unwrap();
        let other = std::fs::File::open("/proc/self/ns/mnt").unwrap();
        assert_eq!(
            route.id_of(std::os::fd::AsFd::as_fd(&other)).unwrap_err().raw_os_error(),
            Some(libc::EINVAL),
            "no network namespace"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = (veth(&bytes), reply(&bytes, RTM_NEWLINK).is_ok());
        }
    }
}
