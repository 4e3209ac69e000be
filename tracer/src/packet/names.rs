//! Names of protocol numbers.

use std::fmt;

/// An `EtherType` (`include/uapi/linux/if_ether.h`), shown by name where it is well known, else as `0x88cc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolName(pub u16);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0x0800 => f.write_str("ipv4"),
            0x0806 => f.write_str("arp"),
            0x86dd => f.write_str("ipv6"),
            0x8100 => f.write_str("vlan"),
            0x88a8 => f.write_str("qinq"),
            other => write!(f, "{other:#06x}"),
        }
    }
}

/// The protocol above the network layer: `udp`, `tcp`, `icmp`, …, or `ip-253` for an IP protocol without a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportName {
    /// An IP protocol number.
    Ip(u8),
    /// ARP, which has no layer above it.
    Arp,
}

impl fmt::Display for TransportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ip(number) = *self else { return f.write_str("arp") };
        let name = match number {
            0 => "hop-by-hop",
            1 => "icmp",
            2 => "igmp",
            4 => "ipip",
            6 => "tcp",
            17 => "udp",
            41 => "ipv6",
            47 => "gre",
            50 => "esp",
            51 => "ah",
            58 => "icmpv6",
            59 => "none",
            89 => "ospf",
            103 => "pim",
            112 => "vrrp",
            132 => "sctp",
            136 => "udplite",
            _ => return write!(f, "ip-{number}"),
        };
        f.write_str(name)
    }
}
