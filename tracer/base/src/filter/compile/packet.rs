//! The code of tests of a packet's headers.

use super::assembler::{Assembler, Label};
use crate::filter::ast::{Carrier, Family, Side};
use crate::filter::code::{Base, Comparison, Number, Op, Operand, Operation, Size, TAGGED};
use crate::filter::names::{ARP, FRAGMENT, IPV4, IPV6, RARP, SCTP, TCP, UDP};

/// Offsets within the IPv4 header (RFC 791).
const IPV4_FRAGMENT: u32 = 6;
const IPV4_PROTOCOL: u32 = 9;
const IPV4_SIDES: (u32, u32) = (12, 16);
/// The bits of the fragment's offset.
const FRAGMENT_OFFSET: u32 = 0x1fff;
/// Offsets within the fixed IPv6 header (RFC 8200), and its length.
const IPV6_NEXT: u32 = 6;
const IPV6_SIDES: (u32, u32) = (8, 24);
pub(super) const IPV6_LENGTH: u32 = 40;
/// Offsets of the IPv4 addresses in ARP and RARP for IPv4 (RFC 826).
const ARP_SIDES: (u32, u32) = (14, 24);
/// Offsets of the ports in the headers of TCP, UDP and SCTP.
const PORT_SIDES: (u32, u32) = (0, 2);
/// Offsets of the addresses in the Ethernet header.
const ETHERNET_SIDES: (u32, u32) = (6, 0);
const VLAN_NUMBER: u32 = 0xfff;

/// A part of an address.
#[derive(Clone, Copy)]
pub(super) struct Masked<T> {
    pub(super) address: T,
    pub(super) mask: T,
}

/// A range of ports.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) first: u16,
    pub(super) last: u16,
}

pub(super) fn load(base: Base, size: Size, offset: u32) -> Op {
    Op::Load { base, size, indexed: false, offset }
}

pub(super) fn ether_type(code: &mut Assembler, ether_type: u16, yes: Label, no: Label) {
    code.op(Op::Number(Number::Protocol));
    code.jump(Comparison::Equal, Operand::Constant(ether_type.into()), yes, no);
}

/// Goes on if the packet has this `EtherType`.
pub(super) fn need_ether_type(code: &mut Assembler, ether_type: u16, no: Label) {
    code.op(Op::Number(Number::Protocol));
    code.unless_equal(ether_type.into(), no);
}

/// Goes on if the IPv4 packet has this protocol.
pub(super) fn need_ipv4_protocol(code: &mut Assembler, number: u8, no: Label) {
    code.op(load(Base::Network, Size::Byte, IPV4_PROTOCOL));
    code.unless_equal(number.into(), no);
}

/// Goes on if the first next header of the IPv6 packet is this.
pub(super) fn need_ipv6_next(code: &mut Assembler, number: u8, no: Label) {
    code.op(load(Base::Network, Size::Byte, IPV6_NEXT));
    code.unless_equal(number.into(), no);
}

/// Goes on if the IPv4 packet is no fragment, or the first one.
pub(super) fn need_first_fragment(code: &mut Assembler, no: Label) {
    let next = code.label();
    code.op(load(Base::Network, Size::Half, IPV4_FRAGMENT));
    code.jump(Comparison::AnyBit, Operand::Constant(FRAGMENT_OFFSET), no, next);
    code.bind(next);
}

/// `X` = the length of the IPv4 header.
pub(super) fn ipv4_length_to_x(code: &mut Assembler) {
    code.op(load(Base::Network, Size::Byte, 0));
    code.op(Op::Compute(Operation::And, Operand::Constant(0xf)));
    code.op(Op::Compute(Operation::ShiftLeft, Operand::Constant(2)));
    code.op(Op::ToX);
}

