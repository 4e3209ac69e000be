//! IP headers, the extension headers behind them and the head of the transport. The bytes may end anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::ip_number;

use super::bytes::{be16, be32};
use super::{Content, Fragment, Icmp, IpPacket, Ports, Tcp, TcpFlags, Transport, Undecoded};

const HOP_BY_HOP: u8 = ip_number::IPV6_HOP_BY_HOP.0;
const ROUTING: u8 = ip_number::IPV6_ROUTE.0;
const FRAGMENT: u8 = ip_number::IPV6_FRAG.0;
const DESTINATION_OPTIONS: u8 = ip_number::IPV6_DEST_OPTIONS.0;
const AUTHENTICATION: u8 = ip_number::AUTH.0;
const UDP: u8 = ip_number::UDP.0;
const TCP: u8 = ip_number::TCP.0;
const ICMP: u8 = ip_number::ICMP.0;
const ICMPV6: u8 = ip_number::IPV6_ICMP.0;

/// Length of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// Length of an authentication header without its check value (RFC 4302).
const AUTHENTICATION_HEADER: usize = 12;

pub(super) fn ipv4(bytes: &[u8]) -> Result<Content, Undecoded> {
    let header: &[u8; IPV4_HEADER] = bytes.first_chunk().ok_or(Undecoded::Short)?;
    let length = usize::from(header[0] & 0xf) * 4;
    if header[0] >> 4 != 4 || length < IPV4_HEADER {
        return Err(Undecoded::Malformed);
    }
    let address = |at| be32(header, at).map(|number| IpAddr::from(Ipv4Addr::from(number))).ok_or(Undecoded::Short);
    let addresses = (address(12)?, address(16)?);
    let flags = u16::from_be_bytes([header[6], header[7]]);
    let fragment = Fragment {
        id: u16::from_be_bytes([header[4], header[5]]).into(),
        offset: (flags & 0x1fff) * 8,
        more: flags & 0x2000 != 0,
    };
    let fragment = fragment.is_part().then_some(fragment);
    let packet = within(bytes, length, u16::from_be_bytes([header[2], header[3]]).into());
    let next = header[9];
    let rest = match packet.get(length..) {
        Some(payload) => walk(next, payload, fragment, |next, _| next == AUTHENTICATION),
        // The header is cut within the options, behind the needed fields.
        None => Rest { protocol: (next != AUTHENTICATION).then_some(next), payload: None, fragment, is_middle: false },
    };
    Ok(content(addresses, &rest))
}

pub(super) fn ipv6(bytes: &[u8]) -> Result<Content, Undecoded> {
    let (header, payload) = bytes.split_first_chunk::<IPV6_HEADER>().ok_or(Undecoded::Short)?;
    if header[0] >> 4 != 6 {
        return Err(Undecoded::Malformed);
    }
    let octets = |at: usize| header[at..].first_chunk::<16>().ok_or(Undecoded::Short);
    let addresses = (Ipv6Addr::from(*octets(8)?).into(), Ipv6Addr::from(*octets(24)?).into());
    // A jumbogram has the length 0.
    let payload = within(payload, 1, u16::from_be_bytes([header[4], header[5]]).into());
    let is_extension = |next, is_first| match next {
        // The header comes first or not at all.
        HOP_BY_HOP => is_first,
        ROUTING | FRAGMENT | DESTINATION_OPTIONS | AUTHENTICATION => true,
        _ => false,
    };
    Ok(content(addresses, &walk(header[6], payload, None, is_extension)))
}

/// The bytes up to the header's `length`, unless it is less than `least`.
fn within(bytes: &[u8], least: usize, length: usize) -> &[u8] {
    if length < least { bytes } else { bytes.get(..length).unwrap_or(bytes) }
}

