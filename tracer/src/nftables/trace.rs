//! The messages of the kernel's trace (`nft_trace_notify`, `net/netfilter/nf_tables_trace.c`).

use super::attributes::{long, number};
use super::own_table::TABLE;
use super::{HEADER, INET, IPV4, IPV4_FRAGMENT, IPV6, IPV6_FRAGMENT, message};
use crate::domain::event::PacketStart;
use crate::filter::View;
use crate::netlink::wire::{self, Attribute, Malformed, Message};
use crate::packet::{Decoded, decode, view};

/// `enum nft_trace_attributes` (`include/uapi/linux/netfilter/nf_tables.h`).
mod kind {
    pub(super) const TABLE: u16 = 1;
    pub(super) const CHAIN: u16 = 2;
    pub(super) const RULE_HANDLE: u16 = 3;
    pub(super) const TYPE: u16 = 4;
    pub(super) const VERDICT: u16 = 5;
    pub(super) const ID: u16 = 6;
    pub(super) const LINK_HEADER: u16 = 7;
    pub(super) const NETWORK_HEADER: u16 = 8;
    pub(super) const TRANSPORT_HEADER: u16 = 9;
    pub(super) const IN_TYPE: u16 = 11;
    pub(super) const PACKET_FAMILY: u16 = 15;
    pub(super) const POLICY: u16 = 16;
}

/// `NFTA_VERDICT_CODE`.
const VERDICT_CODE: u16 = 1;
/// `enum nft_trace_types`.
const TYPE_POLICY: u32 = 1;
const TYPE_RULE: u32 = 3;
/// `NF_DROP`, `NF_ACCEPT` and `NF_VERDICT_MASK` (`include/uapi/linux/netfilter.h`): the other bits of a drop are an error
/// number.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `NF_STOLEN`: with an error number, an expression has freed the packet (`NF_DROP_REASON`, `net/netfilter/core.c`, since
/// Linux 6.7).
const STOLEN: u32 = 2;
const ERROR_SHIFT: u32 = 16;
const VERDICT_MASK: u32 = 0xff;
/// Codes from here on are of nftables, such as `NFT_JUMP`: the packet goes on.
const FIRST_OF_NFTABLES: u32 = 1 << 31;
/// The length in bytes of the header of Ethernet.
const ETHERNET_HEADER: u32 = 14;
/// `ARPHRD_ETHER` (`include/uapi/linux/if_arp.h`).
const ETHERNET: u16 = 1;
/// The most bytes of a packet in a message: `NFT_TRACETYPE_LL_HSIZE`, `NFT_TRACETYPE_NETWORK_HSIZE` and
/// `NFT_TRACETYPE_TRANSPORT_HSIZE`.
const MOST_BYTES: usize = 20 + 40 + 20;

/// What a message says of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The packet has come to the rule of droptrace, although others traced it before: this message has its bytes.
    Announced,
    /// The rule of droptrace has marked the packet.
    Marked,
    /// A rule has dropped the packet; its handle.
    DroppedByRule(u64),
    /// The policy of a base chain has dropped the packet.
    DroppedByPolicy,
    /// The packet goes on.
    GoesOn,
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace<'m> {
    /// The family of the table.
    pub(crate) family: u8,
    /// The name of the table; empty if it is not text.
    pub(crate) table: &'m str,
    /// The name of the chain; empty if it is not text.
    pub(crate) chain: &'m str,
    /// The kernel's number for the packet. Packets of the same flow, one after another, may have the same.
    pub(crate) id: u32,
    /// What happened.
    pub(crate) step: Step,
    link: &'m [u8],
    network: &'m [u8],
    transport: &'m [u8],
    in_type: u16,
    packet_family: u8,
}

