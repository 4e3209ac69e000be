//! A packet in the notation of tcpdump.

use std::fmt;

use crate::dimension::ProtocolName;
use crate::domain::event::{DropEvent, Kind};
use crate::domain::facts::VlanTag;
use crate::packet::{
    Arp, Content, Decoded, Fragment, Icmp, IpPacket, Tcp, Transport, TransportName, Undecoded, decode,
};

/// The drop reason of frames that are not for this host.
const OTHERHOST: &str = "OTHERHOST";

/// `UDP 10.0.0.1:53 > 10.0.0.2:4444 len 90`.
pub(super) struct Described {
    decoded: Decoded,
    length: u32,
    kind: Kind,
    /// A frame for another host, although it was sent to the device's own address: this host does not have its VLAN.
    has_unknown_vlan: bool,
}

impl Described {
    pub(super) fn new(event: &DropEvent<'_>) -> Self {
        let decoded = decode(event.start, event.key.protocol, event.bytes).with_tag(event.facts.vlan.map(VlanTag::id));
        let kind = event.key.kind;
        let has_unknown_vlan = &*event.key.reason.name == OTHERHOST && event.is_to_device() == Some(true);
        Self { decoded, length: event.length, kind, has_unknown_vlan }
    }

    /// A packet that no record of a drop describes.
    pub(super) const fn of(decoded: Decoded, length: u32) -> Self {
        Self { decoded, length, kind: Kind::Packet, has_unknown_vlan: false }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Empty => return f.write_str("no packet: an empty buffer"),
            Kind::Xdp => return f.write_str("a frame whose bytes XDP does not report"),
            Kind::Copy => f.write_str("a copy of ")?,
            Kind::Unix => return write!(f, "Unix socket message len {}", self.length),
            _ => {}
        }
        for id in self.decoded.vlans.ids() {
            write!(f, "vlan {id} ")?;
        }
        match &self.decoded.content {
            Content::Ip(packet) => ip(f, packet)?,
            Content::Arp(packet) => arp(f, packet)?,
            Content::Frame { source, destination } => {
                write!(f, "{} {} > {}", ProtocolName(self.decoded.ether_type), Mac(source), Mac(destination))?;
            }
            Content::Undecoded { why, captured } => undecoded(f, &self.decoded, *why, *captured)?,
        }
        if self.has_unknown_vlan {
            f.write_str(" to this device's own address (a VLAN without a device here)")?;
        }
        write!(f, " len {}", self.length)
    }
}

fn ip(f: &mut fmt::Formatter<'_>, packet: &IpPacket) -> fmt::Result {
    match packet.transport {
        Transport::Udp(_) => f.write_str("UDP")?,
        Transport::Tcp(..) => f.write_str("TCP")?,
        Transport::Icmp(_) => f.write_str("ICMP")?,
        Transport::Icmpv6(_) => f.write_str("ICMPv6")?,
        Transport::Opaque | Transport::Short => match packet.protocol {
            Some(protocol) => write!(f, "{}", TransportName::Ip(protocol))?,
            None => f.write_str(if packet.source.is_ipv4() { "ipv4" } else { "ipv6" })?,
        },
    }
    write!(f, " {} > {}", packet.source(), packet.destination())?;
    match packet.transport {
        Transport::Tcp(_, Some(header)) => tcp(f, header)?,
        Transport::Icmp(message) => icmp(f, message, icmp_name(message))?,
        Transport::Icmpv6(message) => icmp(f, message, icmpv6_name(message))?,
        Transport::Udp(_) | Transport::Tcp(_, None) | Transport::Opaque | Transport::Short => {}
    }
    if packet.cut {
        f.write_str(" (cut)")?;
    }
    packet.fragment.map_or(Ok(()), |fragment| fragmented(f, fragment))
}

fn tcp(f: &mut fmt::Formatter<'_>, header: Tcp) -> fmt::Result {
    write!(f, " [{}] seq {}", header.flags, header.sequence)?;
    if header.flags.has_ack() {
        write!(f, " ack {}", header.acknowledgment)?;
    }
    write!(f, " win {}", header.window)
}

fn icmp(f: &mut fmt::Formatter<'_>, message: Icmp, name: &str) -> fmt::Result {
    write!(f, " type {} code {}", message.kind, message.code)?;
    if !name.is_empty() {
        write!(f, " ({name})")?;
    }
    message.echo.map_or(Ok(()), |(id, sequence)| write!(f, " id {id} seq {sequence}"))
}

/// Names of messages that are often dropped or report drops (`include/uapi/linux/icmp.h`).
const fn icmp_name(message: Icmp) -> &'static str {
    match (message.kind, message.code) {
        (0, _) => "echo reply",
        (3, 0) => "net unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, _) => "unreachable",
        (5, _) => "redirect",
        (8, _) => "echo request",
        (11, _) => "time exceeded",
        (12, _) => "parameter problem",
        _ => "",
    }
}

/// The same for `ICMPv6` (`include/uapi/linux/icmpv6.h`, RFC 4861, RFC 3810).
const fn icmpv6_name(message: Icmp) -> &'static str {
    match (message.kind, message.code) {
        (1, 0) => "no route",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "unreachable",
        (2, _) => "packet too big",
        (3, _) => "time exceeded",
        (4, _) => "parameter problem",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (130, _) => "multicast query",
        (131 | 143, _) => "multicast report",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbour solicitation",
        (136, _) => "neighbour advertisement",
        (137, _) => "redirect",
        _ => "",
    }
}

fn fragmented(f: &mut fmt::Formatter<'_>, fragment: Fragment) -> fmt::Result {
    write!(f, " frag id {:#x} offset {}", fragment.id, fragment.offset)?;
    if fragment.more { f.write_str(" more") } else { Ok(()) }
}

fn arp(f: &mut fmt::Formatter<'_>, packet: &Arp) -> fmt::Result {
    let Arp { operation, sender_mac, sender, target } = packet;
    match operation {
        1 => write!(f, "ARP who-has {target} tell {sender}"),
        2 => write!(f, "ARP {sender} is-at {} for {target}", Mac(sender_mac)),
        other => write!(f, "ARP operation {other} {sender} > {target}"),
    }
}

fn undecoded(f: &mut fmt::Formatter<'_>, decoded: &Decoded, why: Undecoded, captured: usize) -> fmt::Result {
    match decoded.ether_type {
        0 => f.write_str("unknown protocol")?,
        other => write!(f, "{}", ProtocolName(other))?,
    }
    let why = match why {
        Undecoded::Empty => return f.write_str(" (no bytes)"),
        Undecoded::Short => ", cut",
        Undecoded::Malformed => ", malformed",
        Undecoded::UnknownLink => ", unknown link header",
        Undecoded::UnknownProtocol => "",
    };
    write!(f, " ({captured} bytes{why})")
}

struct Mac<'a>(&'a [u8; 6]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}
