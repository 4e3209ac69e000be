//! Random packets, which have the addresses and ports of the expressions often enough.

use std::fmt;

use droptrace_base::filter::View;
use droptrace_base::filter::code::TAGGED;
use rand::RngExt as _;
use rand_xorshift::XorShiftRng;

const ETHERNET: usize = 14;
const ETHERNET_ADDRESSES: [[u8; 6]; 4] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], [0xff; 6], [1, 0, 0x5e, 0, 0, 0xfb]];
const IPV4: [[u8; 4]; 6] =
    [[10, 0, 0, 1], [10, 1, 2, 3], [192, 0, 2, 1], [224, 0, 0, 251], [255, 255, 255, 255], [0, 0, 0, 0]];
const IPV6: [[u16; 8]; 4] = [
    [0, 0, 0, 0, 0, 0, 0, 1],
    [0xfe80, 0, 0, 0, 0, 0, 0, 1],
    [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
    [0xff02, 0, 0, 0, 0, 0, 0, 0xfb],
];
const PORTS: [u16; 6] = [53, 80, 443, 5_000, 5_050, 33_434];
const TYPES: [u16; 10] = [0x800, 0x800, 0x800, 0x800, 0x86dd, 0x86dd, 0x86dd, 0x806, 0x8035, 0x88cc];
const PROTOCOLS: [u8; 14] = [6, 6, 6, 17, 17, 17, 132, 1, 58, 2, 44, 50, 103, 112];

/// A VLAN tag.
#[derive(Clone, Copy)]
pub(crate) struct Tag {
    pub(crate) ether_type: u16,
    pub(crate) tci: u16,
}

/// The start of a frame.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    /// Of the whole frame.
    pub(crate) length: u32,
    /// The bytes before the network header.
    link: usize,
    tag: u32,
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?} of {} bytes", self.bytes, self.length)
    }
}

impl Packet {
    /// A packet, which is cut somewhere behind its Ethernet header and tag in one of three cases.
    pub(crate) fn random(random: &mut XorShiftRng, tag: Option<Tag>) -> Self {
        let mut bytes = pick(random, &ETHERNET_ADDRESSES).to_vec();
        bytes.extend(pick(random, &ETHERNET_ADDRESSES));
        if let Some(tag) = tag {
            bytes.extend(tag.ether_type.to_be_bytes());
            bytes.extend(tag.tci.to_be_bytes());
        }
        let ether_type = pick(random, &TYPES);
        bytes.extend(ether_type.to_be_bytes());
        let link = bytes.len();
        match ether_type {
            0x800 => ipv4(random, &mut bytes),
            0x86dd => ipv6(random, &mut bytes),
            0x806 | 0x8035 => arp(random, &mut bytes),
            _ => noise(random, &mut bytes, 40),
        }
        let length = u32::try_from(bytes.len()).unwrap();
        if random.random_ratio(1, 3) {
            bytes.truncate(random.random_range(link..=bytes.len()));
        }
        let tag = tag.map_or(0, |tag| TAGGED | u32::from(tag.tci));
        Self { bytes, length, link, tag }
    }

    /// The packet with another tag around it.
    pub(crate) fn within(&self, outer: Tag) -> Self {
        let tag = [outer.ether_type.to_be_bytes(), outer.tci.to_be_bytes()].concat();
        let bytes = [&self.bytes[..12], &tag, &self.bytes[12..]].concat();
        Self { bytes, length: self.length + 4, link: self.link + 4, tag: TAGGED | u32::from(outer.tci) }
    }

    /// A packet from `fe80::1` that ends behind the first four bytes of the address.
    pub(crate) fn cut_within_ipv6_addresses() -> Self {
        let mut bytes = vec![0; 12];
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, 64, 0xfe, 0x80, 0, 0]);
        Self { bytes, length: 62, link: ETHERNET, tag: 0 }
    }

    fn ether_type(&self) -> u16 {
        u16::from_be_bytes([self.bytes[self.link - 2], self.bytes[self.link - 1]])
    }

    /// Whether the bytes end within the IPv6 header.
    pub(crate) fn cuts_ipv6(&self) -> bool {
        self.ether_type() == 0x86dd && self.bytes.len() < self.link + 40
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            link: &self.bytes,
            network: &self.bytes[self.link..],
            protocol: self.ether_type(),
            length: self.length,
            vlan_tag: self.tag,
        }
    }
}

fn pick<T: Copy>(random: &mut XorShiftRng, values: &[T]) -> T {
    values[random.random_range(0..values.len())]
}

fn noise(random: &mut XorShiftRng, bytes: &mut Vec<u8>, most: usize) {
    let count = random.random_range(0..=most);
    bytes.extend((0..count).map(|_| random.random::<u8>()));
}

fn ipv4(random: &mut XorShiftRng, bytes: &mut Vec<u8>) {
    let words = if random.random_ratio(1, 4) { random.random_range(0..16) } else { 5 };
    let protocol = pick(random, &PROTOCOLS);
    let fragment: u16 = if random.random_ratio(1, 6) { random.random() } else { 0x4000 };
    bytes.extend([0x40 | words, random.random(), 0, 60, 0, 0]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([random.random_range(1..=64), protocol, 0, 0]);
    bytes.extend(pick(random, &IPV4));
    bytes.extend(pick(random, &IPV4));
    let options = 4 * usize::from(words.saturating_sub(5));
    bytes.extend((0..options).map(|_| random.random::<u8>()));
    payload(random, bytes, protocol);
}

fn ipv6(random: &mut XorShiftRng, bytes: &mut Vec<u8>) {
    let next = pick(random, &[6, 6, 17, 17, 132, 58, 58, 44, 44, 0, 60]);
    bytes.extend([0x60, random.random(), 0, 0, 0, 40, next, 64]);
    for _ in 0..2 {
        bytes.extend(pick(random, &IPV6).iter().flat_map(|part| part.to_be_bytes()));
    }
    let behind = pick(random, &PROTOCOLS);
    if matches!(next, 44 | 0 | 60) {
        bytes.extend([behind, 0, 0, random.random(), 0, 0, 0, 1]);
    }
    payload(random, bytes, if matches!(next, 44 | 0 | 60) { behind } else { next });
}

fn payload(random: &mut XorShiftRng, bytes: &mut Vec<u8>, protocol: u8) {
    match protocol {
        6 | 17 | 132 => {
            bytes.extend(pick(random, &PORTS).to_be_bytes());
            bytes.extend(pick(random, &PORTS).to_be_bytes());
        }
        _ => bytes.extend([pick(random, &[0, 3, 8, 11, 128, 135]), random.random_range(0..4)]),
    }
    noise(random, bytes, 40);
}

fn arp(random: &mut XorShiftRng, bytes: &mut Vec<u8>) {
    bytes.extend([0, 1, 8, 0, 6, 4, 0, pick(random, &[1, 2])]);
    for _ in 0..2 {
        bytes.extend(pick(random, &ETHERNET_ADDRESSES));
        bytes.extend(pick(random, &IPV4));
    }
    noise(random, bytes, 20);
}
