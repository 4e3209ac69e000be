//! Names of protocol numbers.

use std::fmt;

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
