//! The leading bytes of a dropped packet, decoded as far as they go: addresses, ports and what else tells one drop from
//! another. Nothing is allocated, and nothing that a sender writes can make it panic.

mod bytes;
#[cfg(test)]
mod cut_tests;
mod decode;
mod ip;
mod names;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

pub use decode::decode;
pub use names::TransportName;

/// VLAN tags that are kept, outermost first. More than two are not in use.
pub const MAX_VLANS: usize = 3;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// VLAN tags: that which the kernel took out of the bytes, where it is known, then those that stand there.
    pub vlans: Vlans,
    /// `EtherType` of the content; 0 when it is not known.
    pub ether_type: u16,
    /// What is inside.
    pub content: Content,
}

impl Decoded {
    /// With the tag that the kernel took out of the bytes, which was the outermost.
    #[must_use]
    pub fn with_tag(mut self, id: Option<u16>) -> Self {
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

    /// Puts a tag that the kernel took out of the bytes before those that stand there. The innermost gives way when there
    /// is no room.
    fn prepend(&mut self, id: u16) {
        self.ids.rotate_right(1);
        self.ids[0] = id;
        self.length = (self.length + 1).min(MAX_VLANS);
    }

    /// False when there is no room.
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
    /// Bytes that give no more than their number.
    Undecoded {
        /// What stood in the way.
        why: Undecoded,
        /// Leading bytes that there are, from the start of what could not be decoded.
        captured: usize,
    },
}

/// Why bytes were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// There are none.
    Empty,
    /// They end within a header.
    Short,
    /// A header contradicts itself, such as an IPv4 packet of version 5.
    Malformed,
    /// They start with a link header that is not Ethernet's.
    UnknownLink,
    /// No protocol was told for them, or one that is not decoded.
    UnknownProtocol,
}

/// An IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPacket {
    /// Address of the sender.
    pub source: IpAddr,
    /// Address of the receiver.
    pub destination: IpAddr,
    /// IP protocol number of `transport`, behind extension headers; none where the bytes end within these, and in a
    /// fragment that has them in its payload.
    pub protocol: Option<u8>,
    /// None when the packet is whole, and when the bytes end before this is told.
    pub fragment: Option<Fragment>,
    /// What it carries.
    pub transport: Transport,
    /// The bytes end within a header: IPv4 options, an extension header, or the transport's own.
    pub cut: bool,
}

/// The place of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The packet's identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Bytes from the start of the packet's payload.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

impl Fragment {
    /// False for a header that says: here is the whole packet.
    const fn is_part(self) -> bool {
        self.offset > 0 || self.more
    }

    /// It starts in the middle of the payload, so no header is at its beginning.
    const fn is_later(self) -> bool {
        self.offset > 0
    }
}

/// The head of what an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp(Ports),
    /// TCP; the header is none when only the ports were captured.
    Tcp(Ports, Option<Tcp>),
    /// `ICMPv4`.
    Icmp(Icmp),
    /// `ICMPv6`.
    Icmpv6(Icmp),
    /// A protocol that is told by number only, or a fragment other than the first.
    Opaque,
    /// The bytes end before it, or so early within it that nothing of it is known.
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
    /// Acknowledgment number; it means something when ACK is set.
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
    /// The acknowledgment number means something.
    pub const fn has_ack(self) -> bool {
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

/// The head of an ICMP message.
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
    /// Address that is asked for, or answered to.
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
    /// Port numbers, where the protocol has them and they were captured.
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

    /// What the packet carries above IP, or `arp`; none where the bytes do not tell.
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