impl<'m> Trace<'m> {
    /// Reads a message; `None` for one that is no trace.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub(crate) fn parse(message: &Message<'m>) -> Result<Option<Self>, Malformed> {
        if message.header.message_type != message::TRACE {
            return Ok(None);
        }
        let short = Malformed("a trace without a family");
        let (header, attributes) = message.payload.split_at_checked(HEADER).ok_or(short)?;
        let mut trace = Self {
            family: header[0],
            table: "",
            chain: "",
            id: 0,
            step: Step::GoesOn,
            link: &[],
            network: &[],
            transport: &[],
            in_type: 0,
            packet_family: header[0],
        };
        let mut found = Found::default();
        for attribute in wire::attributes(attributes) {
            trace.take(&attribute?, &mut found)?;
        }
        let id = found.id.ok_or(Malformed("a trace without the number of its packet"))?;
        let step = found.step(trace.family == INET && trace.table == TABLE);
        Ok(Some(Self { id, step, ..trace }))
    }

    fn take(&mut self, attribute: &Attribute<'m>, found: &mut Found) -> Result<(), Malformed> {
        match attribute.kind {
            kind::TABLE => self.table = attribute.text().unwrap_or_default(),
            kind::CHAIN => self.chain = attribute.text().unwrap_or_default(),
            kind::LINK_HEADER => self.link = attribute.value,
            kind::NETWORK_HEADER => self.network = attribute.value,
            kind::TRANSPORT_HEADER => self.transport = attribute.value,
            kind::IN_TYPE => self.in_type = u16::from_be(attribute.u16()?),
            kind::PACKET_FAMILY => self.packet_family = u8::try_from(number(attribute)?).unwrap_or_default(),
            kind::RULE_HANDLE => found.handle = Some(long(attribute)?),
            kind::TYPE => found.kind = number(attribute)?,
            kind::ID => found.id = Some(number(attribute)?),
            kind::POLICY => found.policy = Some(number(attribute)?),
            kind::VERDICT => found.verdict = verdict(attribute)?,
            _ => {}
        }
        Ok(())
    }

    /// The leading bytes of the packet. Only the first message of a base chain has them.
    pub(crate) fn packet(&self) -> Packet {
        let protocol = match self.packet_family {
            IPV4 => 0x0800,
            IPV6 => 0x86dd,
            _ => 0,
        };
        let mut packet = Packet {
            start: PacketStart::Network,
            protocol,
            length: 0,
            is_fragment: false,
            taken: 0,
            bytes: [0; MOST_BYTES],
        };
        if self.in_type == ETHERNET && self.link.len() >= ETHERNET_HEADER as usize {
            packet.start = PacketStart::Mac;
            packet.append(self.link);
        }
        packet.append(self.network);
        if transport_follows(self.network) {
            packet.append(self.transport);
        }
        packet.length = length(self.network);
        packet.is_fragment = is_fragment(self.network);
        if packet.length > 0 && packet.start == PacketStart::Mac {
            packet.length += ETHERNET_HEADER;
        }
        packet
    }
}

/// What the attributes of a message say of the verdict.
#[derive(Default)]
struct Found {
    id: Option<u32>,
    kind: u32,
    handle: Option<u64>,
    verdict: Option<u32>,
    policy: Option<u32>,
}

impl Found {
    fn step(&self, is_own: bool) -> Step {
        let is_drop = |code| matches!((code & VERDICT_MASK, code >> ERROR_SHIFT), (DROP, _) | (STOLEN, 1..));
        let drops = |code: u32| code < FIRST_OF_NFTABLES && is_drop(code);
        match (self.kind, self.handle) {
            (TYPE_RULE, Some(_)) if is_own && self.verdict == Some(ACCEPT) => Step::Marked,
            _ if is_own => Step::Announced,
            (TYPE_RULE, Some(handle)) if self.verdict.is_some_and(drops) => Step::DroppedByRule(handle),
            (TYPE_POLICY, _) if self.policy.is_some_and(drops) => Step::DroppedByPolicy,
            _ => Step::GoesOn,
        }
    }
}