/// The protocol behind IP; in IPv6, that of the first header or of a fragment header there.
pub(super) fn payload(code: &mut Assembler, family: Family, number: u8, yes: Label, no: Label) {
    let v6 = code.label();
    code.op(Op::Number(Number::Protocol));
    match family {
        Family::V4 => code.unless_equal(IPV4.into(), no),
        Family::V6 => code.unless_equal(IPV6.into(), no),
        Family::Either => {
            code.if_equal(IPV6.into(), v6);
            code.unless_equal(IPV4.into(), no);
        }
    }
    if family != Family::V6 {
        code.op(load(Base::Network, Size::Byte, IPV4_PROTOCOL));
        code.jump(Comparison::Equal, Operand::Constant(number.into()), yes, no);
    }
    if family != Family::V4 {
        code.bind(v6);
        code.op(load(Base::Network, Size::Byte, IPV6_NEXT));
        code.if_equal(number.into(), yes);
        code.unless_equal(FRAGMENT.into(), no);
        code.op(load(Base::Network, Size::Byte, IPV6_LENGTH));
        code.jump(Comparison::Equal, Operand::Constant(number.into()), yes, no);
    }
}

/// The order in which sides are tested, and the label of the second test; source before destination, as tcpdump does.
struct Sides {
    first: (u32, Label, Label),
    second: Option<(Label, u32)>,
}

fn sides(code: &mut Assembler, side: Side, (source, destination): (u32, u32), yes: Label, no: Label) -> Sides {
    let second = code.label();
    match side {
        Side::Source => Sides { first: (source, yes, no), second: None },
        Side::Destination => Sides { first: (destination, yes, no), second: None },
        Side::Either => Sides { first: (source, yes, second), second: Some((second, destination)) },
        Side::Both => Sides { first: (source, second, no), second: Some((second, destination)) },
    }
}

/// Tests one or both sides with a test that takes an offset.
fn each_side(
    code: &mut Assembler,
    sides: &Sides,
    yes: Label,
    no: Label,
    test: impl Fn(&mut Assembler, u32, Label, Label),
) {
    let (offset, first_yes, first_no) = sides.first;
    test(code, offset, first_yes, first_no);
    if let Some((label, offset)) = sides.second {
        code.bind(label);
        test(code, offset, yes, no);
    }
}

pub(super) fn ipv4(code: &mut Assembler, carrier: Carrier, side: Side, net: Masked<u32>, yes: Label, no: Label) {
    let arp = code.label();
    code.op(Op::Number(Number::Protocol));
    match carrier {
        Carrier::Ip => code.unless_equal(IPV4.into(), no),
        Carrier::Arp => code.unless_equal(ARP.into(), no),
        Carrier::Rarp => code.unless_equal(RARP.into(), no),
        Carrier::Any => {
            code.if_equal(ARP.into(), arp);
            code.if_equal(RARP.into(), arp);
            code.unless_equal(IPV4.into(), no);
        }
    }
    if matches!(carrier, Carrier::Ip | Carrier::Any) {
        let both = sides(code, side, IPV4_SIDES, yes, no);
        each_side(code, &both, yes, no, |code, offset, yes, no| word(code, offset, net, yes, no));
    }
    if carrier != Carrier::Ip {
        code.bind(arp);
        let both = sides(code, side, ARP_SIDES, yes, no);
        each_side(code, &both, yes, no, |code, offset, yes, no| word(code, offset, net, yes, no));
    }
}

/// Compares four bytes, as far as the mask covers them. Bytes that it does not cover are not loaded.
fn word(code: &mut Assembler, offset: u32, net: Masked<u32>, yes: Label, no: Label) {
    if net.mask == 0 {
        // Always: a number is at least 0.
        code.jump(Comparison::GreaterOrEqual, Operand::Constant(0), yes, no);
        return;
    }
    code.op(load(Base::Network, Size::Word, offset));
    if net.mask != u32::MAX {
        code.op(Op::Compute(Operation::And, Operand::Constant(net.mask)));
    }
    code.jump(Comparison::Equal, Operand::Constant(net.address), yes, no);
}

pub(super) fn ipv6(code: &mut Assembler, side: Side, address: u128, mask: u128, yes: Label, no: Label) {
    need_ether_type(code, IPV6, no);
    let both = sides(code, side, IPV6_SIDES, yes, no);
    let net = Masked { address, mask };
    each_side(code, &both, yes, no, |code, offset, yes, no| words(code, offset, net, yes, no));
}

