//! The meaning of a filter's text.

use super::code::{Operation, Size};
use super::question::Question;

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Conditions joined from left to right: `and` and `or` bind equally.
    Chain(Box<Self>, Vec<(Join, Self)>),
    /// The opposite.
    Not(Box<Self>),
    /// One test.
    Test(Test),
}

/// The word between two conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    And,
    Or,
}

/// One test of a packet or drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// The `EtherType` behind VLAN tags.
    EtherType(u16),
    /// The protocol of the IP payload.
    Payload(Family, u8),
    /// An IPv4 address or net.
    Ipv4 { carrier: Carrier, side: Side, address: u32, mask: u32 },
    /// An IPv6 address or net.
    Ipv6 { side: Side, address: u128, mask: u128 },
    /// An Ethernet address.
    Ethernet { side: Side, address: [u8; 6] },
    /// The ports from `first` to `last`.
    Ports { transport: Option<u8>, side: Side, first: u16, last: u16 },
    /// A VLAN tag, with this number if there is one.
    Vlan(Option<u16>),
    /// A relation of two numbers.
    Relation(Arithmetic, Relation, Arithmetic),
    /// A question about the drop.
    Question(Question),
}

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Either,
}

/// The protocols that carry IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Ip,
    Arp,
    Rarp,
    Any,
}

/// Which of two addresses or ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of the sender.
    Source,
    /// That of the receiver.
    Destination,
    /// At least one of both.
    Either,
    /// Both.
    Both,
}

/// How two numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A number, as terms in postfix order: no recursion, whatever the text.
pub(super) type Arithmetic = Vec<Term>;

/// A term of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Constant(u32),
    /// The packet's length.
    Length,
    /// Replaces an offset by the bytes there.
    Load(Header, Size),
    /// Replaces a number by 0 minus that number.
    Negate,
    /// Replaces two numbers by the result.
    Compute(Operation),
}

/// The header from which an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The Ethernet header.
    Link,
    /// The network header of packets with this `EtherType`.
    Network(u16),
    /// The header behind that of IPv4, in packets with this protocol.
    Transport(u8),
    /// The header behind that of IPv6, if it is `ICMPv6`.
    Icmp6,
}
