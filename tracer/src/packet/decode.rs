use std::net::{IpAddr, Ipv4Addr};

use etherparse::{
    ArpHardwareId, ArpPacketSlice, Ipv4HeaderSlice, Ipv6ExtensionSlice, Ipv6ExtensionsSlice, LaxIpPayloadSlice,
    LaxIpv4Slice, LaxIpv6Slice, SingleVlanSlice, err, ether_type, ip_number,
};

use super::{Arp, Content, Decoded, Fragment, Icmp, IpPacket, Ports, Tcp, TcpFlags, Transport, Undecoded, Vlans};
use crate::event::PacketStart;

const ETHERNET_HEADER: usize = 14;
const IPV4: u16 = ether_type::IPV4.0;
const IPV6: u16 = ether_type::IPV6.0;
const ARP: u16 = ether_type::ARP.0;
/// Below this, the field is a length: an 802.3 frame (`ETH_P_802_3_MIN`, `include/uapi/linux/if_ether.h`).
const MIN_ETHER_TYPE: u16 = 0x0600;
/// `skb->protocol` of 802.3 frames: `ETH_P_802_3` and `ETH_P_802_2`.
const LENGTH_PROTOCOLS: [u16; 2] = [0x0001, 0x0004];

/// Decodes the leading bytes of a packet, which may end anywhere.
///
/// `protocol` is `skb->protocol`, an `EtherType` in the host's byte order, 0 when not set. What the kernel calls the
/// MAC header need not be Ethernet's: on devices that carry bare IP (tun, ipip, wireguard) it is the network header
/// itself. So bytes count as Ethernet only where they agree with `protocol`.
pub fn decode(start: PacketStart, protocol: u16, bytes: &[u8]) -> Decoded {
    if bytes.is_empty() {
        return Decoded::undecoded(Undecoded::Empty, protocol, 0);
    }
    match (start, protocol) {
        (PacketStart::Nothing, _) => Decoded::undecoded(Undecoded::Empty, protocol, 0),
        (PacketStart::Network, 0) => Decoded::undecoded(Undecoded::UnknownProtocol, 0, bytes.len()),
        (PacketStart::Network, _) => network(protocol, bytes, None),
        (PacketStart::Mac, _) => match link(protocol, bytes) {
            Link::Ethernet { ether_type, source, destination } => {
                network(ether_type, &bytes[ETHERNET_HEADER..], Some(Content::Frame { source, destination }))
            }
            Link::BareIp => network(protocol, bytes, None),
            Link::Short => Decoded::undecoded(Undecoded::Short, protocol, bytes.len()),
            Link::Unknown => Decoded::undecoded(Undecoded::UnknownLink, protocol, bytes.len()),
        },
    }
}

enum Link {
    Ethernet { ether_type: u16, source: [u8; 6], destination: [u8; 6] },
    BareIp,
    Short,
    Unknown,
}

fn link(protocol: u16, bytes: &[u8]) -> Link {
    let bare = looks_like_bare_ip(protocol, bytes);
    let Some((destination, rest)) = bytes.split_first_chunk::<6>() else {
        return if bare { Link::BareIp } else { Link::Short };
    };
    let Some((source, rest)) = rest.split_first_chunk::<6>() else {
        return if bare { Link::BareIp } else { Link::Short };
    };
    let Some(ether_type) = be16(rest, 0) else { return if bare { Link::BareIp } else { Link::Short } };
    let ethernet = Link::Ethernet { ether_type, source: *source, destination: *destination };
    match (agrees(ether_type, &rest[2..], protocol), bare) {
        // A bare IPv4 packet from 8.0.0.0/16 has Ethernet's 0x0800 where the type would stand; a frame to a MAC
        // address that starts with 0x46 looks like an IPv4 header. Only one of them has a right checksum.
        (true, true) if protocol == IPV4 && has_right_checksum(bytes) => Link::BareIp,
        (true, _) => ethernet,
        (false, true) => Link::BareIp,
        (false, false) => Link::Unknown,
    }
}

fn looks_like_bare_ip(protocol: u16, bytes: &[u8]) -> bool {
    let first = bytes.first().copied().unwrap_or_default();
    match protocol {
        IPV4 => first >> 4 == 4 && first & 0xf >= 5,
        IPV6 => first >> 4 == 6,
        _ => false,
    }
}

fn has_right_checksum(bytes: &[u8]) -> bool {
    Ipv4HeaderSlice::from_slice(bytes)
        .is_ok_and(|header| header.header_checksum() == header.to_header().calc_header_checksum())
}

/// Whether an Ethernet header with this type may belong to a packet of `protocol`, which is the type of the frame or,
/// where the kernel has looked behind VLAN tags, that of their content.
fn agrees(outer: u16, payload: &[u8], protocol: u16) -> bool {
    if protocol == 0 {
        return match outer {
            IPV4 => payload.first().is_some_and(|first| first >> 4 == 4),
            IPV6 => payload.first().is_some_and(|first| first >> 4 == 6),
            ARP => be16(payload, 0) == Some(ArpHardwareId::ETHERNET.0),
            _ => false,
        };
    }
    let (mut ether_type, mut rest) = (outer, payload);
    while ether_type != protocol && is_vlan_tag(ether_type) {
        // Cut within the tags: nothing speaks against it.
        let Some(inner) = be16(rest, 2) else { return true };
        (ether_type, rest) = (inner, &rest[4..]);
    }
    ether_type == protocol || ether_type < MIN_ETHER_TYPE && LENGTH_PROTOCOLS.contains(&protocol)
}

