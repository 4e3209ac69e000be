//! Connections and sequence numbers of segments, from the records of the BPF program.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tracer_common::{DroppedSegment, Retransmission, SEGMENT_HEADERS};
use zerocopy::IntoBytes;

use super::Range;

/// `skb->protocol` (`include/uapi/linux/if_ether.h`).
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `AF_INET6`.
const AF_INET6: u16 = 10;
/// `IP_MF` and `IP_OFFSET` (`include/net/ip.h`).
const FRAGMENT: u16 = 0x2000 | 0x1fff;
/// Bits of the byte with TCP's flags.
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Source and destination of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tuple {
    /// The sender.
    pub(crate) source: SocketAddr,
    /// The receiver.
    pub(crate) destination: SocketAddr,
}

/// The connection and the sequence numbers of a dropped segment; absent if they cannot be read, and for a segment without
/// sequence numbers of its own, such as a bare acknowledgement, and
/// for a SYN-ACK.
pub(crate) fn dropped(record: &DroppedSegment) -> Option<(Tuple, Range)> {
    let available = usize::try_from(record.available).unwrap_or(usize::MAX).min(SEGMENT_HEADERS);
    let bytes = record.headers.as_bytes().get(..available)?;
    match record.key.protocol {
        ETH_P_IP => ipv4(bytes, record.length),
        ETH_P_IPV6 => ipv6(bytes, record.length),
        _ => None,
    }
}

/// The connection and the sequence numbers of a retransmission; absent if the record has none.
pub(crate) fn retransmitted(record: &Retransmission) -> Option<(Tuple, Range)> {
    let [source, destination] = if record.family == AF_INET6 {
        [record.source_v6, record.destination_v6].map(|words| {
            let bytes: [u8; 16] = zerocopy::transmute!(words);
            // A socket of IPv6 can have a connection over IPv4.
            Ipv6Addr::from(bytes).to_canonical()
        })
    } else {
        [record.source_v4, record.destination_v4].map(|word| IpAddr::from(word.to_ne_bytes()))
    };
    let tuple = Tuple {
        source: SocketAddr::new(source, record.source_port),
        destination: SocketAddr::new(destination, u16::from_be(record.destination_port)),
    };
    Some((tuple, Range::new(record.start, record.end.wrapping_sub(record.start))?))
}

fn ipv4(bytes: &[u8], length: u32) -> Option<(Tuple, Range)> {
    let header = u32::from(bytes.first()? & 0xf) * 4;
    let is_tcp = bytes.first()? >> 4 == 4 && header >= 20 && *bytes.get(9)? == TCP;
    // No part of a segment that was fragmented: more fragments, or an offset.
    let is_whole = be16(bytes, 6)? & FRAGMENT == 0;
    // A packet of more than 64 KiB has no length of its own.
    let total = Some(u32::from(be16(bytes, 2)?)).filter(|total| *total != 0).unwrap_or(length);
    let addresses = [12, 16].map(|at| chunk::<4>(bytes, at).map(IpAddr::from));
    (is_tcp && is_whole).then(|| tcp(bytes, header, total, addresses))?
}

/// With extension headers, the segment is unknown.
fn ipv6(bytes: &[u8], length: u32) -> Option<(Tuple, Range)> {
    const HEADER: u32 = 40;
    let is_tcp = bytes.first()? >> 4 == 6 && *bytes.get(6)? == TCP;
    let payload = Some(u32::from(be16(bytes, 4)?)).filter(|payload| *payload != 0);
    let total = payload.map_or(length, |payload| payload + HEADER);
    let addresses = [8, 24].map(|at| chunk::<16>(bytes, at).map(IpAddr::from));
    is_tcp.then(|| tcp(bytes, HEADER, total, addresses))?
}

