//! Frames from the sender to the host, right in every byte unless a case breaks one.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader};

use crate::wire::{HOST, HOST_MAC, HOST6, SENDER, SENDER_MAC, SENDER6};

/// Where the network header starts.
pub const NETWORK: usize = 14;
/// Where the transport header starts after an IPv4 header without options.
pub const TRANSPORT4: usize = NETWORK + 20;
/// A port of the sender.
pub const SENDER_PORT: u16 = 40000;

/// Ethernet and IPv4.
pub fn ip4(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8) -> PacketBuilderStep<IpHeaders> {
    PacketBuilder::ethernet2(SENDER_MAC, HOST_MAC).ipv4(source.octets(), destination.octets(), ttl)
}

/// Ethernet and IPv6.
pub fn ip6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> PacketBuilderStep<IpHeaders> {
    PacketBuilder::ethernet2(SENDER_MAC, HOST_MAC).ipv6(source.octets(), destination.octets(), hop_limit)
}

/// UDP in whatever `ip` says.
pub fn udp(ip: PacketBuilderStep<IpHeaders>, port: u16, payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    ip.udp(SENDER_PORT, port).write(&mut frame, payload)?;
    Ok(frame)
}

/// UDP over IPv4 to a port of the host.
pub fn udp4(port: u16) -> Result<Vec<u8>> {
    udp(ip4(SENDER, HOST, 64), port, b"droptrace")
}

/// The frame with a VLAN tag behind its addresses.
pub fn tagged(mut frame: Vec<u8>, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    frame.splice(NETWORK - 2..NETWORK - 2, [0x81, 0, high, low]);
    frame
}

/// UDP over IPv6 to a port of the host.
pub fn udp6(port: u16) -> Result<Vec<u8>> {
    udp(ip6(SENDER6, HOST6, 64), port, b"droptrace")
}

/// TCP over IPv4 to the host.
pub fn tcp4(header: TcpHeader, payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    ip4(SENDER, HOST, 64).tcp_header(header).write(&mut frame, payload)?;
    Ok(frame)
}

/// ICMP over IPv4 to the host.
pub fn icmp4(type_: u8, code: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    ip4(SENDER, HOST, 64).icmpv4_raw(type_, code, [0; 4]).write(&mut frame, payload)?;
    Ok(frame)
}

/// ICMP over IPv6 to the host.
pub fn icmp6(hop_limit: u8, type_: u8, code: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    ip6(SENDER6, HOST6, hop_limit).icmpv6_raw(type_, code, [0; 4]).write(&mut frame, payload)?;
    Ok(frame)
}

/// A frame of any `EtherType`.
pub fn ethernet(protocol: u16, payload: &[u8]) -> Vec<u8> {
    [&HOST_MAC, &SENDER_MAC, &protocol.to_be_bytes()[..], payload].concat()
}

/// Overwrites bytes.
#[must_use]
pub fn patched(mut frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

/// Overwrites bytes and makes the IPv4 header's checksum right again.
#[must_use]
pub fn resealed(frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = patched(patched(frame, offset, bytes), NETWORK + 10, &[0, 0]);
    let words =
        frame[NETWORK..TRANSPORT4].chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX);
    frame[NETWORK + 10..NETWORK + 12].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resealing_gives_the_checksum_that_the_builder_gives() {
        let lower_ttl = udp(ip4(SENDER, HOST, 9), 9, b"droptrace").unwrap();
        assert_eq!(resealed(udp4(9).unwrap(), NETWORK + 8, &[9]), lower_ttl);
    }
}
