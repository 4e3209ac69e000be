//! Lines of single drops.

use std::sync::Arc;

use etherparse::PacketBuilder;

use super::*;
use crate::domain::attribution::AttributionLedger;
use crate::domain::event::{DropEvent, PacketStart, Timestamp};
use crate::domain::facts::Facts;
use crate::domain::owner::Process;
use crate::sink::{DropSink, RunEnd};

struct Case {
    key: NamedKey,
    start: PacketStart,
    bytes: Vec<u8>,
    length: u32,
}

impl Case {
    fn new(key: NamedKey, bytes: Vec<u8>) -> Self {
        Self { key, start: PacketStart::Mac, length: u32::try_from(bytes.len()).unwrap(), bytes }
    }
}

fn cases() -> Vec<Case> {
    let mut icmp = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 168, 100, 200], [192, 168, 100, 201], 64);
    builder.icmpv4_echo_request(7, 1).write(&mut icmp, &[]).unwrap();
    let ipv6 = NamedKey {
        reason: reason(12, "core", "NETFILTER_DROP"),
        location: location("nf_hook_slow", 0xc5, None),
        protocol: 0x86dd,
        interface: Some("enp0s31f6".into()),
        ifindex: 2,
        ..key()
    };
    let foreign = NamedKey { netns: 4_026_532_201, netns_name: Some("blue".into()), ..key() };
    let nowhere = NamedKey { protocol: 0, interface: None, ifindex: 0, netns: 0, ..key() };
    let lldp = NamedKey { protocol: 0x88cc, ..key() };
    let long = NamedKey { location: location(&"long_".repeat(14), 5, Some("nf_tables")), ..key() };
    let cut = udp_packet()[..26].to_vec();
    let extended = [&[0x60, 0, 0, 0, 0, 80, 60, 64][..], &[0xfd; 16], &[0xfe; 16], &[17, 3, 0]].concat();
    let by_bare_ip = NamedKey { protocol: 0x86dd, ..key() };
    vec![
        Case::new(key(), udp_packet()),
        Case::new(ipv6, tcp_packet()),
        Case::new(foreign, icmp),
        Case { length: 90, ..Case::new(key(), cut) },
        Case { start: PacketStart::Nothing, length: 77, ..Case::new(nowhere, vec![]) },
        Case::new(lldp, [&[4; 6][..], &[2; 6], &[0x88, 0xcc, 1]].concat()),
        Case::new(long, udp_packet()),
        Case::new(key(), udp_packet()),
        Case { length: 120, ..Case::new(by_bare_ip, extended) },
        Case { length: 90, ..Case::new(key(), udp_packet()[..38].to_vec()) },
    ]
}

#[test]
fn lines() {
    let mut out = Vec::new();
    let mut sink = TraceText::new(&mut out, TraceTextOptions { home_netns: HOME, ..TraceTextOptions::default() });
    sink.start(&host(), NEW_YEAR).unwrap();
    for (number, case) in cases().iter().enumerate() {
        let event = DropEvent {
            stack: &[],
            process: None,
            facts: Facts::default(),
            timestamp: Timestamp(NEW_YEAR.0 + 3_723_000_000_000 + number as u64),
            key: &Arc::new(case.key.clone()),
            seen_by: &[Origin::Ebpf],
            length: case.length,
            start: case.start,
            bytes: &case.bytes,
        };
        sink.event(&event).unwrap();
    }
    let attribution = AttributionLedger { attributed: 997, no_socket: 10, resident: 8, ..AttributionLedger::default() };
    let end = RunEnd { sources: &trace_sources(), attribution: Some(&attribution), ..RunEnd::default() };
    sink.finish(&end).unwrap();
    let text = String::from_utf8(out).unwrap();
    println!("{text}");
    insta::assert_snapshot!("lines", text);
}

#[test]
fn lines_say_whose_packet_it_was() {
    let mut out = Vec::new();
    let mut sink = TraceText::new(&mut out, TraceTextOptions { home_netns: HOME, ..TraceTextOptions::default() });
    let process = Arc::new(Process { pid: 1234, comm: Some("nginx".into()) });
    let hostile = Arc::new(Process { pid: 9, comm: Some("\u{1b}[2J\n".into()) });
    let root = NamedKey { socket: Some(Role::Owner), ..key() };
    let cases = [
        (owned_key(), Some(&process)),
        (owned_key(), None),
        (root.clone(), Some(&hostile)),
        (root, None),
        (key(), None),
        (NamedKey { socket: None, residence: Some(Residence::Here), ..owned_key() }, None),
        (NamedKey { socket: None, residence: Some(Residence::Peer), ..owned_key() }, None),
    ];
    for (key, process) in cases {
        let (key, packet) = (Arc::new(key), udp_packet());
        sink.event(&DropEvent {
            stack: &[],
            process,
            facts: Facts::default(),
            timestamp: NEW_YEAR,
            key: &key,
            seen_by: &[Origin::Ebpf],
            length: 90,
            start: PacketStart::Mac,
            bytes: &packet,
        })
        .unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    let ends: Vec<_> = text.lines().map(|line| line.split_once("> ").unwrap().1).collect();
    let packet = "10.0.0.2:4444 len 90";
    let expected = [
        format!("{packet}, receiver nginx[1234] in shop/web-7d9f/nginx"),
        format!("{packet}, receiver unknown in shop/web-7d9f/nginx"),
        format!("{packet}, owner \u{fffd}[2J\u{fffd}[9]"),
        format!("{packet}, owner unknown"),
        packet.to_owned(),
        format!("{packet}, resident shop/web-7d9f/nginx"),
        format!("{packet}, peer shop/web-7d9f/nginx"),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn lines_say_which_sources_saw_the_drop() {
    let mut out = Vec::new();
    let mut sink = TraceText::new(&mut out, TraceTextOptions { home_netns: HOME, seen_by: true, ..Default::default() });
    sink.start(&host(), NEW_YEAR).unwrap();
    for seen_by in [&Origin::ALL[..], &[Origin::Ebpf], &[Origin::NetDm]] {
        let case = Case::new(key(), udp_packet());
        let key = Arc::new(case.key);
        let (length, start, bytes) = (case.length, case.start, &case.bytes[..]);
        sink.event(&DropEvent {
            stack: &[],
            process: None,
            facts: Facts::default(),
            timestamp: NEW_YEAR,
            key: &key,
            seen_by,
            length,
            start,
            bytes,
        })
        .unwrap();
    }
    sink.finish(&RunEnd { union: Some(&union()), ..RunEnd::default() }).unwrap();
    insta::assert_snapshot!("both_sources", String::from_utf8(out).unwrap());
}