const fn is_vlan_tag(ether_type: u16) -> bool {
    matches!(
        etherparse::EtherType(ether_type),
        ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | ether_type::VLAN_DOUBLE_TAGGED_FRAME
    )
}

/// `frame` is shown where the content is none that is decoded.
fn network(mut ether_type: u16, mut bytes: &[u8], frame: Option<Content>) -> Decoded {
    let mut vlans = Vlans::default();
    while is_vlan_tag(ether_type) {
        let Ok(tag) = SingleVlanSlice::from_slice(bytes) else {
            let content = Content::Undecoded { why: Undecoded::Short, captured: bytes.len() };
            return Decoded { vlans, ether_type, content };
        };
        if !vlans.push(tag.vlan_identifier().value()) {
            break;
        }
        (ether_type, bytes) = (tag.ether_type().0, tag.payload_slice());
    }
    let content = match ether_type {
        IPV4 => ipv4(bytes),
        IPV6 => ipv6(bytes),
        ARP => arp(bytes),
        _ => frame.ok_or(Undecoded::UnknownProtocol),
    };
    let content = content.unwrap_or_else(|why| Content::Undecoded { why, captured: bytes.len() });
    Decoded { vlans, ether_type, content }
}

fn ipv4(bytes: &[u8]) -> Result<Content, Undecoded> {
    let (packet, _) = LaxIpv4Slice::from_slice(bytes).map_err(|error| match error {
        err::ipv4::HeaderSliceError::Len(_) => Undecoded::Short,
        err::ipv4::HeaderSliceError::Content(_) => Undecoded::Malformed,
    })?;
    let header = packet.header();
    let fragment = header.is_fragmenting_payload().then(|| Fragment {
        id: header.identification().into(),
        offset: header.fragments_offset().byte_offset(),
        more: header.more_fragments(),
    });
    Ok(ip(IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), fragment, packet.payload()))
}

fn ipv6(bytes: &[u8]) -> Result<Content, Undecoded> {
    let (packet, _) = LaxIpv6Slice::from_slice(bytes).map_err(|error| match error {
        err::ipv6::HeaderSliceError::Len(_) => Undecoded::Short,
        err::ipv6::HeaderSliceError::Content(_) => Undecoded::Malformed,
    })?;
    let header = packet.header();
    let (source, destination) = (header.source_addr(), header.destination_addr());
    Ok(ip(IpAddr::V6(source), IpAddr::V6(destination), ipv6_fragment(packet.extensions()), packet.payload()))
}

fn ipv6_fragment(extensions: &Ipv6ExtensionsSlice<'_>) -> Option<Fragment> {
    extensions.clone().into_iter().find_map(|extension| match extension {
        Ipv6ExtensionSlice::Fragment(header) if header.is_fragmenting_payload() => Some(Fragment {
            id: header.identification(),
            offset: header.fragment_offset().byte_offset(),
            more: header.more_fragments(),
        }),
        _ => None,
    })
}

fn ip(source: IpAddr, destination: IpAddr, fragment: Option<Fragment>, payload: &LaxIpPayloadSlice<'_>) -> Content {
    let transport = if fragment.is_some_and(|fragment| fragment.offset > 0) {
        Transport::Opaque
    } else {
        transport(payload).unwrap_or(Transport::Short)
    };
    Content::Ip(IpPacket { source, destination, protocol: payload.ip_number.0, fragment, transport })
}

/// None when the bytes end too early. Read field by field, for a header that is cut still tells its ports.
fn transport(payload: &LaxIpPayloadSlice<'_>) -> Option<Transport> {
    let bytes = payload.payload;
    Some(match payload.ip_number {
        ip_number::UDP => Transport::Udp(ports(bytes)?),
        ip_number::TCP => Transport::Tcp(ports(bytes)?, tcp(bytes)),
        ip_number::ICMP => Transport::Icmp(icmp(bytes, &[0, 8])?),
        ip_number::IPV6_ICMP => Transport::Icmpv6(icmp(bytes, &[128, 129])?),
        _ => Transport::Opaque,
    })
}

fn ports(bytes: &[u8]) -> Option<Ports> {
    Some(Ports { source: be16(bytes, 0)?, destination: be16(bytes, 2)? })
}

fn tcp(bytes: &[u8]) -> Option<Tcp> {
    Some(Tcp {
        sequence: be32(bytes, 4)?,
        acknowledgment: be32(bytes, 8)?,
        flags: TcpFlags(*bytes.get(13)?),
        window: be16(bytes, 14)?,
    })
}

fn icmp(bytes: &[u8], echo_kinds: &[u8]) -> Option<Icmp> {
    let (kind, code) = (*bytes.first()?, *bytes.get(1)?);
    let echo = echo_kinds.contains(&kind).then(|| Some((be16(bytes, 4)?, be16(bytes, 6)?))).flatten();
    Some(Icmp { kind, code, echo })
}

fn arp(bytes: &[u8]) -> Result<Content, Undecoded> {
    let packet = ArpPacketSlice::from_slice(bytes).map_err(|_| Undecoded::Short)?;
    let ipv4 = |address: &[u8]| <[u8; 4]>::try_from(address).map(Ipv4Addr::from).map_err(|_| Undecoded::Malformed);
    Ok(Content::Arp(Arp {
        operation: packet.operation().0,
        sender_mac: packet.sender_hw_addr().try_into().map_err(|_| Undecoded::Malformed)?,
        sender: ipv4(packet.sender_protocol_addr())?,
        target: ipv4(packet.target_protocol_addr())?,
    }))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
