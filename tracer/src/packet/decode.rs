use std::net::Ipv4Addr;

use etherparse::{ArpHardwareId, ArpPacketSlice, Ipv4HeaderSlice, SingleVlanSlice, err, ether_type};

use super::bytes::be16;
use super::ip::{ipv4, ipv6};
use super::{Arp, Content, Decoded, Undecoded, Vlans};
use crate::domain::event::PacketStart;

pub(super) const ETHERNET_HEADER: usize = 14;
const IPV4: u16 = ether_type::IPV4.0;
const IPV6: u16 = ether_type::IPV6.0;
const ARP: u16 = ether_type::ARP.0;
/// Smallest `EtherType`. Below it, the field is a length: an 802.3 frame (`ETH_P_802_3_MIN`,
/// `include/uapi/linux/if_ether.h`).
pub(super) const MIN_ETHER_TYPE: u16 = 0x0600;
/// `skb->protocol` of 802.3 frames: `ETH_P_802_3` and `ETH_P_802_2`.
const LENGTH_PROTOCOLS: [u16; 2] = [0x0001, 0x0004];

/// Decodes the leading bytes of a packet, which may end anywhere.
///
/// `protocol` is `skb->protocol`, an `EtherType` in the host's byte order, 0 when not set. The header that the kernel
/// calls MAC header need not be Ethernet's: on devices that carry bare IP (tun, ipip, wireguard) it is the network
/// header itself. So bytes count as Ethernet only where they agree with `protocol`.
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

/// The header that a packet's leading bytes start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkHeader {
    /// Ethernet's.
    Ethernet,
    /// That of IPv4 or IPv6.
    BareIp,
    /// That of another network protocol, which `skb->protocol` says.
    Absent,
    /// There are no bytes, or it is not known what they are.
    Unknown,
}

/// Returns the header that the bytes start with; see [`decode`] for the arguments.
pub(crate) fn link_header(start: PacketStart, protocol: u16, bytes: &[u8]) -> LinkHeader {
    match (start, protocol) {
        _ if bytes.is_empty() => LinkHeader::Unknown,
        (PacketStart::Nothing, _) | (PacketStart::Network, 0) => LinkHeader::Unknown,
        (PacketStart::Network, IPV4 | IPV6) => LinkHeader::BareIp,
        (PacketStart::Network, _) => LinkHeader::Absent,
        (PacketStart::Mac, _) => match link(protocol, bytes) {
            Link::Ethernet { .. } => LinkHeader::Ethernet,
            Link::BareIp => LinkHeader::BareIp,
            Link::Short | Link::Unknown => LinkHeader::Unknown,
        },
    }
}

pub(super) enum Link {
    Ethernet { ether_type: u16, source: [u8; 6], destination: [u8; 6] },
    BareIp,
    Short,
    Unknown,
}

pub(super) fn link(protocol: u16, bytes: &[u8]) -> Link {
    let bare = looks_like_bare_ip(protocol, bytes);
    let Some((destination, rest)) = bytes.split_first_chunk::<6>() else {
        return if bare { Link::BareIp } else { Link::Short };
    };
    let Some((source, rest)) = rest.split_first_chunk::<6>() else {
        return if bare { Link::BareIp } else { Link::Short };
    };
    let Some(ether_type) = be16(rest, 0) else { return if bare { Link::BareIp } else { Link::Short } };
    let ethernet = Link::Ethernet { ether_type, source: *source, destination: *destination };
    match (agreement(ether_type, &rest[2..], protocol), bare) {
        (Agreement::Content(content), true) => ethernet_or_bare_ip(ethernet, bytes, protocol, content),
        // Behind cut tags, no byte tells the two apart.
        (Agreement::CutTags, true) => Link::Short,
        (Agreement::Contradiction, true) => Link::BareIp,
        (Agreement::Contradiction, false) => Link::Unknown,
        (Agreement::Content(_) | Agreement::CutTags, false) => ethernet,
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

/// Decides between an Ethernet frame and a bare IP packet. A bare IPv4 packet from 8.0.0.0/16 has Ethernet's 0x0800
/// where the type would be, and IPv6 packets have 0x86dd there from some addresses; a frame to a MAC address that
/// starts with 0x46 looks like an IPv4 header. Only one of them has a right checksum, and for IPv6 the position of the
/// version decides. `content` is the payload of the Ethernet header, if there is one.
fn ethernet_or_bare_ip(ethernet: Link, bytes: &[u8], protocol: u16, content: &[u8]) -> Link {
    if protocol == IPV6 {
        return match content.first().map(|first| first >> 4) {
            None => Link::Short,
            Some(6) => ethernet,
            Some(_) => Link::BareIp,
        };
    }
    match has_right_checksum(bytes) {
        Some(true) => Link::BareIp,
        None if has_right_checksum(content) != Some(true) => Link::Short,
        _ => ethernet,
    }
}

/// Whether the IPv4 checksum is right; absent when the bytes end within the IPv4 header.
fn has_right_checksum(bytes: &[u8]) -> Option<bool> {
    match Ipv4HeaderSlice::from_slice(bytes) {
        Ok(header) => Some(header.header_checksum() == header.to_header().calc_header_checksum()),
        Err(err::ipv4::HeaderSliceError::Len(_)) => None,
        Err(err::ipv4::HeaderSliceError::Content(_)) => Some(false),
    }
}

/// Whether an Ethernet header agrees with the packet's protocol.
enum Agreement<'a> {
    /// The header contradicts the protocol.
    Contradiction,
    /// The bytes end within VLAN tags, and no byte contradicts the protocol.
    CutTags,
    /// The header agrees; the bytes behind the header and its tags.
    Content(&'a [u8]),
}

/// Whether an Ethernet header with this type may belong to a packet of `protocol`, which is the type of the frame or,
/// where the kernel has looked behind VLAN tags, that of their content.
fn agreement(outer: u16, payload: &[u8], protocol: u16) -> Agreement<'_> {
    let agrees = |agrees: bool, content| if agrees { Agreement::Content(content) } else { Agreement::Contradiction };
    if protocol == 0 {
        let first = payload.first().copied().unwrap_or_default();
        return match outer {
            IPV4 => agrees(first >> 4 == 4, payload),
            IPV6 => agrees(first >> 4 == 6, payload),
            ARP => agrees(be16(payload, 0) == Some(ArpHardwareId::ETHERNET.0), payload),
            _ => Agreement::Contradiction,
        };
    }
    let (mut ether_type, mut rest) = (outer, payload);
    while ether_type != protocol && is_vlan_tag(ether_type) {
        let Some(inner) = be16(rest, 2) else { return Agreement::CutTags };
        (ether_type, rest) = (inner, &rest[4..]);
    }
    let is_length = ether_type < MIN_ETHER_TYPE && LENGTH_PROTOCOLS.contains(&protocol);
    agrees(ether_type == protocol || is_length, rest)
}

pub(super) const fn is_vlan_tag(ether_type: u16) -> bool {
    matches!(
        etherparse::EtherType(ether_type),
        ether_type::VLAN_TAGGED_FRAME | ether_type::PROVIDER_BRIDGING | ether_type::VLAN_DOUBLE_TAGGED_FRAME
    )
}

/// `frame` is shown where the content has no decoder.
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
