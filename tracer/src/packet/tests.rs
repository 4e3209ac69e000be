use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header,
    Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, PacketBuilder, VlanId, ip_number,
};
use proptest::prelude::*;

use super::*;
use crate::domain::event::PacketStart::{self, Mac, Network, Nothing};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const ETHERNET: usize = 14;
const SRC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A name, the arguments of `decode`, and the expected result.
type Case<'a, T> = (&'a str, PacketStart, u16, &'a [u8], T);

/// The three columns of JSON, `-` for absent ones.
fn columns(decoded: &Decoded) -> [String; 3] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        or_dash(decoded.source().map(|endpoint| endpoint.to_string())),
        or_dash(decoded.destination().map(|endpoint| endpoint.to_string())),
        or_dash(decoded.transport().map(|name| name.to_string())),
    ]
}

fn undecoded(why: Undecoded, captured: usize) -> Content {
    Content::Undecoded { why, captured }
}

fn udp4(dst_mac: [u8; 6], source: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(SRC_MAC, dst_mac).ipv4(source, [10, 0, 0, 2], 64).udp(53, 4444);
    builder.write(&mut bytes, &[7; 48]).unwrap();
    bytes
}

fn tcp6() -> Vec<u8> {
    let mut bytes = Vec::new();
    let (source, destination) = (std::net::Ipv6Addr::LOCALHOST.octets(), "fe80::2".parse::<std::net::Ipv6Addr>());
    let builder = PacketBuilder::ethernet2(SRC_MAC, DST_MAC).ipv6(source, destination.unwrap().octets(), 64);
    builder.tcp(80, 5000, 1234, 512).syn().ack(99).write(&mut bytes, &[]).unwrap();
    bytes
}

fn arp_request() -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &SRC_MAC,
        &[10, 0, 0, 1],
        &[0; 6],
        &[10, 0, 0, 2],
    );
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, [0xff; 6]).arp(packet.unwrap()).write(&mut bytes).unwrap();
    bytes
}

