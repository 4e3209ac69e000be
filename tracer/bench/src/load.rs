//! The loads that the generator sends.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context, Result};
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, socket};

use super::counter::Counter;
use super::netns::Netns;
use super::sys;
use super::zipf;

/// The length of a datagram's payload, in bytes.
const PAYLOAD: usize = 64;
/// The port `discard`, which no socket uses in the benchmark's network namespace.
const CLOSED_PORT: u16 = 9;
const FILTERED_PORT: u16 = 10;
const RULES: &str = "
table inet bench {
  counter drops { }
  chain input { type filter hook input priority 0; udp dport 10 counter name drops drop; }
}
";
/// The first of the `EtherTypes` without a handler: the kernel has no handler up to 0x5fff.
const FIRST_TYPE: u16 = 0x1000;
/// The number of `EtherTypes` without a handler.
pub(super) const MAX_KEYS: u16 = 0x4000;

/// A kind of load. Each datagram or frame is one drop, which the kernel counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Load {
    /// UDP into a full receive buffer.
    FullBuffer,
    /// UDP to a port without a socket.
    ClosedPort,
    /// UDP that a rule of nftables drops.
    Nftables,
    /// Frames of this number of protocols without a handler. They have as many aggregation keys, at one drop site.
    Keys(u16),
    /// UDP from one socket to this number of addresses, all into one full receive buffer: as many flows, at one drop
    /// site.
    Flows(u16),
    /// The same flows, where the flow of rank r has a share of the drops that is proportional to r^-1.1: a few flows have most
    /// drops, as in real traffic.
    ZipfFlows(u16),
    /// A full receive buffer, a closed port and frames, in turn, with 1,000 keys and two more.
    Mix,
}

impl Load {
    /// The name in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FullBuffer => "full-buffer",
            Self::ClosedPort => "closed-port",
            Self::Nftables => "nftables",
            Self::Keys(_) => "keys",
            Self::Flows(_) => "flows",
            Self::ZipfFlows(_) => "flows-zipf",
            Self::Mix => "mix",
        }
    }

    /// The description of the load.
    pub(super) fn description(self) -> String {
        match self {
            Self::FullBuffer => "UDP into a full receive buffer".into(),
            Self::ClosedPort => "UDP to a closed port".into(),
            Self::Nftables => "UDP dropped by a rule of nftables".into(),
            Self::Keys(1) => "frames of a protocol that nobody handles".into(),
            Self::Keys(keys) => format!("frames of {keys} protocols that nobody handles"),
            Self::Flows(flows) => format!("UDP to {flows} addresses, into a full receive buffer"),
            Self::ZipfFlows(flows) => {
                format!("UDP to {flows} addresses with shares by Zipf's law, into a full receive buffer")
            }
            Self::Mix => "full buffers, closed ports and 1,000 protocols in turn".into(),
        }
    }

    /// Prepares the messages of one thread.
    pub(super) fn lanes(self, netns: &Netns) -> Result<Vec<Lane>> {
        Ok(match self {
            Self::FullBuffer => vec![Lane::full_buffer(netns)?],
            Self::ClosedPort => vec![Lane::closed_port(netns)?],
            Self::Nftables => vec![Lane::filtered(netns)?],
            Self::Keys(keys) => vec![Lane::frames(netns, keys)?],
            Self::Flows(flows) => vec![Lane::flows(netns, 0..flows)?],
            Self::ZipfFlows(flows) => vec![Lane::flows(netns, zipf::order(flows))?],
            Self::Mix => vec![Lane::full_buffer(netns)?, Lane::closed_port(netns)?, Lane::frames(netns, 1000)?],
        })
    }
}

/// A datagram or a frame.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// The destination; `None` for sockets that know it.
    pub(super) to: Option<SocketAddrAny>,
}

impl Message {
    fn datagram(to: Option<(Ipv4Addr, u16)>) -> Self {
        Self { bytes: vec![0; PAYLOAD], to: to.map(|to| SocketAddr::from(to).into()) }
    }
}

