use netlink_packet_core::Emitable as _;

use super::*;
use crate::backend::net_dm::attribute::Attribute;
use crate::netlink::Datagram;

fn counting() -> Counting {
    let (totals, ledger) = (Totals::new(8), NetDmLedger::default());
    Counting { totals, ledger, ifindex: 0, filter: None, snaplen: 0, summaries: 0 }
}

/// A message behind both its headers.
fn message(command: u8, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let length = 20 + attributes.iter().map(netlink_packet_core::Emitable::buffer_len).sum::<usize>();
    let mut bytes = u32::try_from(length).unwrap().to_ne_bytes().to_vec();
    bytes.extend([0x1b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, command, 2, 0, 0]);
    for attribute in attributes {
        let start = bytes.len();
        bytes.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut bytes[start..]);
    }
    bytes
}

fn packet(pc: u64, ifindex: u32) -> Vec<u8> {
    let in_port = Attribute::InPort { ifindex: Some(ifindex), name: None };
    message(5, &[Attribute::Pc(pc), in_port, Attribute::Timestamp(pc), Attribute::OrigLen(60)])
}

/// Takes a datagram. Returns the addresses of the packets that it reports.
fn take(counting: &mut Counting, bytes: &[u8], is_truncated: bool) -> Vec<u64> {
    let mut batch = Batch::default();
    counting.datagram(&Datagram { bytes, is_truncated }, &mut batch);
    batch.iter().map(|(report, _)| report.key.pc).collect()
}

#[test]
fn a_report_has_the_name_of_the_interface() {
    for (name, kept) in [(Some("eth0"), &b"eth0"[..]), (Some("fifteen-letters"), b"fifteen-letters"), (None, b"")] {
        let in_port = Attribute::InPort { ifindex: Some(3), name };
        let mut batch = Batch::default();
        let bytes = message(5, &[Attribute::Pc(7), in_port, Attribute::OrigLen(60)]);
        counting().datagram(&Datagram { bytes: &bytes, is_truncated: false }, &mut batch);
        let (report, _) = batch.iter().next().unwrap();
        assert_eq!((&report.interface[..kept.len()], report.interface[15]), (kept, 0));
    }
    assert_eq!(padded("seventeen-letters"), [0; IFNAMSIZ]);
}

#[test]
fn each_datagram_is_in_the_account() {
    let mut counting = counting();
    assert_eq!(take(&mut counting, &packet(7, 1), false), [7]);
    assert_eq!(take(&mut counting, &[packet(8, 1), packet(9, 1)].concat(), false), [8, 9]);
    assert_eq!(take(&mut counting, &packet(7, 1), true), [0; 0], "what was cut is not shown");
    assert_eq!(take(&mut counting, &packet(7, 1)[..40], false), [0; 0]);
    assert_eq!(take(&mut counting, &message(5, &[]), false), [0; 0]);
    assert_eq!(take(&mut counting, &message(77, &[]), false), [0; 0], "a command to come is no drop");
    let ledger = counting.ledger;
    assert_eq!((ledger.received, ledger.delivered, ledger.undecodable), (7, 4, 3));
    assert_eq!((ledger.drops, ledger.accounted), (3, 3));
    assert_eq!(ledger.unaccounted(), 0);
}

#[test]
fn other_interfaces_are_filtered() {
    let mut counting = Counting { ifindex: 2, ..counting() };
    assert_eq!(take(&mut counting, &[packet(7, 1), packet(8, 2)].concat(), false), [8]);
    assert_eq!((counting.ledger.drops, counting.ledger.accounted, counting.ledger.filtered), (2, 1, 1));
    assert_eq!(counting.ledger.unaccounted(), 0);
}

/// A filter of alerts.
fn filter(text: &str) -> AlertFilter {
    AlertFilter::new(crate::filter::Filter::parse(text).unwrap().into()).unwrap()
}

#[test]
fn other_packets_are_filtered() {
    let frame = |port: u8| {
        let mut frame = [0; 60];
        frame[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
        (frame[23], frame[37]) = (17, port);
        let in_port = Attribute::InPort { ifindex: Some(4), name: None };
        let (reason, protocol) = (Attribute::Reason("NO_SOCKET"), Attribute::Protocol(0x800));
        message(
            5,
            &[
                Attribute::Pc(port.into()),
                in_port,
                reason,
                protocol,
                Attribute::OrigLen(60),
                Attribute::Payload(&frame),
            ],
        )
    };
    for (text, expected) in [
        ("udp dst port 53 and len = 60", &[53][..]),
        ("not port 53", &[7]),
        ("reason NO_* and iface 4 and unusual", &[7, 53]),
        ("reason TCP_* or iface 3 or ip6", &[]),
    ] {
        let mut counting = Counting { filter: Some(filter(text)), ..counting() };
        assert_eq!(take(&mut counting, &[frame(7), frame(53)].concat(), false), expected, "{text}");
        let (ledger, count) = (counting.ledger, expected.len() as u64);
        assert_eq!((ledger.drops, ledger.accounted, ledger.filtered), (2, count, 2 - count), "{text}");
        assert_eq!(ledger.unaccounted(), 0);
    }
}

#[test]
fn reports_have_as_many_bytes_as_asked_for_beside_a_filter() {
    let mut counting = Counting { filter: Some(filter("len > 0")), snaplen: 3, ..counting() };
    let mut batch = Batch::default();
    let bytes = message(5, &[Attribute::Pc(7), Attribute::OrigLen(60), Attribute::Payload(&[1, 2, 3, 4, 5])]);
    counting.datagram(&Datagram { bytes: &bytes, is_truncated: false }, &mut batch);
    assert_eq!(batch.iter().next().unwrap().1, [1, 2, 3]);
}

#[test]
fn summary_matches_no_filter() {
    let sites = [&1_u32.to_ne_bytes()[..], &7_u64.to_ne_bytes(), &9_u32.to_ne_bytes()].concat();
    let mut counting = Counting { filter: Some(filter("not tcp")), ..counting() };
    take(&mut counting, &message(1, &[Attribute::Sites(&sites)]), false);
    assert_eq!((counting.ledger.drops, counting.ledger.filtered, counting.ledger.unaccounted()), (9, 9, 0));
}

#[test]
fn what_finds_no_room_is_overflow() {
    let mut counting = counting();
    for pc in 1..=20 {
        take(&mut counting, &packet(pc, 1), false);
    }
    assert_eq!((counting.ledger.accounted, counting.ledger.overflow), (8, 12));
    assert_eq!(counting.ledger.unaccounted(), 0);
}

#[test]
fn a_summary_counts_hits_and_leaves_hints_apart() {
    let site = |pc: u64, hits: u32| [&pc.to_ne_bytes()[..], &hits.to_ne_bytes()].concat();
    let sites = [&2_u32.to_ne_bytes()[..], &site(7, 1_000), &site(0, 3)].concat();
    let mut counting = counting();
    take(&mut counting, &message(1, &[Attribute::Sites(&sites)]), false);
    let ledger = counting.ledger;
    assert_eq!((ledger.drops, ledger.accounted, ledger.device_hints, ledger.received), (1_000, 1_000, 3, 1));
    assert_eq!(counting.summaries, 1);
    let total = counting.totals.counts().values().next().unwrap();
    assert_eq!((total.packets, total.bytes), (1_000, None));
}

#[test]
fn slots_hold_the_longest_alert() {
    assert_eq!(slot(128), 1152);
    assert_eq!(slot(0), slot(u32::MAX));
    assert!(slot(0) >= 65_527 + 1024 && slot(0) <= 68 << 10);
}
