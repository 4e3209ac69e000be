//! IPv6 and neighbour discovery.

use std::net::Ipv6Addr;

use tests::case::{Case, Interface, Owner};
use tests::frame::{icmp6, ip6, udp, udp6};
use tests::wire::{HOST6, SENDER6, Wire};
use tests::witness::Witness;

const PORT: u16 = 9;
const DESTINATION_UNREACHABLE: u8 = 1;
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// An address that is nobody's.
const ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "ipv6_disabled",
        reason: "IPV6DISABLED",
        symbols: &["ip6_rcv_core", "ipv6_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Snmp6("Ip6InDiscards")),
        provoke: |case| {
            let wire = Wire::new()?;
            case.watch(&wire.host, || wire.repeat(case.count, &udp6(PORT)?))
        },
    },
    Case {
        name: "ipv6_no_route_in",
        reason: "IP_INNOROUTES",
        symbols: &["ip6_pkt_drop", "ip6_pkt_discard"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp6("Ip6InNoRoutes")),
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            wire.host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            let foreign = udp(ip6(SENDER6, ELSEWHERE, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &foreign))
        },
    },
    Case {
        name: "ipv6_too_big_to_forward",
        reason: "PKT_TOO_BIG",
        symbols: &["ip6_forward"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp6("Ip6InTooBigErrors")),
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            wire.host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            wire.host.command("ip route add 2001:db8::/32 via fd00::1 mtu lock 1280")?;
            let big = udp(ip6(SENDER6, ELSEWHERE, 64), PORT, &[0; 1400])?;
            case.watch(&wire.host, || wire.repeat(case.count, &big))
        },
    },
    Case {
        name: "ipv6_broken_extension_header",
        reason: "IPV6_BAD_EXTHDR",
        symbols: &["icmpv6_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            // An error about a packet that ends before its destination options do.
            let mut quoted = vec![0x60, 0, 0, 0, 0, 8, 60, 64];
            quoted.extend(HOST6.octets());
            quoted.extend(SENDER6.octets());
            let error = icmp6(64, DESTINATION_UNREACHABLE, 0, &quoted)?;
            case.watch(&wire.host, || wire.repeat(case.count, &error))
        },
    },
    Case {
        name: "ndisc_from_afar",
        reason: "IPV6_NDISC_HOP_LIMIT",
        symbols: &["icmpv6_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            let routed = icmp6(64, NEIGHBOUR_SOLICITATION, 0, &HOST6.octets())?;
            case.watch(&wire.host, || wire.repeat(case.count, &routed))
        },
    },
    Case {
        name: "ndisc_bad_code",
        reason: "IPV6_NDISC_BAD_CODE",
        symbols: &["icmpv6_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            let odd = icmp6(255, NEIGHBOUR_SOLICITATION, 1, &HOST6.octets())?;
            case.watch(&wire.host, || wire.repeat(case.count, &odd))
        },
    },
    Case {
        name: "ndisc_bad_options",
        reason: "IPV6_NDISC_BAD_OPTIONS",
        symbols: &["icmpv6_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            let option_of_no_length = [1, 0, 2, 0, 0, 0, 0, 1];
            let payload = [&HOST6.octets()[..], &option_of_no_length].concat();
            let broken = icmp6(255, NEIGHBOUR_SOLICITATION, 0, &payload)?;
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
];
