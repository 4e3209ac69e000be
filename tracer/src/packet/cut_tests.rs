//! Tests with cut packets: all facts that are decoded from the beginning must be true of the whole packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::domain::event::PacketStart::{self, Mac, Network};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const DESTINATION_OPTIONS: u8 = 60;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const LENGTH_OF_ADDRESSES: usize = 12;

/// A packet of which the test knows every part.
#[derive(Clone, Debug)]
struct Known {
    start: PacketStart,
    /// The protocol that the kernel reports.
    protocol: u16,
    bytes: Vec<u8>,
    /// The end of the last header that is decoded.
    headers: usize,
    addresses: [IpAddr; 2],
    /// The transport's number; absent in a later fragment with extension headers in its payload.
    transport: Option<u8>,
    ports: Option<(u16, u16)>,
    vlans: Vec<u16>,
}

/// One header behind an IP header, without the byte that names the next one.
#[derive(Clone, Debug)]
struct Extension {
    kind: u8,
    bytes: Vec<u8>,
}

impl Extension {
    fn new(kind: u8, units: u8, fill: u8) -> Self {
        let (length, length_field) = match kind {
            FRAGMENT => (8, fill),
            // The length of the check value is odd, so that the header of IPv6 is a multiple of 8 bytes.
            AUTHENTICATION => (12 + 4 * (2 * usize::from(units) + 1), 2 * units + 2),
            _ => (8 * (usize::from(units) + 1), units),
        };
        let mut bytes = vec![fill; length - 1];
        bytes[0] = length_field;
        Self { kind, bytes }
    }

    fn fragment(offset_units: u16, more: bool) -> Self {
        let offset_and_more = (offset_units << 3 | u16::from(more)).to_be_bytes();
        Self { kind: FRAGMENT, bytes: [&[0][..], &offset_and_more, &[0xde, 0xad, 0xbe, 0xef]].concat() }
    }

    fn is_later(&self) -> bool {
        self.kind == FRAGMENT && (self.bytes[1], self.bytes[2] & !7) != (0, 0)
    }
}

/// The head of a transport, with its number; the ports are 4000 > 53.
fn transport_head(number: u8) -> Vec<u8> {
    const PORTS: [u8; 4] = [0x0f, 0xa0, 0, 53];
    match number {
        17 => [&PORTS[..], &[0, 8, 0, 0]].concat(),
        // The header has 12 bytes of options.
        6 => [&PORTS[..], &[0, 0, 4, 210, 0, 0, 0, 99, 0x80, 0x12, 2, 0, 0, 0, 0, 0], &[1; 12]].concat(),
        1 => vec![8, 0, 0, 0, 0, 7, 0, 1],
        58 => vec![128, 0, 0, 0, 0, 7, 0, 1],
        _ => vec![],
    }
}

/// Extension headers, one behind the other, and the transport behind them.
fn chain(extensions: &[Extension], transport: u8) -> (u8, Vec<u8>) {
    let next = |at: usize| extensions.get(at).map_or(transport, |extension| extension.kind);
    let headers = extensions.iter().enumerate().flat_map(|(at, extension)| {
        let next = next(at + 1);
        std::iter::once(next).chain(extension.bytes.iter().copied())
    });
    (next(0), headers.chain(transport_head(transport)).collect())
}

fn ipv6(source: Ipv6Addr, extensions: &[Extension], transport: u8) -> Known {
    let destination: Ipv6Addr = "fd00::2".parse().unwrap();
    let (next, payload) = chain(extensions, transport);
    let length = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, 64];
    let bytes = [&head[..], &source.octets(), &destination.octets(), &payload].concat();
    // Bytes from the middle of the packet stand behind the head of a later fragment.
    let later = extensions.iter().position(Extension::is_later);
    let end = later.map_or(extensions.len(), |at| at + 1);
    let walked: usize = extensions[..end].iter().map(|extension| extension.bytes.len() + 1).sum();
    let transport = (end == extensions.len()).then_some(transport);
    let headers = if later.is_some() { 40 + walked } else { bytes.len() };
    known(IPV6, bytes, headers, [source.into(), destination.into()], transport, later.is_some())
}

fn ipv4(source: Ipv4Addr, options: u8, extensions: &[Extension], transport: u8) -> Known {
    let destination = Ipv4Addr::new(10, 0, 0, 2);
    let (next, payload) = chain(extensions, transport);
    let length = 20 + 4 * usize::from(options);
    let total = u16::try_from(length + payload.len() + 20).unwrap().to_be_bytes();
    let mut header = vec![0x45 + options, 0, total[0], total[1], 0x12, 0x34, 0, 0, 64, next, 0, 0];
    header.extend(source.octets().into_iter().chain(destination.octets()));
    header.resize(length, 1);
    let sum: u32 = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let bytes = [header, payload].concat();
    let headers = bytes.len();
    known(IPV4, bytes, headers, [source.into(), destination.into()], Some(transport), false)
}

