//! Names of protocol numbers.

use std::fmt;

use crate::domain::transport::IpProtocol;

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
        match *self {
            Self::Ip(number) => IpProtocol(number).fmt(f),
            Self::Arp => f.write_str("arp"),
        }
    }
}