/// Compares sixteen bytes, the first ones first.
fn words(code: &mut Assembler, offset: u32, address: Masked<u128>, yes: Label, no: Label) {
    for index in 0..3 {
        let part = part(address, index);
        if part.mask != 0 {
            let next = code.label();
            word(code, offset + 4 * index, part, next, no);
            code.bind(next);
        }
    }
    word(code, offset + 12, part(address, 3), yes, no);
}

/// One of the four words of an address.
fn part(net: Masked<u128>, index: u32) -> Masked<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "the word at this index")]
    let part = |value: u128| (value >> (96 - 32 * index)) as u32;
    Masked { address: part(net.address), mask: part(net.mask) }
}

pub(super) fn ethernet(code: &mut Assembler, side: Side, address: [u8; 6], yes: Label, no: Label) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let (start, end) = (number(&address[..2]), number(&address[2..]));
    let both = sides(code, side, ETHERNET_SIDES, yes, no);
    each_side(code, &both, yes, no, |code, offset, yes, no| {
        code.op(load(Base::Link, Size::Word, offset + 2));
        code.unless_equal(end, no);
        code.op(load(Base::Link, Size::Half, offset));
        code.jump(Comparison::Equal, Operand::Constant(start), yes, no);
    });
}

/// Ports, which lie directly behind the fixed IPv6 header, or in the first fragment of an IPv4 packet.
pub(super) fn ports(code: &mut Assembler, transport: Option<u8>, side: Side, ports: Ports, yes: Label, no: Label) {
    let v6 = code.label();
    code.op(Op::Number(Number::Protocol));
    code.if_equal(IPV6.into(), v6);
    code.unless_equal(IPV4.into(), no);
    code.op(load(Base::Network, Size::Byte, IPV4_PROTOCOL));
    need_transport(code, transport, no);
    need_first_fragment(code, no);
    ipv4_length_to_x(code);
    let both = sides(code, side, PORT_SIDES, yes, no);
    each_side(code, &both, yes, no, |code, offset, yes, no| port(code, true, offset, ports, yes, no));
    code.bind(v6);
    code.op(load(Base::Network, Size::Byte, IPV6_NEXT));
    need_transport(code, transport, no);
    let both = sides(code, side, PORT_SIDES, yes, no);
    each_side(code, &both, yes, no, |code, offset, yes, no| port(code, false, IPV6_LENGTH + offset, ports, yes, no));
}

/// Goes on if `A` is this protocol; without one, if it is one that has ports.
fn need_transport(code: &mut Assembler, transport: Option<u8>, no: Label) {
    if let Some(number) = transport {
        return code.unless_equal(number.into(), no);
    }
    let next = code.label();
    code.if_equal(TCP.into(), next);
    code.if_equal(UDP.into(), next);
    code.unless_equal(SCTP.into(), no);
    code.bind(next);
}

fn port(code: &mut Assembler, indexed: bool, offset: u32, ports: Ports, yes: Label, no: Label) {
    code.op(Op::Load { base: Base::Network, size: Size::Half, indexed, offset });
    if ports.first == ports.last {
        return code.jump(Comparison::Equal, Operand::Constant(ports.first.into()), yes, no);
    }
    let next = code.label();
    code.jump(Comparison::GreaterOrEqual, Operand::Constant(ports.first.into()), next, no);
    code.bind(next);
    code.jump(Comparison::Greater, Operand::Constant(ports.last.into()), no, yes);
}

pub(super) fn vlan(code: &mut Assembler, number: Option<u16>, yes: Label, no: Label) {
    code.op(Op::Number(Number::VlanTag));
    let Some(number) = number else {
        return code.jump(Comparison::AnyBit, Operand::Constant(TAGGED), yes, no);
    };
    code.op(Op::Compute(Operation::And, Operand::Constant(TAGGED | VLAN_NUMBER)));
    code.jump(Comparison::Equal, Operand::Constant(TAGGED | u32::from(number)), yes, no);
}
