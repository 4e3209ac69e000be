//! Sockets that a control group owns, and drops of their packets.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Uid;
use rustix::thread::set_thread_uid;

use crate::case::drained;
use crate::cgroup::ControlGroup;
use crate::eventually;
use crate::netns::Netns;
use crate::wire::udp;
use crate::witness::Witness;

/// A process that alone has a socket open, as its standard input, and does nothing with it; ends with its handle.
#[derive(Debug)]
pub struct Holder(Child);

impl Holder {
    /// Runs a command that ends only when it is killed.
    pub fn run(command: &[&str], socket: impl Into<OwnedFd>) -> Result<Self> {
        let (program, arguments) = command.split_first().context("no command")?;
        let holder = Self(Command::new(program).args(arguments).stdin(socket.into()).spawn()?);
        let comm = || fs::read_to_string(format!("/proc/{}/comm", holder.pid()));
        eventually("another process", || Ok(comm()?.trim() == *program))?;
        Ok(holder)
    }

    /// A process named `sleep`.
    pub fn of(socket: impl Into<OwnedFd>) -> Result<Self> {
        Self::run(&["sleep", "600"], socket)
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Without a process there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

/// A socket that a thread of this user made.
pub fn udp_by(host: &Netns, uid: u32) -> Result<UdpSocket> {
    host.run(|| {
        set_thread_uid(Uid::from_raw(uid))?;
        Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)
    })
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