fn ipv4_fragment(offset_units: u16, more: bool) -> Vec<u8> {
    let mut header = Ipv4Header::new(48, 64, ip_number::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    header.identification = 0x1234;
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new(offset_units).unwrap();
    let mut bytes = Vec::new();
    PacketBuilder::ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        .udp(53, 4444)
        .write(&mut bytes, &[0; 40])
        .unwrap();
    bytes
}

fn ipv6_fragment() -> Vec<u8> {
    let fragment = Ipv6FragmentHeader::new(ip_number::UDP, IpFragOffset::try_new(181).unwrap(), true, 0xdead_beef);
    let header = Ipv6Header { next_header: ip_number::IPV6_FRAG, hop_limit: 64, ..Default::default() };
    let extensions = Ipv6Extensions { fragment: Some(fragment), ..Default::default() };
    let mut bytes = Vec::new();
    PacketBuilder::ip(IpHeaders::Ipv6(header, extensions)).udp(53, 4444).write(&mut bytes, &[0; 40]).unwrap();
    bytes
}

#[test]
fn source_destination_and_transport_are_decoded() {
    let (udp, tcp, arp) = (udp4(DST_MAC, [10, 0, 0, 1]), tcp6(), arp_request());
    let cases: &[Case<'_, [&str; 3]>] = &[
        ("udp over ethernet", Mac, IPV4, &udp, ["10.0.0.1:53", "10.0.0.2:4444", "udp"]),
        ("udp, protocol not columns", Mac, 0, &udp, ["10.0.0.1:53", "10.0.0.2:4444", "udp"]),
        ("udp from the network header", Network, IPV4, &udp[ETHERNET..], ["10.0.0.1:53", "10.0.0.2:4444", "udp"]),
        ("udp on a tun device", Mac, IPV4, &udp[ETHERNET..], ["10.0.0.1:53", "10.0.0.2:4444", "udp"]),
        ("udp, cut behind its ports", Mac, IPV4, &udp[..38], ["10.0.0.1:53", "10.0.0.2:4444", "udp"]),
        ("udp, cut within its ports", Mac, IPV4, &udp[..37], ["10.0.0.1", "10.0.0.2", "udp"]),
        ("udp, cut within ip", Mac, IPV4, &udp[..33], ["-", "-", "-"]),
        ("tcp over ipv6", Mac, IPV6, &tcp, ["[::1]:80", "[fe80::2]:5000", "tcp"]),
        ("tcp over ipv6 on a tun device", Mac, IPV6, &tcp[ETHERNET..], ["[::1]:80", "[fe80::2]:5000", "tcp"]),
        ("arp", Mac, ARP, &arp, ["10.0.0.1", "10.0.0.2", "arp"]),
        ("arp from the network header", Network, ARP, &arp[ETHERNET..], ["10.0.0.1", "10.0.0.2", "arp"]),
        ("arp, protocol not columns", Mac, 0, &arp, ["10.0.0.1", "10.0.0.2", "arp"]),
        ("no bytes", Mac, IPV4, &[], ["-", "-", "-"]),
        ("no start", Nothing, IPV4, &udp, ["-", "-", "-"]),
    ];
    for (name, start, protocol, bytes, expected) in cases {
        assert_eq!(columns(&decode(*start, *protocol, bytes)), *expected, "{name}");
    }
}

#[test]
fn a_tcp_header_is_read_to_its_flags() {
    let decoded = decode(Mac, IPV6, &tcp6());
    let Content::Ip(IpPacket { transport: Transport::Tcp(_, Some(tcp)), .. }) = decoded.content else {
        panic!("{decoded:?}")
    };
    assert_eq!(tcp, Tcp { sequence: 1234, acknowledgment: 99, flags: TcpFlags(0x12), window: 512 });
    assert_eq!(tcp.flags.to_string(), "S.");
    assert!(tcp.flags.has_ack());
    assert_eq!(TcpFlags(0).to_string(), "none");
}

#[test]
fn cut_tcp_header_has_its_ports() {
    let decoded = decode(Mac, IPV6, &tcp6()[..ETHERNET + 40 + 15]);
    let Content::Ip(ip) = decoded.content else { panic!("{decoded:?}") };
    assert_eq!(ip.transport, Transport::Tcp(Ports { source: 80, destination: 5000 }, None));
}

#[test]
fn icmp_type_code_and_echo_are_decoded() {
    let mut echo = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).icmpv4_echo_request(7, 1).write(&mut echo, &[]).unwrap();
    let mut unreachable = Vec::new();
    PacketBuilder::ipv6([0; 16], [1; 16], 64).icmpv6_raw(1, 4, [0; 4]).write(&mut unreachable, &[]).unwrap();
    let transport = |protocol, bytes: &[u8]| match decode(Network, protocol, bytes).content {
        Content::Ip(ip) => ip.transport,
        other => panic!("{other:?}"),
    };
    assert_eq!(transport(IPV4, &echo), Transport::Icmp(Icmp { kind: 8, code: 0, echo: Some((7, 1)) }));
    assert_eq!(transport(IPV4, &echo[..22]), Transport::Icmp(Icmp { kind: 8, code: 0, echo: None }));
    assert_eq!(transport(IPV4, &echo[..21]), Transport::Short);
    assert_eq!(transport(IPV6, &unreachable), Transport::Icmpv6(Icmp { kind: 1, code: 4, echo: None }));
}