/// Facts found behind an IP header and its extension headers.
struct Rest<'a> {
    /// The protocol of the payload; absent where it is beyond the end or in another fragment.
    protocol: Option<u8>,
    /// The payload; absent when the bytes end before it.
    payload: Option<&'a [u8]>,
    fragment: Option<Fragment>,
    /// The payload starts in the middle of a packet, so no header is at its beginning.
    is_middle: bool,
}

/// Walks the extension headers, which `next` and `bytes` may start with. Each header takes some bytes, so the walk ends
/// with the bytes.
fn walk(
    mut next: u8,
    mut bytes: &[u8],
    mut fragment: Option<Fragment>,
    is_extension: impl Fn(u8, bool) -> bool,
) -> Rest<'_> {
    let mut is_first = true;
    let mut is_middle = fragment.is_some_and(Fragment::is_later);
    while is_extension(next, is_first) && !is_middle {
        let whole = extension_length(next, bytes).and_then(|length| bytes.split_at_checked(length));
        let Some((header, rest)) = whole else {
            return Rest { protocol: None, payload: None, fragment, is_middle };
        };
        if next == AUTHENTICATION && header.len() < AUTHENTICATION_HEADER {
            break;
        }
        if next == FRAGMENT {
            let found = fragment_header(header);
            // In a fragment of a fragment, the outer one is shown.
            fragment = fragment.or(found);
            is_middle = found.is_some_and(Fragment::is_later);
        }
        (next, bytes, is_first) = (header[0], rest, false);
    }
    let is_hidden = is_middle && is_extension(next, is_first);
    Rest { protocol: (!is_hidden).then_some(next), payload: Some(bytes), fragment, is_middle }
}

/// Length of an extension header; absent when the bytes end before the length field.
fn extension_length(kind: u8, bytes: &[u8]) -> Option<usize> {
    let length = usize::from(*bytes.get(1)?);
    Some(match kind {
        FRAGMENT => 8,
        AUTHENTICATION => (length + 2) * 4,
        _ => (length + 1) * 8,
    })
}

/// The fragment; absent when the packet is whole all the same (RFC 6946).
fn fragment_header(header: &[u8]) -> Option<Fragment> {
    let offset_and_more = be16(header, 2)?;
    let fragment = Fragment { id: be32(header, 4)?, offset: offset_and_more & !7, more: offset_and_more & 1 != 0 };
    fragment.is_part().then_some(fragment)
}

fn content((source, destination): (IpAddr, IpAddr), rest: &Rest<'_>) -> Content {
    let Rest { protocol, payload, fragment, is_middle } = *rest;
    let (transport, cut) = match (protocol, payload) {
        (_, None) => (Transport::Short, true),
        (Some(protocol), Some(payload)) if !is_middle => {
            let transport = transport(protocol, payload).unwrap_or(Transport::Short);
            (transport, payload.len() < header_length(protocol, payload))
        }
        _ => (Transport::Opaque, false),
    };
    Content::Ip(IpPacket { source, destination, protocol, fragment, transport, cut })
}

/// The transport; absent when the bytes end too early. The fields are read one by one, because a cut header still has
/// its ports.
fn transport(protocol: u8, bytes: &[u8]) -> Option<Transport> {
    Some(match protocol {
        UDP => Transport::Udp(ports(bytes)?),
        TCP => Transport::Tcp(ports(bytes)?, tcp(bytes)),
        ICMP => Transport::Icmp(icmp(bytes, &[0, 8])?),
        ICMPV6 => Transport::Icmpv6(icmp(bytes, &[128, 129])?),
        _ => Transport::Opaque,
    })
}

/// Length of the transport's header in bytes; 0 for a transport without a decoder.
fn header_length(protocol: u8, bytes: &[u8]) -> usize {
    match protocol {
        UDP | ICMP | ICMPV6 => 8,
        // The length includes the options.
        TCP => bytes.get(12).map_or(20, |offset| usize::from(offset >> 4) * 4).max(20),
        _ => 0,
    }
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
