//! Sockets that a control group owns, and drops of their packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::case::drained;
use crate::cgroup::ControlGroup;
use crate::netns::Netns;
use crate::wire::udp;
use crate::witness::Witness;

/// Datagrams of one provocation.
pub const DATAGRAMS: u64 = 300;

/// A namespace in which only its loopback is up.
pub fn host() -> Result<Netns> {
    let host = Netns::new()?;
    host.command("ip link set lo up")?;
    Ok(host)
}

/// A socket that a thread in this control group made.
pub fn udp_of(group: &ControlGroup, host: &Netns) -> Result<UdpSocket> {
    udp_at(group, host, Ipv4Addr::LOCALHOST.into())
}

/// As [`udp_of`], with this address.
pub fn udp_at(group: &ControlGroup, host: &Netns, address: IpAddr) -> Result<UdpSocket> {
    host.run(|| {
        group.enter()?;
        Ok(UdpSocket::bind((address, 0))?)
    })
}

/// The kernel's own count of the datagrams that the socket at this address had no room for.
pub fn drops_of(host: &Netns, address: SocketAddr) -> Result<u64> {
    let table = host.proc_net(if address.is_ipv4() { "udp" } else { "udp6" })?;
    let port = format!(":{:04X}", address.port());
    let line = table.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)));
    let drops = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    drops.with_context(|| format!("port {port} is not in {table}"))
}

/// Sends datagrams for a full receive buffer; returns the kernel's own count of those that it dropped.
pub fn overrun(host: &Netns, receiver: &UdpSocket) -> Result<u64> {
    const ERRORS: Witness = Witness::Snmp("Udp", "RcvbufErrors");
    set_socket_recv_buffer_size(receiver, 1)?;
    let before = ERRORS.read(host)?;
    let sender = udp(host, (Ipv4Addr::LOCALHOST, 0).into())?;
    for _ in 0..DATAGRAMS {
        sender.send_to(&[0; 1000], receiver.local_addr()?)?;
    }
    drained()?;
    Ok(ERRORS.read(host)? - before)
}
