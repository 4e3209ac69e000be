//! Addresses as text.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The six bytes of an Ethernet address, written with `:`, `-` or `.` between bytes, or `.` between pairs of bytes.
pub(super) fn ethernet(word: &str) -> Option<[u8; 6]> {
    let sign = word.chars().find(|c| ":-.".contains(*c))?;
    let parts: Vec<&str> = word.split(sign).collect();
    let mut address = [0; 6];
    match parts.len() {
        6 => {
            for (byte, part) in address.iter_mut().zip(parts) {
                *byte = hexadecimal(part, 1..=2)?.try_into().ok()?;
            }
        }
        3 if sign == '.' => {
            for (pair, part) in address.chunks_exact_mut(2).zip(parts) {
                pair.copy_from_slice(&hexadecimal(part, 4..=4)?.to_be_bytes());
            }
        }
        _ => return None,
    }
    Some(address)
}

fn hexadecimal(part: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let is_one = digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| u16::from_str_radix(part, 16).ok()).flatten()
}

/// An IPv4 address, or its first parts: the address with zeros behind the parts, and the number of bits of the parts.
pub(super) fn ipv4(word: &str) -> Option<(u32, u32)> {
    let parts = word.split('.').count();
    if !(2..=4).contains(&parts) {
        return None;
    }
    let full = format!("{word}{}", ".0".repeat(4 - parts));
    let address: Ipv4Addr = full.parse().ok()?;
    Some((address.to_bits(), 8 * u32::try_from(parts).ok()?))
}

pub(super) fn ipv6(word: &str) -> Option<u128> {
    word.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits)
}

pub(super) fn is_ethernet(word: &str) -> bool {
    ethernet(word).is_some()
}

pub(super) fn is_ip(word: &str) -> bool {
    ipv4(word).is_some() || ipv6(word).is_some()
}