/// `header` is the length of the network header, `total` that of the packet with it.
fn tcp(bytes: &[u8], header: u32, total: u32, addresses: [Option<IpAddr>; 2]) -> Option<(Tuple, Range)> {
    let [source, destination] = addresses;
    let at = usize::try_from(header).ok()?;
    let tuple = Tuple {
        source: SocketAddr::new(source?, be16(bytes, at)?),
        destination: SocketAddr::new(destination?, be16(bytes, at + 2)?),
    };
    let start = u32::from_be_bytes(chunk(bytes, at + 4)?);
    let own = u32::from(bytes.get(at + 12)? >> 4) * 4;
    let flags = *bytes.get(at + 13)?;
    // What a listener sends again is not reported (`tcp_retransmit_synack`).
    if flags & (SYN | ACK) == SYN | ACK {
        return None;
    }
    let payload = total.checked_sub(header + own).filter(|_| own >= 20)?;
    let length = payload + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
    Some((tuple, Range::new(start, length)?))
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use tracer_common::{DropKey, SEGMENT_DROPPED, SEGMENT_RETRANSMITTED};
    use zerocopy::FromZeros;

    use super::*;

    fn record(protocol: u16, packet: &[u8]) -> DroppedSegment {
        let mut record = DroppedSegment {
            kind: SEGMENT_DROPPED,
            length: u32::try_from(packet.len()).unwrap(),
            timestamp_ns: 0,
            key: DropKey { protocol, ..DropKey::default() },
            headers: [0; SEGMENT_HEADERS / 8],
            available: packet.len().min(SEGMENT_HEADERS) as u64,
        };
        let copied = packet.len().min(SEGMENT_HEADERS);
        record.headers.as_mut_bytes()[..copied].copy_from_slice(&packet[..copied]);
        record
    }

    fn packet(flags: u8, payload: usize) -> Vec<u8> {
        let mut builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(5000, 80, 77, 64_000);
        if flags & SYN != 0 {
            builder = builder.syn();
        }
        if flags & FIN != 0 {
            builder = builder.fin();
        }
        let mut bytes = Vec::new();
        builder.ack(1).write(&mut bytes, &vec![7; payload]).unwrap();
        bytes
    }

    fn between(source: &str, destination: &str) -> Tuple {
        Tuple { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    #[test]
    fn payload_and_flags_have_sequence_numbers() {
        for (flags, payload, length) in [(0, 1000, 1000), (FIN, 9, 10)] {
            let found = dropped(&record(ETH_P_IP, &packet(flags, payload))).unwrap();
            let tuple = between("10.0.0.1:5000", "10.0.0.2:80");
            assert_eq!(found, (tuple, Range { start: 77, length }));
        }
        assert_eq!(dropped(&record(ETH_P_IP, &packet(0, 0))), None, "a bare acknowledgement");
        let mut bytes = packet(SYN, 0);
        assert_eq!(dropped(&record(ETH_P_IP, &bytes)), None, "the answer of a listener");
        bytes[20 + 13] = SYN;
        assert_eq!(dropped(&record(ETH_P_IP, &bytes)).unwrap().1, Range { start: 77, length: 1 });
    }

    #[test]
    fn segments_of_ipv6_are_read() {
        let (source, destination) =
            ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), "2001:db8::2".parse::<Ipv6Addr>().unwrap());
        let builder = PacketBuilder::ipv6(source.octets(), destination.octets(), 64).tcp(5000, 80, u32::MAX, 64_000);
        let mut bytes = Vec::new();
        builder.ack(1).write(&mut bytes, &[7; 300]).unwrap();
        let found = dropped(&record(ETH_P_IPV6, &bytes)).unwrap();
        let tuple = between("[2001:db8::1]:5000", "[2001:db8::2]:80");
        assert_eq!(found, (tuple, Range { start: u32::MAX, length: 300 }));
    }

    #[test]
    fn padding_has_no_sequence_numbers_and_a_long_packet_has_all() {
        let mut padded = packet(0, 2);
        padded.extend([0; 30]);
        assert_eq!(dropped(&record(ETH_P_IP, &padded)).unwrap().1.length, 2);
        let mut long = packet(0, 100);
        long[2..4].fill(0);
        let long = DroppedSegment { length: 70_040, ..record(ETH_P_IP, &long) };
        assert_eq!(dropped(&long).unwrap().1.length, 70_000);
    }

    #[test]
    fn fragments_and_cut_headers_are_unknown() {
        let whole = packet(0, 100);
        for field in [[0x20, 0], [0, 5]] {
            let mut fragment = whole.clone();
            fragment[6..8].copy_from_slice(&field);
            assert_eq!(dropped(&record(ETH_P_IP, &fragment)), None);
        }
        let cut = DroppedSegment { available: 33, ..record(ETH_P_IP, &whole) };
        assert_eq!(dropped(&cut), None);
        assert!(dropped(&DroppedSegment { available: 34, ..cut }).is_some());
    }

    #[test]
    fn a_socket_of_ipv6_may_have_a_connection_over_ipv4() {
        let mut record = Retransmission::new_zeroed();
        (record.kind, record.family) = (SEGMENT_RETRANSMITTED, AF_INET6);
        (record.source_port, record.destination_port) = (5000, 80_u16.to_be());
        record.source_v6 = zerocopy::transmute!("::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        record.destination_v6 = zerocopy::transmute!("::ffff:10.0.0.2".parse::<Ipv6Addr>().unwrap().octets());
        (record.start, record.end) = (u32::MAX, 9);
        let tuple = between("10.0.0.1:5000", "10.0.0.2:80");
        assert_eq!(retransmitted(&record), Some((tuple, Range { start: u32::MAX, length: 10 })));
        record.family = 2;
        record.source_v4 = u32::from_ne_bytes([10, 0, 0, 1]);
        record.destination_v4 = u32::from_ne_bytes([10, 0, 0, 2]);
        assert_eq!(retransmitted(&record).unwrap().0, tuple);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(protocol in prop::sample::select(vec![ETH_P_IP, ETH_P_IPV6]), bytes in prop::collection::vec(any::<u8>(), 0..100), available in any::<u64>()) {
            let record = DroppedSegment { available, ..record(protocol, &bytes) };
            if let Some((_, range)) = dropped(&record) {
                prop_assert!(range.length > 0);
            }
        }
    }
}