/// Messages that are dropped for one reason, and the socket that sends them.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) socket: OwnedFd,
    /// The messages, which are sent in turn repeatedly.
    pub(super) messages: Vec<Message>,
    /// The kernel's counter of these drops.
    pub(super) counter: Counter,
    /// Kept open because its buffer must stay full.
    _receiver: Option<UdpSocket>,
}

impl Lane {
    fn new(socket: impl Into<OwnedFd>, messages: Vec<Message>, counter: Counter) -> Self {
        Self { socket: socket.into(), messages, counter, _receiver: None }
    }

    fn full_buffer(netns: &Netns) -> Result<Self> {
        let (sender, receiver) = full_receiver(netns, Ipv4Addr::LOCALHOST)?;
        sender.connect(receiver.local_addr()?)?;
        let lane = Self::new(sender, vec![Message::datagram(None)], Counter::RcvbufErrors);
        Ok(Self { _receiver: Some(receiver), ..lane })
    }

    /// The receiver has all addresses of `lo`, so that one socket drops the datagrams to each of them. `flows` has the flow of
    /// each datagram.
    fn flows(netns: &Netns, flows: impl IntoIterator<Item = u16>) -> Result<Self> {
        let (sender, receiver) = full_receiver(netns, Ipv4Addr::UNSPECIFIED)?;
        let port = receiver.local_addr()?.port();
        let messages = flows.into_iter().map(|flow| Message::datagram(Some((destination(flow), port)))).collect();
        Ok(Self { _receiver: Some(receiver), ..Self::new(sender, messages, Counter::RcvbufErrors) })
    }

    fn closed_port(netns: &Netns) -> Result<Self> {
        // The socket is not connected, because otherwise the answer that the port is closed would become an error of
        // the next send.
        let sender = netns.run(|| Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?))?;
        let messages = vec![Message::datagram(Some((Ipv4Addr::LOCALHOST, CLOSED_PORT)))];
        Ok(Self::new(sender, messages, Counter::NoPorts))
    }

    fn filtered(netns: &Netns) -> Result<Self> {
        netns.nft(&["-f", "-"], &format!("table inet bench\ndelete table inet bench\n{RULES}"))?;
        let sender = netns.run(|| {
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            sender.connect((Ipv4Addr::LOCALHOST, FILTERED_PORT))?;
            Ok(sender)
        })?;
        Ok(Self::new(sender, vec![Message::datagram(None)], Counter::Nftables))
    }

    fn frames(netns: &Netns, keys: u16) -> Result<Self> {
        let socket = netns.run(|| {
            let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            let ifindex = i32::try_from(name_to_index(any.as_fd(), "lo")?)?;
            sys::frame_socket(ifindex).context("cannot open a packet socket, which needs CAP_NET_RAW")
        })?;
        let types = FIRST_TYPE..FIRST_TYPE + keys.clamp(1, MAX_KEYS);
        let messages = types.map(|it| Message { bytes: frame(it), to: None }).collect();
        Ok(Self::new(socket, messages, Counter::Unhandled))
    }
}

/// A sender, and a receiver at `address` whose buffer is full.
fn full_receiver(netns: &Netns, address: Ipv4Addr) -> Result<(UdpSocket, UdpSocket)> {
    let (sender, receiver) = netns.run(|| {
        let receiver = UdpSocket::bind((address, 0))?;
        // The kernel raises the size to its minimum.
        set_socket_recv_buffer_size(&receiver, 1)?;
        Ok((UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, receiver))
    })?;
    let to = (Ipv4Addr::LOCALHOST, receiver.local_addr()?.port());
    let before = Counter::RcvbufErrors.read(netns)?;
    while Counter::RcvbufErrors.read(netns)? == before {
        sender.send_to(&[0; PAYLOAD], to).context("cannot fill a receive buffer")?;
    }
    // Each message is counted before the next one is sent, so none is on its way now.
    Ok((sender, receiver))
}

/// The destination of a flow: all of 127.0.0.0/8 is local, and 127.1.0.0/16 has no broadcast address.
fn destination(flow: u16) -> Ipv4Addr {
    let [high, low] = flow.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

/// An Ethernet frame from `lo` to itself.
fn frame(ether_type: u16) -> Vec<u8> {
    let mut frame = vec![0; 14 + PAYLOAD];
    frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
    frame
}