fn verdict(attribute: &Attribute<'_>) -> Result<Option<u32>, Malformed> {
    for inner in attribute.nested() {
        let inner = inner?;
        if inner.kind == VERDICT_CODE {
            return number(&inner).map(Some);
        }
    }
    Ok(None)
}

/// Whether the transport header of a message continues the bytes of its network header: the kernel cuts longer headers.
fn transport_follows(network: &[u8]) -> bool {
    /// Extension headers of IPv6.
    const EXTENSIONS: [u8; 7] = [0, 43, 44, 50, 51, 60, 135];
    match network.first().map(|byte| byte >> 4) {
        Some(4) => usize::from(network[0] & 0xf) * 4 == network.len(),
        Some(6) => network.len() == 40 && !EXTENSIONS.contains(&network[6]),
        _ => false,
    }
}

/// Whether a packet is a fragment of IPv4 (its offset is not 0, or more fragments follow), or of IPv6 (the first of the headers
/// says so).
fn is_fragment(network: &[u8]) -> bool {
    match network {
        [0x40..=0x4f, _, _, _, _, _, high, low, ..] => u16::from_be_bytes([*high, *low]) & IPV4_FRAGMENT != 0,
        [0x60..=0x6f, _, _, _, _, _, next, ..] => *next == IPV6_FRAGMENT,
        _ => false,
    }
}

/// The length in bytes of a packet of IP, by its own header; 0 if the header is cut.
fn length(network: &[u8]) -> u32 {
    let number = |at: usize| network.get(at..)?.first_chunk().map(|bytes| u32::from(u16::from_be_bytes(*bytes)));
    match network.first().map(|byte| byte >> 4) {
        Some(4) => number(2).unwrap_or_default(),
        Some(6) => number(4).map_or(0, |payload| payload + 40),
        _ => 0,
    }
}

/// The leading bytes of a traced packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    start: PacketStart,
    protocol: u16,
    /// The length of the packet in bytes, by the header of IP; 0 if it is unknown.
    pub(crate) length: u32,
    /// The packet is a fragment of an IP packet.
    pub(crate) is_fragment: bool,
    taken: usize,
    bytes: [u8; MOST_BYTES],
}

impl Packet {
    fn append(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes[self.taken..].iter_mut().zip(bytes) {
            *to = *from;
            self.taken += 1;
        }
    }

