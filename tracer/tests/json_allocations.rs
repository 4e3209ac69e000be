//! A drop's line of JSON allocates nothing, once the first one has made room.

mod counting;

use std::io;

use counting::measured;
use droptrace_base::domain::event::{DropEvent, Location, NamedKey, Origin, PacketStart, Reason, Symbol, Timestamp};
use droptrace_base::domain::facts::Facts;
use tracer::sink::{DropSink as _, TraceJson};

#[test]
fn a_line_of_json_allocates_nothing() {
    let symbol = Symbol { name: "udp_queue_rcv_one_skb".into(), offset: 423, module: Some("udp".into()) };
    let key = NamedKey {
        reason: Reason { value: Some(6), subsystem: "core".into(), name: "SOCKET_RCVBUFF".into() }.into(),
        location: Location { address: u64::MAX, symbol: Some(symbol), trap_group: None }.into(),
        protocol: 0x86dd,
        interface: Some("enp0s31f6".into()),
        ifindex: 1,
        netns: 4_026_531_833,
        netns_name: Some("blue".into()),
        ..NamedKey::default()
    };
    // IPv6 with a UDP header and nothing else: the longest addresses.
    let mut bytes = [0xab; 48];
    bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 8, 17, 64]);
    let event = DropEvent {
        stack: &[],
        process: None,
        facts: Facts::default(),
        timestamp: Timestamp(1_767_225_600_000_000_000),
        key: &key.into(),
        seen_by: &[Origin::Ebpf],
        length: 48,
        start: PacketStart::Network,
        bytes: &bytes,
    };
    let mut sink = TraceJson::new(io::sink());
    sink.event(&event).unwrap();
    let ((), counts) = measured(|| (0..1_000).for_each(|_| sink.event(&event).unwrap()));
    assert_eq!(counts.allocations, 0);
}
