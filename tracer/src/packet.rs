//! Decodes the leading bytes of a dropped packet as far as they go: addresses, ports and other fields that identify a
//! packet. The decoder allocates no memory, and no bytes can make it panic.

mod bytes;
#[cfg(test)]
mod cut_tests;
mod decode;
mod ip;
mod names;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

pub use decode::decode;
pub(crate) use decode::{LinkHeader, link_header};
pub use names::TransportName;
pub use view::view;

/// The most VLAN tags, outermost first. More than two are not in use.
pub(crate) const MAX_VLANS: usize = 3;

/// A decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// VLAN tags: first the tag that the kernel removed from the bytes, if it is known, then those in the bytes.
    pub vlans: Vlans,
    /// `EtherType` of the content; 0 if it is unknown.
    pub ether_type: u16,
    /// The content of the frame.
    pub content: Content,
}

impl Decoded {
    /// Adds the tag that the kernel removed from the bytes, which was the outermost.
    #[must_use]
    pub(crate) fn with_tag(mut self, id: Option<u16>) -> Self {
        if let Some(id) = id {
            self.vlans.prepend(id);
        }
        self
    }
}

/// Ids of VLAN tags, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vlans {
    ids: [u16; MAX_VLANS],
    length: usize,
}

impl Vlans {
    /// The ids, outermost first.
    pub fn ids(&self) -> &[u16] {
        self.ids.get(..self.length).unwrap_or_default()
    }

    /// Puts a tag that the kernel removed from the bytes before those in the bytes. Without room, the innermost tag is
    /// dropped.
    fn prepend(&mut self, id: u16) {
        self.ids.rotate_right(1);
        self.ids[0] = id;
        self.length = (self.length + 1).min(MAX_VLANS);
    }

    /// Returns false if there is no room.
    fn push(&mut self, id: u16) -> bool {
        let Some(slot) = self.ids.get_mut(self.length) else { return false };
        *slot = id;
        self.length += 1;
        true
    }
}

/// The network layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// IPv4 or IPv6.
    Ip(IpPacket),
    /// Address resolution for IPv4 on Ethernet.
    Arp(Arp),
    /// An Ethernet frame of another kind.
    Frame {
        /// MAC address of the sender.
        source: [u8; 6],
        /// MAC address of the receiver.
        destination: [u8; 6],
    },
    /// Bytes that could not be decoded.
    Undecoded {
        /// The reason.
        why: Undecoded,
        /// Number of leading bytes from the start of the undecoded part.
        captured: usize,
    },
}

/// The reason for which bytes were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// There are no bytes.
    Empty,
    /// The bytes end within a header.
    Short,
    /// A header is inconsistent, for example an IPv4 packet of version 5.
    Malformed,
    /// The bytes start with a link header that is not Ethernet's.
    UnknownLink,
    /// The protocol is unknown, or has no decoder.
    UnknownProtocol,
}

/// An IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// Address of the sender.
    pub source: IpAddr,
    /// Address of the receiver.
    pub destination: IpAddr,
    /// IP protocol number of `transport`, after extension headers; `None` if the bytes end within these, and in a
    /// fragment that has them in its payload.
    pub protocol: Option<u8>,
    /// The fragment; `None` if the packet is whole, or the bytes end before the field.
    pub fragment: Option<Fragment>,
    /// The transport header.
    pub transport: Transport,
    /// Whether the bytes end within a header: IPv4 options, an extension header, or the transport's own.
    pub cut: bool,
}

/// The position of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The packet's identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Bytes from the start of the packet's payload.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

impl Fragment {
    /// Returns false if the header describes a whole packet.
    const fn is_part(self) -> bool {
        self.offset > 0 || self.more
    }

    /// Returns whether the fragment starts in the middle of the payload, so that it does not begin with a header.
    const fn is_later(self) -> bool {
        self.offset > 0
    }
}