#[test]
fn vlan_tags_are_walked_whether_or_not_the_kernel_did() {
    let build = |outer: u16, inner: Option<u16>| {
        let id = |id| VlanId::try_new(id).unwrap();
        let mut bytes = Vec::new();
        let ethernet = PacketBuilder::ethernet2(SRC_MAC, DST_MAC);
        let tagged = match inner {
            Some(inner) => ethernet.double_vlan(id(outer), id(inner)),
            None => ethernet.single_vlan(id(outer)),
        };
        tagged.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(53, 4444).write(&mut bytes, &[]).unwrap();
        bytes
    };
    for protocol in [0x8100, IPV4] {
        let decoded = decode(Mac, protocol, &build(100, None));
        assert_eq!((decoded.vlans.ids(), columns(&decoded)[2].as_str()), (&[100][..], "udp"));
    }
    for protocol in [0x88a8, 0x8100, IPV4] {
        let decoded = decode(Mac, protocol, &build(100, Some(200)));
        assert_eq!((decoded.vlans.ids(), columns(&decoded)[2].as_str()), (&[100, 200][..], "udp"));
    }
    let from_tag = decode(Network, 0x8100, &build(100, None)[ETHERNET..]);
    assert_eq!((from_tag.vlans.ids(), columns(&from_tag)[0].as_str()), (&[100][..], "10.0.0.1:53"));
    let cut = decode(Mac, IPV4, &build(100, None)[..16]);
    assert_eq!((cut.ether_type, cut.content), (0x8100, undecoded(Undecoded::Short, 2)));
}

#[test]
fn only_the_first_fragment_has_ports() {
    let ip = |bytes: &[u8], protocol| match decode(Network, protocol, bytes).content {
        Content::Ip(ip) => ip,
        other => panic!("{other:?}"),
    };
    let first = ip(&ipv4_fragment(0, true), IPV4);
    assert_eq!(first.fragment, Some(Fragment { id: 0x1234, offset: 0, more: true }));
    assert_eq!(first.source().to_string(), "10.0.0.1:53");

    let last = ip(&ipv4_fragment(185, false), IPV4);
    assert_eq!(last.fragment, Some(Fragment { id: 0x1234, offset: 1480, more: false }));
    assert_eq!((last.transport, last.source().to_string()), (Transport::Opaque, "10.0.0.1".into()));

    let middle = ip(&ipv6_fragment(), IPV6);
    assert_eq!(middle.fragment, Some(Fragment { id: 0xdead_beef, offset: 1448, more: true }));
    assert_eq!((middle.transport, middle.protocol), (Transport::Opaque, Some(17)));
}

#[test]
fn extension_headers_are_walked() {
    let mut bytes = Vec::new();
    let header = Ipv6Header { next_header: IpNumber(0), hop_limit: 1, payload_length: 16, ..Default::default() };
    header.write(&mut bytes).unwrap();
    bytes.extend([58, 0, 5, 2, 0, 0, 1, 0]); // hop-by-hop: router alert
    bytes.extend([143, 0, 0, 0, 0, 0, 0, 0]); // multicast listener report
    let Content::Ip(ip) = decode(Network, IPV6, &bytes).content else { panic!("not IP") };
    assert_eq!((ip.protocol, ip.transport), (Some(58), Transport::Icmpv6(Icmp { kind: 143, code: 0, echo: None })));
}

/// Frames to MAC addresses that start like an IP header, and bare packets whose address reads as Ethernet's type.
#[test]
fn ethernet_and_bare_ip_are_distinguished() {
    let frame = udp4([0x46, 0, 0, 0, 0, 2], [10, 0, 0, 1]);
    assert_eq!(columns(&decode(Mac, IPV4, &frame))[0], "10.0.0.1:53");
    let bare = &udp4(DST_MAC, [8, 0, 0x45, 1])[ETHERNET..];
    assert_eq!(columns(&decode(Mac, IPV4, bare))[0], "8.0.69.1:53");
    let mut to_six = tcp6();
    to_six[0] = 0x60;
    assert_eq!(columns(&decode(Mac, IPV6, &to_six))[0], "[::1]:80");
}

