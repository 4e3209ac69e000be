//! A storm of drops: datagrams into a full receive buffer.

use std::env;
use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::case::{PORTION, drained, room_for_a_portion};
use crate::netns::Netns;
use crate::wire::udp;
use crate::witness::Witness;

/// The reason of a storm's drops.
pub const REASON: &str = "SOCKET_RCVBUFF";
/// Payload of one datagram, bytes.
const PAYLOAD: usize = 64;
/// Datagrams of one system call.
const BATCH: u64 = 64;

/// As many datagrams as a test sends on an ordinary machine, or fewer where `DROPTRACE_TESTS_DATAGRAMS` says so: an
/// emulated one is slow.
pub fn datagrams(usual: u64) -> Result<u64> {
    match env::var("DROPTRACE_TESTS_DATAGRAMS") {
        Ok(most) => Ok(usual.min(most.parse().context("DROPTRACE_TESTS_DATAGRAMS is no number")?)),
        Err(_) => Ok(usual),
    }
}

/// A sender, and a receiver that no program reads, on the loopback interface of a namespace of their own.
#[derive(Debug)]
pub struct Storm {
    /// The namespace of the storm.
    pub host: Netns,
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Storm {
    /// Prepares a storm, and sends no datagram.
    pub fn new() -> Result<Self> {
        Self::within(Netns::new()?)
    }

    /// Prepares a storm in this namespace, and sends no datagram.
    pub fn within(host: Netns) -> Result<Self> {
        Self::at_port(host, 0)
    }

    /// As [`Storm::within`], with a receiver at this port, or with 0 at any.
    pub fn at_port(host: Netns, port: u16) -> Result<Self> {
        host.command("ip link set lo up")?;
        let receiver = udp(&host, (Ipv4Addr::LOCALHOST, port).into())?;
        set_socket_recv_buffer_size(&receiver, 1)?;
        let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
        sender.connect(receiver.local_addr()?)?;
        Ok(Self { host, sender, receiver })
    }

    /// Sends so many datagrams and waits until the kernel has handled all of them.
    pub fn send(&self, datagrams: u64) -> Result<()> {
        let payload = [0; PAYLOAD];
        let slices = [IoSlice::new(&payload)];
        let mut control: Vec<_> = (0..BATCH).map(|_| SendAncillaryBuffer::default()).collect();
        let mut batch: Vec<_> = control.iter_mut().map(|control| MMsgHdr::new(&slices, control)).collect();
        let mut left = datagrams;
        while left > 0 {
            if left % PORTION < BATCH {
                room_for_a_portion()?;
            }
            let size = usize::try_from(left.min(BATCH))?;
            left -= sendmmsg(&self.sender, &mut batch[..size], SendFlags::empty())? as u64;
        }
        drained()
    }

    /// The kernel's count of dropped datagrams.
    pub fn dropped(&self) -> Result<u64> {
        Witness::Snmp("Udp", "RcvbufErrors").read(&self.host)
    }

    /// Reads the datagrams that arrived. Returns their number.
    pub fn received(&self) -> Result<u64> {
        self.receiver.set_nonblocking(true)?;
        let mut received = 0;
        loop {
            match self.receiver.recv(&mut [0; PAYLOAD]) {
                Ok(_) => received += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
