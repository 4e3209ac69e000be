//! TCP: segments that do not fit their connection.

use anyhow::Result;
use etherparse::TcpOptionElement::Timestamp;
use tests::case::{Case, Interface, Owner};
use tests::frame::{TRANSPORT4, patched};
use tests::kernel;
use tests::sys;
use tests::tcp::{self, Peer};
use tests::wire::Wire;
use tests::witness::Witness;

/// The peer's port; further connections count on from here.
const PORT: u16 = 40000;

pub(crate) const HANDSHAKE: &[Case] = &[
    Case {
        name: "tcp_no_socket",
        reason: "NO_SOCKET",
        symbols: &["tcp_v4_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Tcp", "OutRsts")),
        provoke: |case| {
            let wire = Wire::new()?;
            case.watch(&wire.host, || wire.repeat(case.count, &Peer::new(PORT).syn(|_| ())?))
        },
    },
    Case {
        name: "tcp_bad_checksum",
        reason: "TCP_CSUM",
        symbols: &["tcp_v4_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Snmp("Tcp", "InCsumErrors")),
        provoke: |case| {
            let wire = Wire::new()?;
            let broken = patched(Peer::new(PORT).syn(|_| ())?, TRANSPORT4 + 16, &[0xde, 0xad]);
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
    Case {
        name: "tcp_syn_with_fin",
        reason: "TCP_FLAGS",
        symbols: &["tcp_v4_do_rcv", "tcp_rcv_state_process"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: None,
        provoke: |case| {
            kernel::reports_tcp_drops()?;
            let wire = Wire::new()?;
            let _listener = tcp::listener(&wire.host)?;
            let odd = Peer::new(PORT).syn(|tcp| tcp.fin = true)?;
            case.watch(&wire.host, || wire.repeat(case.count, &odd))
        },
    },
    Case {
        name: "tcp_time_to_live_below_minimum",
        reason: "TCP_MINTTL",
        symbols: &["tcp_v4_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "TCPMinTTLDrop")),
        provoke: |case| {
            let wire = Wire::new()?;
            let _listener = tcp::listener_with(&wire.host, 128, |socket| {
                Ok(sys::set_option(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &255_i32.to_ne_bytes())?)
            })?;
            case.watch(&wire.host, || wire.repeat(case.count, &Peer::new(PORT).syn(|_| ())?))
        },
    },
    Case {
        name: "tcp_listen_overflow",
        reason: "TCP_LISTEN_OVERFLOW",
        symbols: &["tcp_v4_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "ListenOverflows")),
        provoke: |case| {
            let wire = Wire::new()?;
            let backlog = u16::try_from(case.count)? + 1;
            let _listener = tcp::listener_with(&wire.host, backlog.into(), |_| Ok(()))?;
            // One more than the backlog is taken; the rest of the second half is not.
            for port in 0..backlog {
                Peer::connect(&wire, PORT + port)?;
            }
            let mut late: Vec<Peer> = (backlog..2 * backlog).map(|port| Peer::new(PORT + port)).collect();
            case.watch(&wire.host, || {
                // The host forgets half-open connections of a busy listener within seconds (`reqsk_timer_handler`).
                late.iter_mut().try_for_each(|peer| peer.open(&wire))?;
                late.iter().try_for_each(|peer| wire.send(&peer.segment(b"", |_| ())?))
            })
        },
    },
    Case {
        name: "tcp_md5_unexpected",
        reason: "TCP_MD5UNEXPECTED",
        symbols: &["tcp_v4_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "TCPMD5Unexpected")),
        provoke: |case| {
            let wire = Wire::new()?;
            let _listener = tcp::listener(&wire.host)?;
            let mut md5_option = [0; 20];
            md5_option[..2].copy_from_slice(&[19, 18]);
            let mut altered = Ok(());
            let signed = Peer::new(PORT).syn(|tcp| altered = tcp.set_options_raw(&md5_option))?;
            altered?;
            case.watch(&wire.host, || wire.repeat(case.count, &signed))
        },
    },
];

pub(crate) const ESTABLISHED: &[Case] = &[
    Case {
        name: "tcp_old_data",
        reason: "TCP_OLD_DATA",
        symbols: &["tcp_data_queue", "tcp_rcv_established"],
        interface: Interface::OfSocket("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "DelayedACKLost")),
        provoke: |case| {
            with_connection(case, |wire, peer| {
                let data = peer.segment(b"once", |_| ())?;
                wire.send(&data)?;
                Ok(data)
            })
        },
    },
    Case {
        name: "tcp_old_sequence",
        reason: "TCP_OLD_SEQUENCE",
        symbols: &["tcp_validate_incoming", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "DelayedACKLost")),
        provoke: |case| {
            with_connection(case, |wire, peer| {
                let first = peer.segment(b"first", |_| ())?;
                peer.write(wire, b"first")?;
                peer.write(wire, b"second")?;
                Ok(first)
            })
        },
    },
    Case {
        name: "tcp_beyond_window",
        reason: "TCP_INVALID_SEQUENCE",
        symbols: &["tcp_validate_incoming", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: None,
        provoke: |case| {
            with_connection(case, |_, peer| {
                let beyond = peer.next + peer.window + 1000;
                peer.segment(b"far", |tcp| tcp.sequence_number = beyond)
            })
        },
    },
    Case {
        name: "tcp_without_ack",
        reason: "TCP_FLAGS",
        symbols: &["tcp_v4_do_rcv", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: None,
        provoke: |case| with_connection(case, |_, peer| peer.segment(b"x", |tcp| tcp.ack = false)),
    },
    Case {
        name: "tcp_syn_in_connection",
        reason: "TCP_INVALID_SYN",
        symbols: &["tcp_validate_incoming", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "TCPSYNChallenge")),
        provoke: |case| with_connection(case, |_, peer| peer.segment(b"", |tcp| tcp.syn = true)),
    },
    Case {
        name: "tcp_ack_of_unsent_data",
        reason: "TCP_ACK_UNSENT_DATA",
        symbols: &["tcp_v4_do_rcv", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: None,
        provoke: |case| with_connection(case, |_, peer| peer.segment(b"x", |tcp| tcp.acknowledgment_number += 1000)),
    },
    Case {
        name: "tcp_ack_too_old",
        reason: "TCP_TOO_OLD_ACK",
        symbols: &["tcp_v4_do_rcv", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: None,
        provoke: |case| {
            with_connection(case, |_, peer| {
                let ancient = peer.expected.wrapping_sub(1_000_000);
                peer.segment(b"x", |tcp| tcp.acknowledgment_number = ancient)
            })
        },
    },
    Case {
        name: "tcp_same_gap_twice",
        reason: "TCP_OFOMERGE",
        symbols: &["tcp_data_queue_ofo", "tcp_data_queue", "tcp_rcv_established"],
        interface: Interface::OfSocket("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "TCPOFOMerge")),
        provoke: |case| {
            with_connection(case, |wire, peer| {
                let ahead = peer.segment(b"later", |tcp| tcp.sequence_number += 100)?;
                wire.send(&ahead)?;
                Ok(ahead)
            })
        },
    },
    Case {
        name: "tcp_timestamp_goes_back",
        reason: "TCP_RFC7323_PAWS",
        symbols: &["tcp_validate_incoming", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "PAWSEstab")),
        provoke: |case| {
            kernel::reports_tcp_drops()?;
            let wire = Wire::new()?;
            let _listener = tcp::listener(&wire.host)?;
            let peer = Peer::connect_with_timestamp(&wire, PORT, 1_000_000)?;
            let mut altered = Ok(());
            let older = peer.segment(b"x", |tcp| altered = tcp.set_options(&[Timestamp(900_000, 0)]))?;
            altered?;
            case.watch(&wire.host, || wire.repeat(case.count, &older))
        },
    },
    Case {
        name: "tcp_reset_with_other_sequence",
        reason: "TCP_RESET",
        symbols: &["tcp_validate_incoming", "tcp_rcv_established"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: None,
        provoke: |case| {
            // Only the very next sequence number would be believed, and a reset that is believed is no drop.
            with_connection(case, |_, peer| {
                peer.segment(b"", |tcp| {
                    tcp.rst = true;
                    tcp.sequence_number += 10;
                })
            })
        },
    },
    Case {
        name: "tcp_data_after_close",
        reason: "TCP_ABORT_ON_DATA",
        symbols: &["tcp_v4_do_rcv", "tcp_rcv_state_process"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Receiver,
        witness: Some(Witness::Netstat("TcpExt", "TCPAbortOnData")),
        provoke: |case| {
            let wire = Wire::new()?;
            let listener = tcp::listener(&wire.host)?;
            let peers = connections(&wire, case.count)?;
            for _ in &peers {
                drop(listener.accept()?);
            }
            case.watch(&wire.host, || peers.iter().try_for_each(|peer| wire.send(&peer.segment(b"x", |_| ())?)))
        },
    },
];

/// One connection; `break_it` prepares it and returns the segment that is dropped again and again.
fn with_connection(case: &Case, break_it: fn(&Wire, &mut Peer) -> Result<Vec<u8>>) -> Result<()> {
    kernel::reports_tcp_drops()?;
    let wire = Wire::new()?;
    let _listener = tcp::listener(&wire.host)?;
    let mut peer = Peer::connect(&wire, PORT)?;
    let broken = break_it(&wire, &mut peer)?;
    case.watch(&wire.host, || wire.repeat(case.count, &broken))
}

fn connections(wire: &Wire, count: u64) -> Result<Vec<Peer>> {
    (0..u16::try_from(count)?).map(|port| Peer::connect(wire, PORT + port)).collect()
}
