//! Packets that wait for a neighbour's MAC address.

use std::net::UdpSocket;

use anyhow::Result;
use tests::case::{Case, Interface, Owner};
use tests::eventually;
use tests::wire::Wire;

/// On the host's network, but not there.
const ABSENT: (&str, u16) = ("10.0.0.99", 9);

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "neighbour_does_not_answer",
        reason: "NEIGH_FAILED",
        symbols: &["neigh_invalidate", "arp_error_report"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.sysctl("net/ipv4/neigh/host0/retrans_time_ms", "100")?;
            let socket = wire.udp(0)?;
            case.watch(&wire.host, || {
                send(&socket, case.count)?;
                eventually("the neighbour to fail", || {
                    Ok(wire.host.command("ip neighbour show 10.0.0.99 dev host0")?.contains("FAILED"))
                })
            })
        },
    },
    Case {
        name: "neighbour_queue_full",
        reason: "NEIGH_QUEUEFULL",
        symbols: &["__neigh_event_send"],
        interface: Interface::Named("host0"),
        protocol: Some("ipv4"),
        count: 20,
        allowed: &[],
        owner: Owner::Sender,
        witness: None,
        provoke: |case| {
            let wire = Wire::new()?;
            wire.host.sysctl("net/ipv4/neigh/host0/unres_qlen_bytes", "1")?;
            let socket = wire.udp(0)?;
            // The queue holds one packet always; a newer one drives it out.
            case.watch(&wire.host, || send(&socket, case.count + 1))
        },
    },
];

fn send(socket: &UdpSocket, times: u64) -> Result<()> {
    (0..times).try_for_each(|_| Ok(socket.send_to(b"droptrace", ABSENT).map(drop)?))
}
