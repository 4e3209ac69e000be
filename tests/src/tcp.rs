//! A TCP peer made of crafted segments, which knows every number of its connection.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, ensure};
use etherparse::{NetSlice, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice};
use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, listen, socket};

use crate::frame::tcp4;
use crate::netns::Netns;
use crate::wire::{SENDER, Wire};

/// A port of the host.
pub const SERVER_PORT: u16 = 80;
/// The peer's window.
const WINDOW: u16 = 64000;

/// The sender's end of a connection to the host.
#[derive(Clone, Debug)]
pub struct Peer {
    port: u16,
    /// The port of the host.
    to: u16,
    /// Next sequence number to send.
    pub next: u32,
    /// Next sequence number expected from the host.
    pub expected: u32,
    /// The host's window, in bytes.
    pub window: u32,
    /// The value of the timestamp option, if it is used.
    pub timestamp: Option<u32>,
}

impl Peer {
    /// Not connected; each connection has its own `port`.
    pub fn new(port: u16) -> Self {
        Self { port, to: SERVER_PORT, next: 1000, expected: 0, window: 0, timestamp: None }
    }

    /// The same peer for another port of the host.
    #[must_use]
    pub fn to(self, to: u16) -> Self {
        Self { to, ..self }
    }

    /// Connects to [`SERVER_PORT`].
    pub fn connect(wire: &Wire, port: u16) -> Result<Self> {
        Self::new(port).establish(wire)
    }

    /// Connects.
    pub fn establish(mut self, wire: &Wire) -> Result<Self> {
        self.open(wire)?;
        wire.send(&self.segment(b"", |_| ())?)?;
        Ok(self)
    }

    /// Connects with the timestamp option, whose value is `timestamp`.
    pub fn connect_with_timestamp(wire: &Wire, port: u16, timestamp: u32) -> Result<Self> {
        Self { timestamp: Some(timestamp), ..Self::new(port) }.establish(wire)
    }

    /// The first two steps of the handshake: the connection waits for this peer's ACK.
    pub fn open(&mut self, wire: &Wire) -> Result<()> {
        wire.send(&self.syn(|_| ())?)?;
        self.next = self.next.wrapping_add(1);
        let answer = self.await_syn_ack(wire)?;
        self.expected = answer.sequence_number.wrapping_add(1);
        self.window = u32::from(answer.window_size);
        Ok(())
    }

    /// A SYN.
    pub fn syn(&self, alter: impl FnOnce(&mut TcpHeader)) -> Result<Vec<u8>> {
        self.segment(b"", |header| {
            header.syn = true;
            header.ack = false;
            header.acknowledgment_number = 0;
            alter(header);
        })
    }

    /// The next segment, not sent and not counted as sent; `alter` breaks it.
    pub fn segment(&self, payload: &[u8], alter: impl FnOnce(&mut TcpHeader)) -> Result<Vec<u8>> {
        let mut header = TcpHeader::new(self.port, self.to, self.next, WINDOW);
        header.ack = true;
        header.acknowledgment_number = self.expected;
        if let Some(timestamp) = self.timestamp {
            header.set_options(&[TcpOptionElement::Timestamp(timestamp, 0)])?;
        }
        alter(&mut header);
        tcp4(header, payload)
    }

    /// Sends data as the next segment.
    pub fn write(&mut self, wire: &Wire, payload: &[u8]) -> Result<()> {
        wire.send(&self.segment(payload, |_| ())?)?;
        self.next = self.next.wrapping_add(u32::try_from(payload.len())?);
        Ok(())
    }

    fn await_syn_ack(&self, wire: &Wire) -> Result<TcpHeader> {
        loop {
            let frame = wire.receive()?;
            let packet = SlicedPacket::from_ethernet(&frame)?;
            let Some(NetSlice::Ipv4(ip)) = packet.net else { continue };
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { continue };
            if ip.header().destination_addr() == SENDER && tcp.destination_port() == self.port {
                ensure!(tcp.syn() && tcp.ack() && !tcp.rst(), "the host answers a SYN with something else");
                return Ok(tcp.to_header());
            }
        }
    }
}

/// A listening socket of the host, on [`SERVER_PORT`].
pub fn listener(netns: &Netns) -> Result<TcpListener> {
    listener_with(netns, 128, |_| Ok(()))
}

/// Does the same as [`listener`], with room for `backlog` connections that are not accepted yet, and options set before
/// the socket listens.
pub fn listener_with(
    netns: &Netns,
    backlog: i32,
    options: impl FnOnce(&OwnedFd) -> Result<()> + Send,
) -> Result<TcpListener> {
    listener_at(netns, SERVER_PORT, backlog, options)
}

/// Does the same as [`listener_with`] on another port.
pub fn listener_at(
    netns: &Netns,
    port: u16,
    backlog: i32,
    options: impl FnOnce(&OwnedFd) -> Result<()> + Send,
) -> Result<TcpListener> {
    netns.run(|| {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        options(&listener)?;
        bind(&listener, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).context("binding TCP")?;
        listen(&listener, backlog)?;
        Ok(TcpListener::from(listener))
    })
}
