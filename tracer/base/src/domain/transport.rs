//! Names of the protocols above IP (`include/uapi/linux/in.h`, `in6.h`).

use std::fmt;

/// An `IPPROTO_*` number: `udp`, `tcp`, `icmp`, …, or `ip-253` for a number without a name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpProtocol(pub u8);

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "hop-by-hop",
            1 => "icmp",
            2 => "igmp",
            4 => "ipip",
            6 => "tcp",
            17 => "udp",
            33 => "dccp",
            41 => "ipv6",
            43 => "ipv6-route",
            44 => "ipv6-frag",
            47 => "gre",
            50 => "esp",
            51 => "ah",
            58 => "icmpv6",
            59 => "none",
            60 => "ipv6-opts",
            89 => "ospf",
            103 => "pim",
            112 => "vrrp",
            132 => "sctp",
            136 => "udplite",
            number => return write!(f, "ip-{number}"),
        };
        f.write_str(name)
    }
}
