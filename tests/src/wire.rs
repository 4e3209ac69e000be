//! The usual stage: a host under test, and at the other end of its only cable a sender of crafted frames.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use crate::eventually;
use crate::netns::Netns;
use crate::packet::{ALL_PROTOCOLS, PacketSocket};

/// The sender's MAC address.
pub const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The host's MAC address.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The sender's address; no kernel answers for it.
pub const SENDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The host's address.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// As [`SENDER`].
pub const SENDER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
/// As [`HOST`].
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// A veth pair between two namespaces: `host0` belongs to an ordinary network stack with the addresses [`HOST`] and,
/// on demand, [`HOST6`]; `sender0` has none: a packet socket sends through it and sees all that the host sends.
#[derive(Debug)]
pub struct Wire {
    /// Where drops are provoked.
    pub host: Netns,
    /// The other end.
    pub sender: Netns,
    socket: PacketSocket,
}

impl Wire {
    /// With IPv4 only.
    pub fn new() -> Result<Self> {
        let (host, sender) = (Netns::new()?, Netns::new()?);
        host.probe(&format!("ip link add name host0 type veth peer name sender0 netns {}", sender.path()))?;
        sender.commands("ip link set sender0 address 02:00:00:00:00:01 arp off up")?;
        host.commands(
            "ip link set lo up
             ip link set host0 address 02:00:00:00:00:02 up
             ip address add 10.0.0.2/24 dev host0
             ip neighbour replace 10.0.0.1 lladdr 02:00:00:00:00:01 dev host0 nud permanent",
        )?;
        for (netns, interface) in [(&sender, "sender0"), (&host, "host0")] {
            // The kernel starts transmission some time after both ends are up, and drops what is sent before.
            eventually("the cable", || {
                let link = netns.command(&format!("ip link show dev {interface}"))?;
                Ok(link.contains("state UP") && !link.contains("qdisc noop "))
            })?;
        }
        let socket = PacketSocket::bind(&sender, "sender0", ALL_PROTOCOLS)?;
        Ok(Self { host, sender, socket })
    }

    /// With IPv4 and IPv6.
    pub fn with_ipv6() -> Result<Self> {
        let wire = Self::new()?;
        wire.host.sysctl("net/ipv6/conf/host0/accept_ra", "0")?;
        wire.host.sysctl("net/ipv6/conf/host0/disable_ipv6", "0")?;
        wire.host.commands(
            "ip address add fd00::2/64 dev host0 nodad
             ip neighbour replace fd00::1 lladdr 02:00:00:00:00:01 dev host0 nud permanent",
        )?;
        Ok(wire)
    }

    /// With a pair of interfaces in the host that leads nowhere else: `out0` and, at its other end, `end0`.
    pub fn with_way_out() -> Result<Self> {
        let wire = Self::new()?;
        wire.host.commands(
            "ip link add name out0 type veth peer name end0
             ip link set out0 arp off up
             ip link set end0 arp off up",
        )?;
        eventually("the way out", || Ok(wire.host.command("ip link show dev out0")?.contains("state UP")))?;
        Ok(wire)
    }

    /// Lets the firewall drop what arrives with this VLAN tag, where it still sees the tag: later, the kernel forgets it.
    pub fn refuse_vlan(&self, id: u16) -> Result<()> {
        self.host.probe(&format!(
            "nft add table netdev t
             nft 'add chain netdev t c {{ type filter hook ingress device host0 priority 0; policy accept; }}'
             nft add rule netdev t c vlan id {id} drop"
        ))
    }

    /// Sends one frame to the host.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.socket.send(frame)
    }

    /// Sends the same frame several times.
    pub fn repeat(&self, times: u64, frame: &[u8]) -> Result<()> {
        (0..times).try_for_each(|_| self.send(frame))
    }

    /// Receives what the host sends (and, for a packet socket sees both ways, what this wire itself sent).
    pub fn receive(&self) -> Result<Vec<u8>> {
        self.socket.receive()
    }

    /// A UDP socket of the host.
    pub fn udp(&self, port: u16) -> Result<UdpSocket> {
        udp(&self.host, (Ipv4Addr::UNSPECIFIED, port).into())
    }
}

/// A UDP socket in a namespace.
pub fn udp(netns: &Netns, address: SocketAddr) -> Result<UdpSocket> {
    netns.run(|| UdpSocket::bind(address).with_context(|| format!("binding UDP to {address}")))
}