    /// Whether there are no bytes of IP.
    pub(crate) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The packet as a filter sees it.
    pub(crate) fn view(&self) -> View<'_> {
        view(self.start, self.protocol, self.length, &self.bytes[..self.taken], None)
    }

    /// The decoded packet.
    pub(crate) fn decode(&self) -> Decoded {
        decode(self.start, self.protocol, &self.bytes[..self.taken])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use netlink_packet_core::NetlinkHeader;
    use proptest::prelude::*;

    use super::super::attributes::Body;
    use super::*;

    /// A UDP datagram from 10.0.0.1:1234 to 10.0.0.2:9, 28 bytes.
    pub(in super::super) const NETWORK: [u8; 20] = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    pub(in super::super) const TRANSPORT: [u8; 8] = [4, 210, 0, 9, 0, 8, 0, 0];

    /// The payload of a message of a rule with this handle in this table.
    pub(in super::super) fn of_rule(table: &str, id: u32, handle: u64, verdict: i32) -> Vec<u8> {
        let code = Body::nested().number(VERDICT_CODE, verdict.cast_unsigned());
        let body = Body::of(INET).text(kind::TABLE, table).text(kind::CHAIN, "input").number(kind::ID, id);
        let body = body.number(kind::TYPE, TYPE_RULE).long(kind::RULE_HANDLE, handle).within(kind::VERDICT, &code);
        let body = body.bytes(kind::NETWORK_HEADER, &NETWORK).bytes(kind::TRANSPORT_HEADER, &TRANSPORT);
        body.number(kind::PACKET_FAMILY, IPV4.into()).into_bytes()
    }

    pub(in super::super) fn of_policy(id: u32, policy: u32) -> Vec<u8> {
        let body = Body::of(INET).text(kind::TABLE, "filter").text(kind::CHAIN, "input").number(kind::ID, id);
        body.number(kind::TYPE, TYPE_POLICY).number(kind::POLICY, policy).into_bytes()
    }

    pub(in super::super) fn parsed(payload: &[u8]) -> Result<Option<Trace<'_>>, Malformed> {
        let mut header = NetlinkHeader::default();
        header.message_type = message::TRACE;
        Trace::parse(&Message { header, payload, bytes: payload })
    }

    fn step(payload: &[u8]) -> Step {
        parsed(payload).unwrap().unwrap().step
    }

    #[test]
    fn verdicts_are_steps() {
        assert_eq!(step(&of_rule("filter", 7, 5, 0)), Step::DroppedByRule(5));
        // `NF_DROP` with an error number, as `NF_DROP_ERR` makes it.
        assert_eq!(step(&of_rule("filter", 7, 5, 1 << 16)), Step::DroppedByRule(5));
        assert_eq!(step(&of_rule("filter", 7, 5, 1 << 16 | 2)), Step::DroppedByRule(5), "freed by an expression");
        for goes_on in [1, 2, 3, -1, -3, -5, -256] {
            assert_eq!(step(&of_rule("filter", 7, 5, goes_on)), Step::GoesOn, "{goes_on}");
        }
        assert_eq!((step(&of_rule(TABLE, 7, 5, 1)), step(&of_rule(TABLE, 7, 4, -3))), (Step::Marked, Step::Announced));
        assert_eq!((step(&of_policy(7, 0)), step(&of_policy(7, 1))), (Step::DroppedByPolicy, Step::GoesOn));
    }

    #[test]
    fn headers_make_a_packet() {
        let payload = of_rule("filter", 7, 5, 0);
        let trace = parsed(&payload).unwrap().unwrap();
        let packet = trace.packet();
        let ports = packet.decode().source().unwrap().to_string();
        assert_eq!((ports.as_str(), packet.length, packet.taken), ("10.0.0.1:1234", 28, 28));
        let cut = Trace { network: &NETWORK[..19], ..trace };
        assert_eq!(cut.packet().taken, 19, "the transport header does not follow");
        let ethernet = [[2; 12].as_slice(), &[8, 0]].concat();
        let packet = Trace { link: &ethernet, in_type: ETHERNET, ..trace }.packet();
        assert_eq!((packet.decode().source().unwrap().port, packet.length), (Some(1234), 42));
    }

    #[test]
    fn malformed_messages_are_errors() {
        assert!(parsed(&[]).is_err() && parsed(&[1, 0, 0]).is_err());
        assert!(parsed(&[1, 0, 0, 0]).is_err(), "no number of a packet");
        let payload = Body::of(INET).bytes(kind::ID, &[1, 2]).into_bytes();
        assert!(parsed(&payload).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..160) {
            let mut sample = of_rule("filter", 7, 5, 0);
            sample.truncate(cut);
            for payload in [&bytes, &[&sample[..], &bytes].concat()] {
                if let Ok(Some(trace)) = parsed(payload) {
                    let packet = trace.packet();
                    _ = (packet.decode(), packet.view());
                }
            }
        }

        #[test]
        fn any_headers_are_survived(link in proptest::collection::vec(any::<u8>(), 0..40),
            network in proptest::collection::vec(any::<u8>(), 0..80)) {
            let trace = Trace { family: INET, table: "", chain: "", id: 0, step: Step::GoesOn, link: &link, network: &network,
                transport: &link, in_type: ETHERNET, packet_family: IPV6 };
            _ = (trace.packet().decode(), trace.packet().view());
        }
    }
}
