//! Below IP: unknown protocols, bridges, queueing disciplines, tun and tap devices, packet sockets.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tests::bpf;
use tests::case::{Case, Interface, Owner};
use tests::frame::{ethernet, udp4};
use tests::kernel;
use tests::netns::Netns;
use tests::packet::PacketSocket;
use tests::sys;
use tests::tun::{Kind, Tun};
use tests::wire::{SENDER, Wire, udp};
use tests::witness::Witness;

const PORT: u16 = 9;
/// An `EtherType` for experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88b5;
const PAYLOAD: &[u8] = &[0; 46];

/// Where packets that a queueing discipline refused are freed.
const QDISC: &[&str] =
    &["__dev_queue_xmit", "__dev_xmit_skb", "kfree_skb_list_reason", "kfree_skb_list", "__tcf_kfree_skb_list"];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "unhandled_protocol",
        reason: "UNHANDLED_PROTO",
        symbols: &["__netif_receive_skb_core"],
        interface: Interface::Named("host0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("host0", "rx", "dropped")),
        provoke: |case| {
            let wire = Wire::new()?;
            case.watch(&wire.host, || wire.repeat(case.count, &ethernet(EXPERIMENTAL, PAYLOAD)))
        },
    },
    Case {
        name: "bridge_invalid_source",
        reason: "MAC_INVALID_SOURCE",
        symbols: &["br_handle_frame"],
        interface: Interface::Named("host0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            // The bridge gives its reasons since it has this one.
            kernel::reason("MAC_IEEE_MAC_CONTROL")?;
            let wire = bridge("")?;
            let mut from_many = ethernet(EXPERIMENTAL, PAYLOAD);
            from_many[6] = 3;
            case.watch(&wire.host, || wire.repeat(case.count, &from_many))
        },
    },
    Case {
        name: "bridge_pause_frame",
        reason: "MAC_IEEE_MAC_CONTROL",
        symbols: &["br_handle_frame"],
        interface: Interface::Named("host0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = bridge("")?;
            let mut pause = ethernet(EXPERIMENTAL, PAYLOAD);
            pause[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 1]);
            case.watch(&wire.host, || wire.repeat(case.count, &pause))
        },
    },
    Case {
        name: "bridge_port_listens",
        reason: "BRIDGE_INGRESS_STP_STATE",
        symbols: &["br_handle_frame", "br_handle_frame_finish"],
        interface: Interface::Named("host0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            // With the spanning tree protocol a new port only listens, for 15 seconds.
            let wire = bridge("stp_state 1")?;
            case.watch(&wire.host, || wire.repeat(case.count, &ethernet(EXPERIMENTAL, PAYLOAD)))
        },
    },
    Case {
        name: "qdisc_full",
        reason: "QDISC_DROP",
        symbols: QDISC,
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Qdisc("host0", "bfifo")),
        provoke: |case| {
            let reason = kernel::first_reason(&["QDISC_DROP_GENERIC", "QDISC_DROP"])?;
            queued(&Case { reason, ..*case }, "bfifo limit 1")
        },
    },
    Case {
        name: "qdisc_band_full",
        reason: "QDISC_DROP",
        symbols: QDISC,
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Qdisc("host0", "fq")),
        provoke: |case| {
            let reason = kernel::first_reason(&["QDISC_DROP_BAND_LIMIT", "FQ_BAND_LIMIT", "QDISC_DROP"])?;
            queued(&Case { reason, ..*case }, "fq limit 0")
        },
    },
    Case {
        name: "tap_socket_filter",
        reason: "SOCKET_FILTER",
        symbols: &["tun_net_xmit"],
        interface: Interface::Named("tap0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("tap0", "tx", "dropped")),
        provoke: |case| {
            let (host, tap, socket) = tap()?;
            sys::attach_tap_filter(&tap, &sys::REFUSE_ALL)?;
            case.watch(&host, || send(&socket, case.count))
        },
    },
    Case {
        name: "tap_filter",
        reason: "TAP_FILTER",
        symbols: &["tun_net_xmit"],
        interface: Interface::Named("tap0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("tap0", "tx", "dropped")),
        provoke: |case| {
            let (host, tap, socket) = tap()?;
            tap.filter(&bpf::socket_refuse_all()?)?;
            case.watch(&host, || send(&socket, case.count))
        },
    },
    Case {
        name: "tap_address_filter",
        reason: "TAP_TXFILTER",
        symbols: &["tun_net_xmit"],
        interface: Interface::Named("tap0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("tap0", "tx", "dropped")),
        provoke: |case| {
            let (host, tap, socket) = tap()?;
            tap.accept_only([2, 0, 0, 0, 0, 99])?;
            case.watch(&host, || send(&socket, case.count))
        },
    },
    Case {
        name: "tap_ring_full",
        reason: "FULL_RING",
        symbols: &["tun_net_xmit"],
        interface: Interface::Named("tap0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Link("tap0", "tx", "dropped")),
        provoke: |case| {
            let (host, _tap, socket) = tap()?;
            host.command("ip link set tap0 txqueuelen 4")?;
            send(&socket, 4)?;
            case.watch(&host, || send(&socket, case.count))
        },
    },
    Case {
        name: "tap_down",
        reason: "DEV_READY",
        symbols: &["tun_get_user"],
        interface: Interface::Named("tap0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("tap0", "rx", "dropped")),
        provoke: |case| {
            let host = Netns::new()?;
            let tap = Tun::create(&host, "tap0", Kind::Tap)?;
            case.watch(&host, || refused(&tap, case.count, &udp4(PORT)?))
        },
    },
    Case {
        name: "tun_not_ip",
        // The kernel gives no better one.
        reason: "NOT_SPECIFIED",
        symbols: &["tun_get_user"],
        // The device is set once the packet is known to be IP, on newer kernels (7.3) before.
        interface: Interface::Perhaps("tun0"),
        protocol: None,
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("tun0", "rx", "dropped")),
        provoke: |case| {
            let host = Netns::new()?;
            let tun = Tun::create(&host, "tun0", Kind::Tun)?;
            host.command("ip link set tun0 up")?;
            case.watch(&host, || refused(&tun, case.count, &[0xf0; 40]))
        },
    },
    Case {
        name: "packet_socket_full",
        reason: "PACKET_SOCK_ERROR",
        symbols: &["packet_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::ReceiverElseSender,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            let socket = PacketSocket::bind(&wire.host, "host0", EXPERIMENTAL)?;
            set_socket_recv_buffer_size(&socket, 1)?;
            let frame = ethernet(EXPERIMENTAL, PAYLOAD);
            while socket.dropped()? == 0 {
                wire.send(&frame)?;
            }
            case.watch(&wire.host, || wire.repeat(case.count, &frame))?;
            let dropped = socket.dropped()?;
            ensure!(dropped == case.count, "the packet socket counts {dropped}");
            Ok(())
        },
    },
];

/// The host sends by an interface whose queueing discipline takes no packet.
fn queued(case: &Case, qdisc: &str) -> Result<()> {
    let wire = Wire::new()?;
    wire.host.probe(&format!("tc qdisc add dev host0 root {qdisc}"))?;
    let socket = wire.udp(0)?;
    case.watch(&wire.host, || send(&socket, case.count))
}

/// The host's interface is a port of a bridge.
fn bridge(options: &str) -> Result<Wire> {
    let wire = Wire::new()?;
    // With snooping the bridge joins a group, and its report may find the bridge without a port that forwards.
    wire.host.probe(&format!("ip link add name bridge0 type bridge mcast_snooping 0 {options}"))?;
    wire.host.commands("ip link set bridge0 up\nip link set host0 master bridge0")?;
    Ok(wire)
}

/// A host with a tap device, which has the same addresses as the wire's interface, and a socket to send from.
fn tap() -> Result<(Netns, Tun, UdpSocket)> {
    let host = Netns::new()?;
    let tap = Tun::create(&host, "tap0", Kind::Tap)?;
    host.commands(
        "ip link set tap0 up
         ip address add 10.0.0.2/24 dev tap0
         ip neighbour replace 10.0.0.1 lladdr 02:00:00:00:00:01 dev tap0 nud permanent",
    )?;
    let socket = udp(&host, ([0, 0, 0, 0], 0).into())?;
    Ok((host, tap, socket))
}

fn send(socket: &UdpSocket, times: u64) -> Result<()> {
    (0..times).try_for_each(|_| Ok(socket.send_to(b"droptrace", (SENDER, PORT)).map(drop)?))
}

/// Writes packets that the device must not take.
fn refused(tun: &Tun, times: u64, packet: &[u8]) -> Result<()> {
    for _ in 0..times {
        ensure!(tun.write(packet).is_err(), "the device took a packet");
    }
    Ok(())
}
