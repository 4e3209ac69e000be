//! Sockets that a control group owns, and drops of their packets.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Result;
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
    host.run(|| {
        group.enter()?;
        Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
    })
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
