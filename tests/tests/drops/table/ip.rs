//! IPv4: headers, routing, fragments.

use std::net::Ipv4Addr;

use anyhow::Result;
use tests::case::{Case, Interface, Owner};
use tests::frame::{self, NETWORK, TRANSPORT4, ip4, patched, resealed, udp, udp4};
use tests::kernel;
use tests::tcp::{self, Peer};
use tests::wire::{HOST, SENDER, Wire};
use tests::witness::Witness;

const PORT: u16 = 9;
/// An address that is nobody's.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MORE_FRAGMENTS: [u8; 2] = [0x20, 0];

pub(crate) const INPUT: &[Case] = &[
    Case {
        name: "ip_bad_checksum",
        reason: "IP_CSUM",
        symbols: &["ip_rcv_core"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Netstat("IpExt", "InCsumErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let broken = patched(udp4(PORT)?, NETWORK + 10, &[0xde, 0xad]);
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
    Case {
        name: "ip_bad_version",
        reason: "IP_INHDR",
        symbols: &["ip_rcv_core"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Snmp("Ip", "InHdrErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let broken = resealed(udp4(PORT)?, NETWORK, &[0x55]);
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
    Case {
        name: "ip_truncated",
        reason: "PKT_TOO_SMALL",
        symbols: &["ip_rcv_core"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Netstat("IpExt", "InTruncatedPkts")),
        provoke: |case| {
            let wire = Wire::new()?;
            let broken = resealed(udp4(PORT)?, NETWORK + 2, &[4, 0]);
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
    Case {
        name: "ip_other_host",
        reason: "OTHERHOST",
        symbols: &["ip_rcv_core"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("host0", "rx", "otherhost")),
        provoke: |case| {
            let wire = Wire::new()?;
            let misdelivered = patched(udp4(PORT)?, 0, &[2, 0, 0, 0, 0, 99]);
            let has_counter = kernel::has_name("rx_otherhost_dropped")?;
            let case = Case { witness: case.witness.filter(|_| has_counter), ..*case };
            case.watch(&wire.host, || wire.repeat(case.count, &misdelivered))
        },
    },
    Case {
        name: "ip_unknown_protocol",
        reason: "IP_NOPROTO",
        symbols: &["ip_local_deliver_finish", "ip_protocol_deliver_rcu"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Ip", "InUnknownProtos")),
        provoke: |case| {
            let wire = Wire::new()?;
            let unknown = resealed(udp4(PORT)?, NETWORK + 9, &[253]);
            case.watch(&wire.host, || wire.repeat(case.count, &unknown))
        },
    },
    Case {
        name: "ip_unicast_in_broadcast_frame",
        reason: "UNICAST_IN_L2_MULTICAST",
        symbols: &["ip_rcv_finish_core", "ip_rcv_finish", "ip_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.sysctl("net/ipv4/conf/host0/drop_unicast_in_l2_multicast", "1")?;
            let shouted = patched(udp4(PORT)?, 0, &[0xff; 6]);
            case.watch(&wire.host, || wire.repeat(case.count, &shouted))
        },
    },
];

pub(crate) const ROUTING: &[Case] = &[
    Case {
        name: "ip_reverse_path_filter",
        reason: "IP_RPFILTER",
        symbols: &["ip_rcv_finish_core", "ip_rcv_finish", "ip_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Netstat("TcpExt", "IPReversePathFilter")),
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.sysctl("net/ipv4/conf/host0/rp_filter", "1")?;
            let spoofed = udp(ip4(ELSEWHERE, HOST, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &spoofed))
        },
    },
    Case {
        name: "ip_source_is_multicast",
        reason: "IP_INVALID_SOURCE",
        symbols: &["ip_rcv_finish_core", "ip_rcv_finish", "ip_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let martian = udp(ip4(Ipv4Addr::new(224, 0, 0, 9), HOST, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &martian))
        },
    },
    Case {
        name: "ip_source_is_our_own",
        reason: "IP_LOCAL_SOURCE",
        symbols: &["ip_rcv_finish_core", "ip_rcv_finish", "ip_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let mirrored = udp(ip4(HOST, HOST, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &mirrored))
        },
    },
    Case {
        name: "ip_loopback_from_outside",
        reason: "IP_LOCALNET",
        symbols: &["ip_rcv_finish_core", "ip_rcv_finish", "ip_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let loopback = udp(ip4(SENDER, Ipv4Addr::LOCALHOST, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &loopback))
        },
    },
    Case {
        name: "ip_destination_is_zero",
        reason: "IP_INVALID_DEST",
        symbols: &["ip_rcv_finish_core", "ip_rcv_finish", "ip_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let nowhere = udp(ip4(SENDER, Ipv4Addr::UNSPECIFIED, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &nowhere))
        },
    },
    Case {
        name: "ip_not_a_router",
        reason: "IP_INADDRERRORS",
        symbols: &["ip_error"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Ip", "InAddrErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let foreign = udp(ip4(SENDER, ELSEWHERE, 64), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &foreign))
        },
    },
    Case {
        name: "ip_time_to_live_over",
        reason: "IP_INHDR",
        symbols: &["ip_forward"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Ip", "InHdrErrors")),
        provoke: |case| {
            let wire = router()?;
            let dying = udp(ip4(SENDER, ELSEWHERE, 1), PORT, b"")?;
            case.watch(&wire.host, || wire.repeat(case.count, &dying))
        },
    },
    Case {
        name: "ip_too_big_to_forward",
        reason: "PKT_TOO_BIG",
        symbols: &["ip_forward"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Ip", "FragFails")),
        provoke: |case| {
            let wire = router()?;
            // etherparse sets "don't fragment".
            let big = udp(ip4(SENDER, ELSEWHERE, 64), PORT, &[0; 1000])?;
            case.watch(&wire.host, || wire.repeat(case.count, &big))
        },
    },
    Case {
        name: "ip_no_route_out",
        reason: "IP_OUTNOROUTES",
        symbols: &["__ip_queue_xmit", "ip_queue_xmit"],
        interface: Interface::Unset,
        protocol: None,
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Snmp("Ip", "OutNoRoutes")),
        provoke: |case| {
            let wire = Wire::new()?;
            let _listener = tcp::listener(&wire.host)?;
            let peer = Peer::connect(&wire, 40000)?;
            wire.host.command("ip route del 10.0.0.0/24 dev host0")?;
            // A segment that leaves a gap is acknowledged at once, and the acknowledgement finds no route. Each leaves
            // another gap: the same data twice is a drop of its own.
            let ahead = |gap: u32| peer.segment(b"x", |tcp| tcp.sequence_number += 2 * gap + 1);
            case.watch(&wire.host, || (0..u32::try_from(case.count)?).try_for_each(|gap| wire.send(&ahead(gap)?)))
        },
    },
];

/// A host that forwards, whose way to [`ELSEWHERE`] takes at most 600 bytes.
fn router() -> Result<Wire> {
    let wire = Wire::new()?;
    wire.host.sysctl("net/ipv4/ip_forward", "1")?;
    wire.host.command("ip route add 192.0.2.0/24 via 10.0.0.1 mtu lock 600")?;
    Ok(wire)
}

pub(crate) const FRAGMENTS: &[Case] = &[
    Case {
        name: "ip_fragment_twice",
        reason: "DUP_FRAG",
        symbols: &["ip_defrag", "ip_frag_queue"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let fragment = first_fragment(1)?;
            wire.send(&fragment)?;
            case.watch(&wire.host, || wire.repeat(case.count, &fragment))
        },
    },
    Case {
        name: "ip_fragments_too_late",
        reason: "FRAG_REASM_TIMEOUT",
        symbols: &["ip_expire", "inet_frag_rbtree_purge"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Ip", "ReasmTimeout")),
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.sysctl("net/ipv4/ipfrag_time", "1")?;
            case.watch(&wire.host, || {
                (1..).take(usize::try_from(case.count)?).try_for_each(|id| wire.send(&first_fragment(id)?))
            })
        },
    },
];

/// The first fragment of a datagram, whose rest never comes.
fn first_fragment(id: u16) -> Result<Vec<u8>> {
    let whole = frame::udp(ip4(SENDER, HOST, 64), PORT, &[0; 56])?;
    debug_assert!((whole.len() - TRANSPORT4).is_multiple_of(8));
    Ok(resealed(resealed(whole, NETWORK + 4, &id.to_be_bytes()), NETWORK + 6, &MORE_FRAGMENTS))
}