fn known(
    protocol: u16,
    mut bytes: Vec<u8>,
    headers: usize,
    addresses: [IpAddr; 2],
    transport: Option<u8>,
    is_later: bool,
) -> Known {
    bytes.extend([7; 20]);
    let has_ports = !is_later && matches!(transport, Some(6 | 17));
    let ports = has_ports.then_some((4000, 53));
    Known { start: Network, protocol, bytes, headers, addresses, transport, ports, vlans: vec![] }
}

impl Known {
    /// The same packet in an Ethernet frame with tags. `is_tagged`: the kernel did not look behind the tags.
    fn in_frame(self, destination: u8, vlans: &[u16], is_tagged: bool) -> Self {
        let mut frame = vec![destination, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for id in vlans {
            frame.extend(VLAN.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        frame.extend(self.protocol.to_be_bytes());
        let headers = frame.len() + self.headers;
        frame.extend(&self.bytes);
        let protocol = if is_tagged && !vlans.is_empty() { VLAN } else { self.protocol };
        Self { start: Mac, protocol, bytes: frame, headers, vlans: vlans.to_vec(), ..self }
    }

    /// The same packet on a device without a link header.
    fn bare(self) -> Self {
        Self { start: Mac, ..self }
    }

    fn decoded(&self, length: usize) -> Decoded {
        decode(self.start, self.protocol, &self.bytes[..length])
    }

    fn check_whole(&self) -> IpPacket {
        let decoded = self.decoded(self.bytes.len());
        let Content::Ip(ip) = decoded.content else { panic!("{decoded:?} of {self:?}") };
        assert_eq!(decoded.vlans.ids(), self.vlans);
        assert_eq!([ip.source, ip.destination], self.addresses, "{self:?}");
        assert_eq!((ip.protocol, ip.cut), (self.transport, false), "{self:?}");
        assert_eq!(ip.ports().map(|ports| (ports.source, ports.destination)), self.ports, "{self:?}");
        ip
    }

    /// Checks that all facts decoded from a beginning are true of the whole packet, and that `cut` is set where fewer
    /// facts are decoded.
    fn check_cuts(&self) {
        let whole = self.check_whole();
        for length in 0..self.bytes.len() {
            let decoded = self.decoded(length);
            let shown = || format!("{length} bytes: {decoded:?} of {self:?}");
            assert!(self.vlans.starts_with(decoded.vlans.ids()), "{}", shown());
            match decoded.content {
                Content::Ip(ip) => check_beginning(&ip, &whole, &shown),
                Content::Undecoded { why, .. } => {
                    let expected = if length == 0 { Undecoded::Empty } else { Undecoded::Short };
                    assert_eq!(why, expected, "{}", shown());
                    assert_eq!([decoded.source(), decoded.destination()], [None, None], "{}", shown());
                    assert_eq!(decoded.transport(), None, "{}", shown());
                }
                _ => panic!("{}", shown()),
            }
            if length >= self.headers {
                assert_eq!(decoded.content, Content::Ip(whole), "{}", shown());
            }
        }
    }
}

fn check_beginning(ip: &IpPacket, whole: &IpPacket, shown: &dyn Fn() -> String) {
    assert_eq!((ip.source, ip.destination), (whole.source, whole.destination), "{}", shown());
    assert!(ip.cut || ip == whole, "{}", shown());
    assert!(ip.protocol.is_none() || ip.protocol == whole.protocol, "{}", shown());
    assert!(ip.fragment.is_none() || ip.fragment == whole.fragment, "{}", shown());
    let fits = match (ip.transport, whole.transport) {
        (Transport::Short, _) => true,
        (Transport::Tcp(ports, None), Transport::Tcp(same, _)) => ports == same,
        (Transport::Icmp(a), Transport::Icmp(b)) | (Transport::Icmpv6(a), Transport::Icmpv6(b)) => {
            (a.kind, a.code) == (b.kind, b.code) && (a.echo.is_none() || a.echo == b.echo)
        }
        (a, b) => a == b,
    };
    assert!(fits, "{}", shown());
}

fn any_extension() -> impl Strategy<Value = Extension> {
    let options = (prop_oneof![Just(43), Just(DESTINATION_OPTIONS), Just(AUTHENTICATION)], 0..3_u8, any::<u8>());
    prop_oneof![
        4 => options.prop_map(|(kind, units, fill)| Extension::new(kind, units, fill)),
        1 => (0..3_u16, any::<bool>()).prop_map(|(offset, more)| Extension::fragment(offset, more)),
    ]
}

/// Hop-by-hop options come first or not at all.
fn any_extensions() -> impl Strategy<Value = Vec<Extension>> {
    let first = prop::option::of((0..3_u8, any::<u8>()).prop_map(|(units, fill)| Extension::new(0, units, fill)));
    let rest = prop::collection::vec(any_extension(), 0..5);
    (first, rest).prop_map(|(first, rest)| first.into_iter().chain(rest).collect())
}

fn any_ipv6() -> impl Strategy<Value = Known> {
    let transport = prop_oneof![Just(6), Just(17), Just(58), Just(132), Just(50), Just(59)];
    // Some addresses have Ethernet's type, or a tag's, where a frame would have it.
    let source = (any::<u128>(), prop_oneof![Just(IPV6), Just(VLAN), any::<u16>()]).prop_map(|(address, third)| {
        let mut segments = Ipv6Addr::from(address).segments();
        segments[2] = third;
        // Behind Ethernet's type, the version of another packet would be at this position.
        segments[3] &= 0x0fff;
        Ipv6Addr::from(segments)
    });
    (source, any_extensions(), transport).prop_map(|(source, extensions, number)| ipv6(source, &extensions, number))
}

fn any_ipv4() -> impl Strategy<Value = Known> {
    let transport = prop_oneof![Just(6), Just(17), Just(1), Just(132), Just(50), Just(59)];
    // The same for 8.0.0.0/16 and 129.0.0.0/16.
    let source = (prop_oneof![Just(0x0800), Just(VLAN), any::<u16>()], any::<u16>())
        .prop_map(|(high, low)| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    let headers = prop::collection::vec((0..3_u8, any::<u8>()), 0..3);
    (source, 0..=10_u8, headers, transport).prop_map(|(source, options, headers, number)| {
        let headers = headers.iter().map(|&(units, fill)| Extension::new(AUTHENTICATION, units, fill));
        ipv4(source, options, &headers.collect::<Vec<_>>(), number)
    })
}

fn any_known() -> impl Strategy<Value = Known> {
    let ip = prop_oneof![any_ipv6(), any_ipv4()];
    let vlans = prop::collection::vec(0..4096_u16, 0..=MAX_VLANS);
    // Some MAC addresses start as an IP header does.
    let mac = prop_oneof![Just(0x02), Just(0x46), Just(0x4e), Just(0x60)];
    (ip, 0..3, mac, vlans, any::<bool>()).prop_map(|(ip, on, mac, vlans, is_tagged)| match on {
        0 => ip,
        1 => ip.bare(),
        _ => ip.in_frame(mac, &vlans, is_tagged),
    })
}

proptest! {
    #[test]
    fn facts_of_cut_packets_are_true_of_the_whole(packet in any_known()) {
        packet.check_cuts();
    }
}

#[test]
fn transport_behind_a_cut_extension_header_is_not_named() {
    let source = "fd00::1".parse().unwrap();
    let chain = vec![Extension::new(DESTINATION_OPTIONS, 1, 0); 6];
    let packet = ipv6(source, &chain, 17).in_frame(2, &[], false);
    packet.check_cuts();
    let Content::Ip(ip) = packet.decoded(100).content else { panic!("no IP") };
    let expected = IpPacket {
        source: source.into(),
        destination: "fd00::2".parse().unwrap(),
        protocol: None,
        fragment: None,
        transport: Transport::Short,
        cut: true,
    };
    assert_eq!(ip, expected);
}

#[test]
fn addresses_are_known_where_ipv4_options_are_cut() {
    let source = Ipv4Addr::new(10, 0, 0, 1);
    let decoded = ipv4(source, 10, &[], 17).decoded(LENGTH_OF_ADDRESSES + 8);
    let Content::Ip(ip) = decoded.content else { panic!("{decoded:?}") };
    assert_eq!((ip.source, ip.protocol, ip.transport, ip.cut), (source.into(), Some(17), Transport::Short, true));
    // Another protocol follows the authentication header.
    let decoded = ipv4(source, 10, &[Extension::new(AUTHENTICATION, 0, 0)], 17).decoded(LENGTH_OF_ADDRESSES + 8);
    assert_eq!(decoded.transport(), None);
}

#[test]
fn payload_of_a_later_fragment_is_no_header() {
    let source = "fd00::1".parse().unwrap();
    let later = Extension::fragment(2, true);
    let packet = ipv6(source, &[later.clone(), Extension::new(DESTINATION_OPTIONS, 0, 6)], 17);
    let ip = packet.check_whole();
    assert_eq!((ip.protocol, ip.transport), (None, Transport::Opaque));
    let first = Extension::fragment(0, true);
    let ip = ipv6(source, &[first, Extension::new(DESTINATION_OPTIONS, 0, 6)], 17).check_whole();
    assert_eq!((ip.protocol, ip.fragment.map(|fragment| fragment.more)), (Some(17), Some(true)));
    let ip = ipv6(source, &[later], 17).check_whole();
    assert_eq!((ip.protocol, ip.transport), (Some(17), Transport::Opaque));
}

#[test]
fn cut_arp_has_no_address() {
    let packet = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    let frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &packet, &[0; 18]].concat();
    let whole = decode(Mac, ARP, &frame);
    assert!(matches!(whole.content, Content::Arp(arp) if arp.target == Ipv4Addr::new(10, 0, 0, 2)));
    for length in 1..frame.len() {
        let decoded = decode(Mac, ARP, &frame[..length]);
        if length < 14 + packet.len() {
            let is_short = matches!(decoded.content, Content::Undecoded { why: Undecoded::Short, .. });
            assert!(is_short && decoded.source().is_none() && decoded.transport().is_none(), "{length}: {decoded:?}");
        } else {
            assert_eq!(decoded, whole, "{length}");
        }
    }
}
