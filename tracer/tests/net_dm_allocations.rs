//! An alert of the drop monitor is read without a copy.

mod counting;

use counting::measured;
use netlink_packet_core::Emitable as _;
use tracer::backend::net_dm::{Attribute, Message};
use tracer::netlink::wire;

/// A message with the attributes that Linux 6.12 sends, behind both its headers.
fn alert(command: u8, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[16] = command;
    for attribute in attributes {
        let start = bytes.len();
        bytes.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut bytes[start..]);
    }
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

#[test]
fn alerts_are_read_without_allocating() {
    let packet = alert(
        5,
        &[
            Attribute::Origin(0),
            Attribute::Pc(0xffff_ffff_8204_5927),
            Attribute::Reason("SOCKET_RCVBUFF"),
            Attribute::Symbol("udp_queue_rcv_one_skb+0x1a7/0x3c0"),
            Attribute::InPort { ifindex: Some(1), name: None },
            Attribute::Timestamp(7),
            Attribute::OrigLen(1_500),
            Attribute::Protocol(0x800),
            Attribute::Payload(&[7; 128]),
        ],
    );
    let mut sites = 64_u32.to_ne_bytes().to_vec();
    sites.resize(4 + 64 * 12, 1);
    let summary = alert(1, &[Attribute::Sites(&sites)]);

    let (mut lengths, mut hits) = (0_u64, 0_u64);
    let ((), counts) = measured(|| {
        for _ in 0..1_000 {
            for datagram in [&packet, &summary] {
                for message in wire::messages(datagram) {
                    let (command, attributes) = message.unwrap().generic().unwrap();
                    match Message::parse(command, attributes).unwrap().0 {
                        Message::Packet(alert) => lengths += u64::from(alert.length),
                        Message::Summary(alert) => hits += alert.sites().map(|(_, hits)| u64::from(hits)).sum::<u64>(),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    });
    assert_eq!(counts.allocations, 0);
    assert_eq!((lengths, hits), (1_500_000, 1_000 * 64 * 0x0101_0101));
}