/// The transport header of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp(Ports),
    /// TCP; the header is `None` if only the ports were captured.
    Tcp(Ports, Option<Tcp>),
    /// `ICMPv4`.
    Icmp(Icmp),
    /// `ICMPv6`.
    Icmpv6(Icmp),
    /// A protocol without a decoder, or a fragment other than the first.
    Opaque,
    /// The bytes end before the transport header, or before its first fields.
    Short,
}

/// Port numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of the sender.
    pub source: u16,
    /// Of the receiver.
    pub destination: u16,
}

/// The fixed part of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number; valid if ACK is set.
    pub acknowledgment: u32,
    /// Bits of the header's byte 13: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN from the highest.
    pub flags: TcpFlags,
    /// Window as sent, not scaled.
    pub window: u16,
}

/// Flags of a TCP header, shown as tcpdump shows them: `S.` is SYN with ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// Returns whether the acknowledgment number is valid.
    pub(crate) const fn has_ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(u8, &str); 8] =
            [(0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x20, "U"), (0x40, "E"), (0x80, "W"), (0x10, ".")];
        if self.0 == 0 {
            return f.write_str("none");
        }
        LETTERS.iter().filter(|(bit, _)| self.0 & bit != 0).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// The header of an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier and sequence number of an echo request or reply.
    pub echo: Option<(u16, u16)>,
}

/// An ARP packet for IPv4 on Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 = request, 2 = reply.
    pub operation: u16,
    /// MAC address of the sender.
    pub sender_mac: [u8; 6],
    /// Address of the sender.
    pub sender: Ipv4Addr,
    /// The requested or announced address.
    pub target: Ipv4Addr,
}

/// An address with its port, if it has one: `10.0.0.1:53`, `[::1]:53`, `10.0.0.1`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: Option<u16>,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
            (address, Some(port)) => write!(f, "{address}:{port}"),
            (address, None) => write!(f, "{address}"),
        }
    }
}

impl IpPacket {
    /// Port numbers, if the protocol has them and they were captured.
    pub const fn ports(&self) -> Option<Ports> {
        match self.transport {
            Transport::Udp(ports) | Transport::Tcp(ports, _) => Some(ports),
            _ => None,
        }
    }

    /// The sender.
    pub fn source(&self) -> Endpoint {
        Endpoint { address: self.source, port: self.ports().map(|ports| ports.source) }
    }

    /// The receiver.
    pub fn destination(&self) -> Endpoint {
        Endpoint { address: self.destination, port: self.ports().map(|ports| ports.destination) }
    }
}

impl Decoded {
    /// The sender's IP address and port; of ARP, the sender's IPv4 address.
    pub fn source(&self) -> Option<Endpoint> {
        match &self.content {
            Content::Ip(ip) => Some(ip.source()),
            Content::Arp(arp) => Some(Endpoint { address: IpAddr::V4(arp.sender), port: None }),
            _ => None,
        }
    }

    /// The receiver's IP address and port; of ARP, the address in question.
    pub fn destination(&self) -> Option<Endpoint> {
        match &self.content {
            Content::Ip(ip) => Some(ip.destination()),
            Content::Arp(arp) => Some(Endpoint { address: IpAddr::V4(arp.target), port: None }),
            _ => None,
        }
    }

    /// The protocol above IP, or `arp`; `None` if the bytes do not contain it.
    pub const fn transport(&self) -> Option<TransportName> {
        match &self.content {
            Content::Ip(IpPacket { protocol: Some(protocol), .. }) => Some(TransportName::Ip(*protocol)),
            Content::Arp(_) => Some(TransportName::Arp),
            _ => None,
        }
    }

    const fn undecoded(why: Undecoded, ether_type: u16, captured: usize) -> Self {
        Self {
            vlans: Vlans { ids: [0; MAX_VLANS], length: 0 },
            ether_type,
            content: Content::Undecoded { why, captured },
        }
    }
}
