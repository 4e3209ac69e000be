//! What the generator provokes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context, Result};
use rustix::net::netdevice::name_to_index;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketAddrAny, SocketType, socket};

use super::counter::Counter;
use super::netns::Netns;
use super::sys;

/// Payload of a datagram, bytes.
const PAYLOAD: usize = 64;
/// `discard`: nobody listens in a namespace of ours.
const CLOSED_PORT: u16 = 9;
const FILTERED_PORT: u16 = 10;
const RULES: &str = "
table inet bench {
  counter drops { }
  chain input { type filter hook input priority 0; udp dport 10 counter name drops drop; }
}
";
/// The first of the `EtherTypes` that nobody handles; none up to 0x5fff has a handler in the kernel.
const FIRST_TYPE: u16 = 0x1000;
/// How many of them there are.
pub(super) const MAX_KEYS: u16 = 0x4000;

/// A kind of load. Each datagram or frame is one drop, which the kernel counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Load {
    /// UDP into a receive buffer that is full.
    FullBuffer,
    /// UDP to a port that nobody listens on.
    ClosedPort,
    /// UDP that a rule of nftables drops.
    Nftables,
    /// Frames of so many protocols that nobody handles: as many keys in the account, at one place.
    Keys(u16),
    /// All of the above but nftables, in turn, with 1,000 keys and two more.
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
            Self::Mix => "mix",
        }
    }

    /// What it is, in words.
    pub(super) fn description(self) -> String {
        match self {
            Self::FullBuffer => "UDP into a full receive buffer".into(),
            Self::ClosedPort => "UDP to a closed port".into(),
            Self::Nftables => "UDP dropped by a rule of nftables".into(),
            Self::Keys(1) => "frames of a protocol that nobody handles".into(),
            Self::Keys(keys) => format!("frames of {keys} protocols that nobody handles"),
            Self::Mix => "full buffers, closed ports and 1,000 protocols in turn".into(),
        }
    }

    /// Makes ready what one thread sends.
    pub(super) fn lanes(self, netns: &Netns) -> Result<Vec<Lane>> {
        Ok(match self {
            Self::FullBuffer => vec![Lane::full_buffer(netns)?],
            Self::ClosedPort => vec![Lane::closed_port(netns)?],
            Self::Nftables => vec![Lane::filtered(netns)?],
            Self::Keys(keys) => vec![Lane::frames(netns, keys)?],
            Self::Mix => vec![Lane::full_buffer(netns)?, Lane::closed_port(netns)?, Lane::frames(netns, 1000)?],
        })
    }
}

/// Messages that are dropped for one reason, and the socket that sends them.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) socket: OwnedFd,
    /// Sent in turn, again and again.
    pub(super) messages: Vec<Vec<u8>>,
    /// Where to; none for sockets that know.
    pub(super) to: Option<SocketAddrAny>,
    /// Who counts.
    pub(super) counter: Counter,
    /// Kept, for its buffer has to stay full.
    _receiver: Option<UdpSocket>,
}

impl Lane {
    fn full_buffer(netns: &Netns) -> Result<Self> {
        let (sender, receiver) = netns.run(|| {
            let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            // The kernel makes it the least that it allows.
            set_socket_recv_buffer_size(&receiver, 1)?;
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            sender.connect(receiver.local_addr()?)?;
            Ok((sender, receiver))
        })?;
        let before = Counter::RcvbufErrors.read(netns)?;
        while Counter::RcvbufErrors.read(netns)? == before {
            sender.send(&[0; PAYLOAD]).context("cannot fill a receive buffer")?;
        }
        // One is counted before the next is sent, so nothing is on its way now.
        Ok(Self::datagrams(sender, Some(receiver), None, Counter::RcvbufErrors))
    }

    fn closed_port(netns: &Netns) -> Result<Self> {
        // Not connected: the answer, that the port is closed, would otherwise be the next sending's error.
        let sender = netns.run(|| Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?))?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, CLOSED_PORT));
        Ok(Self::datagrams(sender, None, Some(to.into()), Counter::NoPorts))
    }

    fn filtered(netns: &Netns) -> Result<Self> {
        netns.nft(&["-f", "-"], &format!("table inet bench\ndelete table inet bench\n{RULES}"))?;
        let sender = netns.run(|| {
            let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            sender.connect((Ipv4Addr::LOCALHOST, FILTERED_PORT))?;
            Ok(sender)
        })?;
        Ok(Self::datagrams(sender, None, None, Counter::Nftables))
    }

    fn datagrams(sender: UdpSocket, receiver: Option<UdpSocket>, to: Option<SocketAddrAny>, counter: Counter) -> Self {
        Self { socket: sender.into(), messages: vec![vec![0; PAYLOAD]], to, counter, _receiver: receiver }
    }

    fn frames(netns: &Netns, keys: u16) -> Result<Self> {
        let socket = netns.run(|| {
            let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            let ifindex = i32::try_from(name_to_index(any.as_fd(), "lo")?)?;
            sys::frame_socket(ifindex).context("cannot open a packet socket, which takes CAP_NET_RAW")
        })?;
        let types = FIRST_TYPE..FIRST_TYPE + keys.clamp(1, MAX_KEYS);
        let messages = types.map(frame).collect();
        Ok(Self { socket, messages, to: None, counter: Counter::Unhandled, _receiver: None })
    }
}

/// An Ethernet frame from `lo` to itself.
fn frame(ether_type: u16) -> Vec<u8> {
    let mut frame = vec![0; 14 + PAYLOAD];
    frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
    frame
}
