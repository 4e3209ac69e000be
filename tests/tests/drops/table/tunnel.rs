//! VXLAN.

use anyhow::Result;
use tests::case::{Case, Interface, Owner};
use tests::frame::{NETWORK, ethernet, ip4, resealed, udp, udp4};
use tests::packet::{ALL_PROTOCOLS, PacketSocket};
use tests::wire::{HOST, SENDER, Wire};
use tests::witness::Witness;

const VXLAN_PORT: u16 = 4789;
/// The identifier of the host's tunnel.
const VNI: u8 = 7;
/// An `EtherType` for experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88b5;
const CONGESTION_EXPERIENCED: u8 = 3;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "vxlan_bad_header",
        reason: "VXLAN_INVALID_HDR",
        symbols: &["vxlan_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = vxlan("id 7")?;
            let broken = udp(ip4(SENDER, HOST, 64), VXLAN_PORT, &[0; 64])?;
            case.watch(&wire.host, || wire.repeat(case.count, &broken))
        },
    },
    Case {
        name: "vxlan_unknown_network",
        reason: "VXLAN_VNI_NOT_FOUND",
        symbols: &["vxlan_rcv"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = vxlan("id 7")?;
            let stray = tunnelled(VNI + 1, &udp4(9)?)?;
            case.watch(&wire.host, || wire.repeat(case.count, &stray))
        },
    },
    Case {
        name: "vxlan_our_own_address",
        reason: "LOCAL_MAC",
        symbols: &["vxlan_rcv"],
        interface: Interface::Named("vxlan0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: None,
        provoke: |case| {
            let wire = vxlan("id 7")?;
            wire.host.command("ip link set vxlan0 address 02:00:00:00:00:01")?;
            let looped = tunnelled(VNI, &ethernet(EXPERIMENTAL, &[0; 46]))?;
            case.watch(&wire.host, || wire.repeat(case.count, &looped))
        },
    },
    Case {
        name: "vxlan_congestion_lost",
        reason: "IP_TUNNEL_ECN",
        symbols: &["vxlan_rcv"],
        interface: Interface::Named("vxlan0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Nobody,
        witness: Some(Witness::Link("vxlan0", "rx", "frame_errors")),
        provoke: |case| {
            let wire = vxlan("id 7")?;
            // The outer header tells of congestion, the inner one says that its sender does not know the word.
            let socket_drops = resealed(tunnelled(VNI, &udp4(9)?)?, NETWORK + 1, &[CONGESTION_EXPERIENCED]);
            case.watch(&wire.host, || wire.repeat(case.count, &socket_drops))
        },
    },
    Case {
        name: "vxlan_no_remote",
        reason: "NO_TX_TARGET",
        symbols: &["vxlan_xmit"],
        interface: Interface::Named("vxlan0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: Some(Witness::Link("vxlan0", "tx", "dropped")),
        provoke: |case| {
            let wire = vxlan("id 7")?;
            let socket = PacketSocket::bind(&wire.host, "vxlan0", ALL_PROTOCOLS)?;
            let frame = ethernet(EXPERIMENTAL, &[0; 46]);
            case.watch(&wire.host, || (0..case.count).try_for_each(|_| socket.send(&frame)))
        },
    },
    Case {
        name: "vxlan_without_metadata",
        reason: "TUNNEL_TXINFO",
        symbols: &["vxlan_xmit"],
        interface: Interface::Named("vxlan0"),
        protocol: Some("0x88b5"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = vxlan("external")?;
            let socket = PacketSocket::bind(&wire.host, "vxlan0", ALL_PROTOCOLS)?;
            let frame = ethernet(EXPERIMENTAL, &[0; 46]);
            case.watch(&wire.host, || (0..case.count).try_for_each(|_| socket.send(&frame)))
        },
    },
];

/// The host ends a tunnel: `vxlan0`.
fn vxlan(options: &str) -> Result<Wire> {
    let wire = Wire::new()?;
    wire.host.probe(&format!("ip link add name vxlan0 type vxlan {options} dstport {VXLAN_PORT}"))?;
    wire.host.command("ip link set vxlan0 up")?;
    Ok(wire)
}

/// A frame within a VXLAN datagram.
fn tunnelled(vni: u8, inner: &[u8]) -> Result<Vec<u8>> {
    let header = [8, 0, 0, 0, 0, 0, vni, 0];
    udp(ip4(SENDER, HOST, 64), VXLAN_PORT, &[&header, inner].concat())
}
