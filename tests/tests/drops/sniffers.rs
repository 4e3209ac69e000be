//! Packets that only packet sockets miss while others receive them: they are copies, and no drops of packets.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tests::case::drained;
use tests::droptrace::Stat;
use tests::frame::udp4;
use tests::packet::{ALL_PROTOCOLS, PacketSocket};
use tests::trials::trial_as_root;
use tests::wire::Wire;

const PORT: u16 = 9;
const COUNT: u64 = 20;
const IPV4: u16 = 0x0800;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("full_sniffer_of_delivered_packets_misses_copies", full_sniffer),
        trial_as_root("closed_sniffer_of_delivered_packets_leaves_copies", closed_sniffer),
    ]
}

/// The sniffer has joined after IP, which receives the packet first, and releases its own share of the packet.
fn full_sniffer() -> Result<()> {
    let wire = Wire::new()?;
    let receiver = wire.udp(PORT)?;
    let sniffer = PacketSocket::bind(&wire.host, "host0", IPV4)?;
    set_socket_recv_buffer_size(&sniffer, 1)?;
    while sniffer.dropped()? == 0 {
        wire.send(&udp4(PORT)?)?;
        drained()?;
        receive(&receiver)?;
    }
    compare(&wire, || {
        deliver(&wire, &receiver)?;
        let missed = sniffer.dropped()?;
        ensure!(missed == COUNT, "the packet socket counts {missed}");
        Ok(())
    })
}

fn closed_sniffer() -> Result<()> {
    let wire = Wire::new()?;
    let receiver = wire.udp(PORT)?;
    let sniffer = PacketSocket::bind(&wire.host, "host0", ALL_PROTOCOLS)?;
    deliver(&wire, &receiver)?;
    compare(&wire, || {
        drop(sniffer);
        drained()
    })
}

/// The application receives all sent packets.
fn deliver(wire: &Wire, receiver: &UdpSocket) -> Result<()> {
    wire.repeat(COUNT, &udp4(PORT)?)?;
    drained()?;
    (0..COUNT).try_for_each(|_| receive(receiver))
}

fn receive(receiver: &UdpSocket) -> Result<()> {
    receiver.set_nonblocking(true)?;
    Ok(receiver.recv(&mut [0; 2048]).map(drop)?)
}

/// The namespace has no drops but these copies.
fn compare(wire: &Wire, provocation: impl FnOnce() -> Result<()>) -> Result<()> {
    let stat = Stat::during(&["--netns", &wire.host.inum().to_string()], provocation)?.0;
    let packets = |list: &str| -> Vec<(String, u64)> {
        let rows = stat[list].as_array().into_iter().flatten().filter(|row| row["netns"] == wire.host.inum());
        rows.map(|row| (row["kind"].to_string(), row["packets"].as_u64().unwrap_or(0))).collect()
    };
    let found = (packets("drops"), packets("not_packets"));
    ensure!(found == (vec![], vec![("\"copy\"".to_owned(), COUNT)]), "{stat}");
    Ok(())
}