#[test]
fn undecoded_content_has_a_reason() {
    let udp = udp4(DST_MAC, [10, 0, 0, 1]);
    let mut version_5 = udp[ETHERNET..].to_vec();
    version_5[0] = 0x55;
    let lldp = [&DST_MAC[..], &SRC_MAC, &[0x88, 0xcc, 1, 2, 3]].concat();
    let frame = Content::Frame { source: SRC_MAC, destination: DST_MAC };
    let stp = [&DST_MAC[..], &SRC_MAC, &[0, 3, 0x42, 0x42, 3]].concat();
    let tagged_stp = [&DST_MAC[..], &SRC_MAC, &[0x81, 0, 0, 100, 0, 3, 0x42, 0x42, 3]].concat();
    let cases: &[Case<'_, Content>] = &[
        ("no bytes", Mac, IPV4, &[], undecoded(Undecoded::Empty, 0)),
        ("cut within ethernet", Mac, IPV4, &udp[..13], undecoded(Undecoded::Short, 13)),
        ("cut within ip", Mac, IPV4, &udp[..26], undecoded(Undecoded::Short, 12)),
        ("cut within ip, network header", Network, IPV4, &udp[14..26], undecoded(Undecoded::Short, 12)),
        ("ip version 5", Network, IPV4, &version_5, undecoded(Undecoded::Malformed, version_5.len())),
        (
            "ipv4 columns as ipv6",
            Network,
            IPV6,
            &udp[ETHERNET..],
            undecoded(Undecoded::Malformed, udp.len() - ETHERNET),
        ),
        ("another link header", Mac, IPV4, &[0; 40], undecoded(Undecoded::UnknownLink, 40)),
        ("another network protocol", Network, 0x88cc, &[0; 40], undecoded(Undecoded::UnknownProtocol, 40)),
        (
            "no protocol columns",
            Network,
            0,
            &udp[ETHERNET..],
            undecoded(Undecoded::UnknownProtocol, udp.len() - ETHERNET),
        ),
        ("arp, cut", Network, ARP, &arp_request()[14..30], undecoded(Undecoded::Short, 16)),
        ("lldp", Mac, 0x88cc, &lldp, frame),
        ("802.3", Mac, 0x0004, &stp, frame),
        ("802.3 behind a tag", Mac, 0x0004, &tagged_stp, frame),
    ];
    for (name, start, protocol, bytes, expected) in cases {
        assert_eq!(decode(*start, *protocol, bytes).content, *expected, "{name}");
    }
}

#[test]
fn protocols_have_names() {
    assert_eq!(TransportName::Ip(253).to_string(), "ip-253");
}

fn any_start() -> impl Strategy<Value = PacketStart> {
    prop_oneof![Just(Mac), Just(Network), Just(Nothing)]
}

fn any_protocol() -> impl Strategy<Value = u16> {
    prop_oneof![Just(IPV4), Just(IPV6), Just(ARP), Just(0x8100), Just(0x88a8), Just(0), Just(4), any::<u16>()]
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_without_panic(
        start in any_start(), protocol in any_protocol(), bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        columns(&decode(start, protocol, &bytes));
    }

    /// Random bytes seldom get past the first header, so this test changes a few bytes of a valid packet, and truncates
    /// it anywhere.
    #[test]
    fn damaged_packets_are_decoded_without_panic(
        which in 0usize..6, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(), start in any_start(), protocol in any_protocol(),
    ) {
        let mut bytes = match which {
            0 => udp4(DST_MAC, [10, 0, 0, 1]),
            1 => tcp6(),
            2 => arp_request(),
            3 => ipv4_fragment(0, true),
            4 => ipv6_fragment(),
            _ => udp4(DST_MAC, [10, 0, 0, 1])[ETHERNET..].to_vec(),
        };
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        columns(&decode(start, protocol, &bytes));
    }

    #[test]
    fn endpoints_read_back(address in any::<IpAddr>(), port in any::<u16>()) {
        let text = Endpoint { address, port: Some(port) }.to_string();
        prop_assert_eq!(text.parse(), Ok(std::net::SocketAddr::new(address, port)));
    }
}
