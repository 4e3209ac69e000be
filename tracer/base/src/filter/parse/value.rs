//! The values behind a head: addresses, nets, ports, protocols.

use super::head::{Head, Kind};
use super::{Expression, FilterError, IPV4, IPV6, Parsed, Parser, Protocol, Side, Test, address, arithmetic, names};
use crate::filter::ast::{Carrier, Family};

/// The smallest `EtherType`: below it, the field is a length (`ETH_P_802_3_MIN`, `include/uapi/linux/if_ether.h`).
const MIN_ETHER_TYPE: u16 = 0x600;

impl Parser<'_> {
    /// One value.
    pub(super) fn value(&mut self, head: Head) -> Parsed<Expression> {
        let (protocol, side, kind) = match head {
            Head::Question(ask) => return self.question(ask),
            Head::Packet { protocol, side, kind } => (protocol, side, kind),
        };
        let test = match kind {
            Kind::Host if protocol == Some(Protocol::Link) => self.ethernet(side)?,
            Kind::Host => self.host(protocol, side)?,
            Kind::Net => self.net(protocol, side)?,
            Kind::Port => self.port(protocol, side)?,
            Kind::PortRange => self.ports(protocol, side)?,
            Kind::Proto => self.protocol(protocol)?,
        };
        Ok(Expression::Test(test))
    }

    fn ethernet(&mut self, side: Side) -> Parsed<Test> {
        let word = self.lexer.word();
        let Some(address) = address::ethernet(word) else {
            return Err(self
                .error("an Ethernet address must stand here")
                .with("write six bytes, as 02:00:00:00:00:01"));
        };
        self.lexer.skip(word);
        Ok(Test::Ethernet { side, address })
    }

    fn host(&mut self, protocol: Option<Protocol>, side: Side) -> Parsed<Test> {
        let word = self.lexer.word();
        if let Some(address) = address::ipv6(word) {
            self.check_ipv6(protocol)?;
            self.lexer.skip(word);
            self.refuse_prefix()?;
            return Ok(Test::Ipv6 { side, address, mask: u128::MAX });
        }
        let Some((address, 32)) = address::ipv4(word) else { return Err(self.no_address(word)) };
        let carrier = self.carrier(protocol)?;
        self.lexer.skip(word);
        self.refuse_prefix()?;
        Ok(Test::Ipv4 { carrier, side, address, mask: u32::MAX })
    }

    /// Names are not resolved: the answer would depend on the moment and on the network that has the problem.
    fn no_address(&mut self, word: &str) -> FilterError {
        if word.is_empty() {
            return self.error("an address is missing").with("write `host 192.0.2.1` or `host 2001:db8::1`");
        }
        if address::is_ethernet(word) {
            return self.error("an Ethernet address behind `host`").with(format!("write `ether host {word}`"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) || word.contains(':') {
            let error = self.error(format!("`{word}` is no address"));
            return error.with("write all parts, as 192.0.2.1 or 2001:db8::1; for a part of an address, write `net`");
        }
        let error = self.error(format!("`{word}` is no address, and droptrace does not resolve names"));
        error.with(format!("write the address that `getent ahosts {word}` shows"))
    }

    fn refuse_prefix(&mut self) -> Parsed<()> {
        if self.lexer.sign() == Some("/") {
            return Err(self
                .error("a host has no prefix length")
                .with("write `net ADDRESS/LENGTH`, such as `src net 10.0.0.0/8`"));
        }
        Ok(())
    }

    /// Fails if the protocol has no IPv6 addresses.
    fn check_ipv6(&mut self, protocol: Option<Protocol>) -> Parsed<()> {
        match protocol {
            None | Some(Protocol::Network(IPV6)) => Ok(()),
            Some(_) => Err(self.error("an IPv6 address belongs to `ip6`").with("write `ip6` before it, or nothing")),
        }
    }

    /// The protocols whose IPv4 addresses are meant.
    fn carrier(&mut self, protocol: Option<Protocol>) -> Parsed<Carrier> {
        let remedy = match protocol {
            None => return Ok(Carrier::Any),
            Some(Protocol::Network(IPV4)) => return Ok(Carrier::Ip),
            Some(Protocol::Network(names::ARP)) => return Ok(Carrier::Arp),
            Some(Protocol::Network(names::RARP)) => return Ok(Carrier::Rarp),
            Some(Protocol::Payload(..)) => "write the protocol as a condition of its own: `tcp and host ADDRESS`",
            Some(_) => "write `ip`, `arp` or `rarp` before it, or nothing",
        };
        Err(self.error("this protocol has no IPv4 addresses").with(remedy))
    }

    /// `10`, `10.1`, `10.0.0.0/8`, `10.0.0.0 mask 255.0.0.0`, `2001:db8::/32`.
    fn net(&mut self, protocol: Option<Protocol>, side: Side) -> Parsed<Test> {
        let offset = self.lexer.position();
        let word = self.lexer.word();
        if let Some(address) = address::ipv6(word) {
            self.check_ipv6(protocol)?;
            self.lexer.skip(word);
            let bits = self.prefix(128)?.unwrap_or(128);
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let net = std::net::Ipv6Addr::from_bits(address & mask);
            self.refuse_rest(offset, address & !mask != 0, &format!("{net}/{bits}"))?;
            return Ok(Test::Ipv6 { side, address, mask });
        }
        let Some((address, bits)) = address::ipv4(word).or_else(|| arithmetic::number(word).map(short_net)) else {
            return Err(self.no_address(word));
        };
        let carrier = self.carrier(protocol)?;
        self.lexer.skip(word);
        let mask = self.mask(bits)?;
        let net = std::net::Ipv4Addr::from_bits(address & mask);
        self.refuse_rest(offset, address & !mask != 0, &format!("{net}/{}", mask.count_ones()))?;
        Ok(Test::Ipv4 { carrier, side, address, mask })
    }

    fn refuse_rest(&self, offset: usize, has_rest: bool, net: &str) -> Parsed<()> {
        if has_rest {
            let error = self.error_at(offset, "the address has bits behind its prefix");
            return Err(error.with(format!("write `net {net}`")));
        }
        Ok(())
    }

    /// The mask of an IPv4 net: written, or that of the bits that the address has.
    fn mask(&mut self, bits: u32) -> Parsed<u32> {
        if self.lexer.takes_word("mask") {
            let word = self.lexer.word();
            let Some((mask, 32)) = address::ipv4(word) else {
                return Err(self.error("a mask must stand here").with("write it as 255.255.0.0"));
            };
            self.lexer.skip(word);
            return Ok(mask);
        }
        let bits = self.prefix(32)?.unwrap_or(bits);
        Ok(u32::MAX.checked_shl(32 - bits).unwrap_or(0))
    }

    /// `/BITS`, if it is next.
    fn prefix(&mut self, most: u32) -> Parsed<Option<u32>> {
        if !self.lexer.takes("/") {
            return Ok(None);
        }
        let word = self.lexer.number();
        let Some(bits) = arithmetic::number(word).filter(|bits| *bits <= most) else {
            return Err(self.error(format!("a prefix length is a number up to {most}")));
        };
        self.lexer.skip(word);
        Ok(Some(bits))
    }

    /// The transport protocol whose ports are meant; absent for all.
    fn transport(&mut self, protocol: Option<Protocol>) -> Parsed<Option<u8>> {
        match protocol {
            None => Ok(None),
            Some(Protocol::Payload(_, number @ (names::TCP | names::UDP | names::SCTP))) => Ok(Some(number)),
            Some(_) => {
                let error = self.error("this protocol has no ports");
                Err(error.with("write the protocol as a condition of its own: `ip and port N`"))
            }
        }
    }

    fn port(&mut self, protocol: Option<Protocol>, side: Side) -> Parsed<Test> {
        let transport = self.transport(protocol)?;
        let word = self.lexer.word();
        let port = self.port_of(word, word)?;
        self.lexer.skip(word);
        Ok(Test::Ports { transport, side, first: port, last: port })
    }

    /// `80-90`, or one port.
    fn ports(&mut self, protocol: Option<Protocol>, side: Side) -> Parsed<Test> {
        let transport = self.transport(protocol)?;
        let word = self.lexer.word();
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (self.port_of(first, word)?, self.port_of(last, word)?);
        self.lexer.skip(word);
        Ok(Test::Ports { transport, side, first: first.min(last), last: first.max(last) })
    }

    /// The port that a part of a word names.
    fn port_of(&mut self, name: &str, word: &str) -> Parsed<u16> {
        if name.is_empty() {
            let error = self.error(if word.is_empty() { "a port is missing" } else { "a port range has two ports" });
            return Err(error.with("write `port 443`, `port https` or `portrange 5000-5100`"));
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) && !name.contains('-') {
            let port = arithmetic::number(name).and_then(|number| u16::try_from(number).ok());
            return port.ok_or_else(|| self.error(format!("`{name}` is no port")).with("write a number up to 65535"));
        }
        if let Some(port) = names::port(name) {
            return Ok(port);
        }
        let error = self.error(format!("unknown port `{name}`"));
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(error.with("write `portrange` for several ports"));
        }
        Err(error.with(match names::nearest_port(name) {
            Some(near) => super::did_you_mean(near),
            None => "write its number".into(),
        }))
    }

    /// `proto NAME|NUMBER`.
    fn protocol(&mut self, protocol: Option<Protocol>) -> Parsed<Test> {
        let offset = self.lexer.position();
        let family = match protocol {
            None => Family::Either,
            Some(Protocol::Network(IPV4)) => Family::V4,
            Some(Protocol::Network(IPV6)) => Family::V6,
            Some(Protocol::Link) => return self.ether_type(),
            Some(_) => {
                let error = self.error("this protocol has no `proto`");
                return Err(error.with("write `ip proto`, `ip6 proto`, `ether proto`, or `proto` alone"));
            }
        };
        let name = self.lexer.name()?;
        let number = arithmetic::number(name).map(u8::try_from);
        let number = number.map_or_else(|| names::payload(name), Result::ok);
        let error = || self.error_at(offset, "a protocol of IP must stand here");
        let number = number.ok_or_else(|| error().with("write a number up to 255, or a name such as `tcp`"))?;
        Ok(Test::Payload(family, number))
    }

    fn ether_type(&mut self) -> Parsed<Test> {
        let offset = self.lexer.position();
        let name = self.lexer.name()?;
        let number = arithmetic::number(name).map(u16::try_from);
        let found = number.map_or_else(|| names::ether_type(name), Result::ok);
        let Some(ether_type) = found.filter(|found| *found >= MIN_ETHER_TYPE) else {
            let error = self.error_at(offset, "an EtherType must stand here");
            return Err(error.with("write a number from 0x600 to 0xffff, or a name such as `arp`"));
        };
        if names::TAGS.contains(&ether_type) {
            let error = self.error_at(offset, "this EtherType announces a VLAN tag, and droptrace looks behind tags");
            return Err(error.with("write `vlan` or `vlan NUMBER`"));
        }
        Ok(Test::EtherType(ether_type))
    }
}

/// A net of one number: its first bytes that are not 0, as `net 10`.
fn short_net(number: u32) -> (u32, u32) {
    let bytes = (4 - number.leading_zeros() / 8).max(1);
    if number == 0 { (0, 32) } else { (number << (32 - 8 * bytes), 8 * bytes) }
}
