//! UDP and ICMP.

use anyhow::Result;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tests::case::{Case, Interface, Owner};
use tests::frame::{self, TRANSPORT4};
use tests::sys;
use tests::wire::Wire;
use tests::witness::Witness;

const PORT: u16 = 9;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "udp_no_socket",
        reason: "NO_SOCKET",
        symbols: &["__udp4_lib_rcv", "udp_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Udp", "NoPorts")),
        provoke: |case| {
            let wire = Wire::new()?;
            case.watch(&wire.host, || wire.repeat(case.count, &frame::udp4(PORT)?))
        },
    },
    Case {
        name: "udp6_no_socket",
        reason: "NO_SOCKET",
        symbols: &["__udp6_lib_rcv", "udpv6_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv6"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp6("Udp6NoPorts")),
        provoke: |case| {
            let wire = Wire::with_ipv6()?;
            case.watch(&wire.host, || wire.repeat(case.count, &frame::udp6(PORT)?))
        },
    },
    Case {
        name: "udp_receive_buffer_full",
        reason: "SOCKET_RCVBUFF",
        symbols: &["udp_queue_rcv_one_skb", "__udp_queue_rcv_skb"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 500,
        allowed: &[],
        owner: Owner::FullReceiver,
        witness: Some(RECEIVE_BUFFER_ERRORS),
        provoke: |case| {
            let wire = Wire::new()?;
            let socket = wire.udp(PORT)?;
            set_socket_recv_buffer_size(&socket, 1)?;
            let datagram = frame::udp4(PORT)?;
            fill(&wire, &datagram)?;
            case.watch(&wire.host, || wire.repeat(case.count, &datagram))
        },
    },
    Case {
        name: "udp_socket_filter",
        reason: "SOCKET_FILTER",
        symbols: &["udp_queue_rcv_one_skb"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Snmp("Udp", "InErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let socket = wire.udp(PORT)?;
            sys::attach_filter(&socket, &sys::REFUSE_ALL)?;
            case.watch(&wire.host, || wire.repeat(case.count, &frame::udp4(PORT)?))
        },
    },
    Case {
        name: "udp_bad_checksum",
        reason: "UDP_CSUM",
        symbols: &["__udp4_lib_rcv", "udp_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Udp", "InCsumErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let broken = frame::patched(frame::udp4(PORT)?, TRANSPORT4 + 6, &[0xde, 0xad]);
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
    Case {
        name: "icmp_bad_checksum",
        reason: "ICMP_CSUM",
        symbols: &["icmp_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Icmp", "InCsumErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let broken = frame::patched(frame::icmp4(8, 0, b"droptrace")?, TRANSPORT4 + 2, &[0xde, 0xad]);
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
];

const RECEIVE_BUFFER_ERRORS: Witness = Witness::Snmp("Udp", "RcvbufErrors");

/// Sends until the receive buffer takes no more.
fn fill(wire: &Wire, datagram: &[u8]) -> Result<()> {
    while RECEIVE_BUFFER_ERRORS.read(&wire.host)? == 0 {
        wire.send(datagram)?;
    }
    Ok(())
}
