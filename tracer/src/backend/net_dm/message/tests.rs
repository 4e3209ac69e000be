use netlink_packet_core::Emitable as _;
use netlink_packet_generic::GenlFamily as _;
use proptest::prelude::*;

use super::*;
use crate::backend::net_dm::request::{Drops, Request};

/// A UDP packet that a full socket dropped, as Linux 6.12 reports it; the payload is cut to 20 bytes.
#[rustfmt::skip]
const PACKET: [u8; 152] = [
    0x06, 0x00, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x00, // ORIGIN: software
    0x0c, 0x00, 0x02, 0x00, // PC
    0x27, 0x59, 0x04, 0x82, 0xff, 0xff, 0xff, 0xff,
    0x23, 0x00, 0x03, 0x00, // SYMBOL, 31 bytes
    b'u', b'd', b'p', b'_', b'q', b'u', b'e', b'u', b'e', b'_', b'r', b'c', b'v', b'_', b'o', b'n',
    b'e', b'_', b's', b'k', b'b', b'+', b'0', b'x', b'1', b'a', b'7', b'/', b'0', b'x', 0x00, 0x00,
    0x13, 0x00, 0x17, 0x00, // REASON, 15 bytes
    b'S', b'O', b'C', b'K', b'E', b'T', b'_', b'R', b'C', b'V', b'B', b'U', b'F', b'F', 0x00, 0x00,
    0x0c, 0x00, 0x04, 0x80, // IN_PORT, nested
    0x08, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, //   type 0, IFINDEX: 1
    0x04, 0x00, 0x08, 0x00, // PAD
    0x0c, 0x00, 0x05, 0x00, // TIMESTAMP
    0x07, 0x00, 0xc8, 0x31, 0x00, 0x87, 0x86, 0x18,
    0x08, 0x00, 0x0a, 0x00, 0x6a, 0x00, 0x00, 0x00, // ORIG_LEN: 106
    0x06, 0x00, 0x06, 0x00, 0x00, 0x08, 0x00, 0x00, // PROTO: IPv4, in the host's order
    0x18, 0x00, 0x07, 0x00, // PAYLOAD
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00, 0x45, 0x00, 0x00, 0x5c, 0xab, 0xcd,
    0x08, 0x00, 0xe7, 0x03, 0x01, 0x02, 0x03, 0x04, // 999, of a kernel to come
];

/// A summary of two drop sites and of one trap.
#[rustfmt::skip]
const SUMMARY: [u8; 68] = [
    0x20, 0x00, 0x00, 0x00, // UNSPEC, 28 bytes
    0x02, 0x00, 0x00, 0x00, // two drop sites
    0x27, 0x59, 0x04, 0x82, 0xff, 0xff, 0xff, 0xff, 0x10, 0x27, 0x00, 0x00, // 10,000 hits
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, // three hints
    0x24, 0x00, 0x11, 0x80, // HW_ENTRIES, nested
    0x20, 0x00, 0x12, 0x80, //   HW_ENTRY, nested
    0x14, 0x00, 0x10, 0x00, //     HW_TRAP_NAME, 16 bytes
    b'b', b'l', b'a', b'c', b'k', b'h', b'o', b'l', b'e', b'_', b'r', b'o', b'u', b't', b'e', 0x00,
    0x08, 0x00, 0x13, 0x00, 0x05, 0x00, 0x00, 0x00, //     HW_TRAP_COUNT: 5
];

fn parse(command: u8, bytes: &[u8]) -> Result<(Message<'_>, Skipped), Malformed> {
    Message::parse(command, bytes)
}

#[test]
fn a_packet() {
    let (message, skipped) = parse(command::PACKET_ALERT, &PACKET).unwrap();
    let Message::Packet(alert) = message else { panic!("{message:?}") };
    let expected = PacketAlert {
        pc: 0xffff_ffff_8204_5927,
        reason: Some("SOCKET_RCVBUFF"),
        ifindex: 1,
        timestamp_ns: 0x1886_8700_31c8_0007,
        protocol: Some(0x0800),
        payload: &PACKET[124..144],
        length: 106,
        ..PacketAlert::default()
    };
    assert_eq!((alert, skipped), (expected, 1));
}

#[test]
fn a_summary() {
    let (message, _) = parse(command::ALERT, &SUMMARY).unwrap();
    let Message::Summary(alert) = message else { panic!("{message:?}") };
    assert_eq!(alert.sites().collect::<Vec<_>>(), [(0xffff_ffff_8204_5927, 10_000), (0, 3)]);
    assert_eq!(alert.traps().collect::<Vec<_>>(), [("blackhole_route", 5)]);
    assert!(!alert.is_at_limit());
}

#[test]
fn a_summary_that_can_hold_no_more_says_so() {
    let of = |sites: u32| {
        let mut bytes = sites.to_ne_bytes().to_vec();
        bytes.resize(4 + 12 * sites as usize, 1);
        let mut message = Vec::new();
        emit(&[Attribute::Sites(&bytes)], &mut message);
        let (parsed, _) = parse(command::ALERT, &message).unwrap();
        let Message::Summary(alert) = parsed else { panic!("{parsed:?}") };
        (alert.sites().count(), alert.is_at_limit())
    };
    assert_eq!((of(0), of(63), of(64)), ((0, false), (63, false), (64, true)));
}

#[test]
fn a_hardware_drop() {
    let mut bytes = Vec::new();
    let attributes = [
        Attribute::Origin(1),
        Attribute::HwTrapGroupName("l3_drops"),
        Attribute::HwTrapName("blackhole_route"),
        Attribute::FlowActionCookie(b"cookie"),
        Attribute::InPort { ifindex: Some(7), name: Some("eni1np1") },
        Attribute::Timestamp(9),
        Attribute::OrigLen(60),
    ];
    emit(&attributes, &mut bytes);
    let expected = PacketAlert {
        trap: Some("blackhole_route"),
        trap_group: Some("l3_drops"),
        cookie: b"cookie",
        ifindex: 7,
        interface: Some("eni1np1"),
        timestamp_ns: 9,
        length: 60,
        is_hardware: true,
        ..PacketAlert::default()
    };
    assert_eq!(parse(command::PACKET_ALERT, &bytes).unwrap(), (Message::Packet(expected), 0));
}

/// `NET_DM_CMD_CONFIG_NEW`
#[rustfmt::skip]
const CONFIG: [u8; 24] = [
    0x05, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, // ALERT_MODE: packets
    0x08, 0x00, 0x09, 0x00, 0x80, 0x00, 0x00, 0x00, // TRUNC_LEN: 128
    0x08, 0x00, 0x0b, 0x00, 0xe8, 0x03, 0x00, 0x00, // QUEUE_LEN: 1000
];

/// `NET_DM_CMD_STATS_NEW`
#[rustfmt::skip]
const STATS: [u8; 40] = [
    0x14, 0x00, 0x0c, 0x80, // STATS, nested
    0x04, 0x00, 0x02, 0x00, //   PAD
    0x0c, 0x00, 0x00, 0x00, //   DROPPED
    0x39, 0x30, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x14, 0x00, 0x0d, 0x80, // HW_STATS, nested
    0x04, 0x00, 0x02, 0x00, //   PAD
    0x0c, 0x00, 0x00, 0x00, //   DROPPED
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

#[test]
fn settings_and_statistics() {
    let config = Config { mode: AlertMode::Packet, trunc_len: 128, queue_len: 1000 };
    assert_eq!(parse(command::CONFIG_NEW, &CONFIG).unwrap(), (Message::Config(config), 0));
    let stats = Stats { software: 12_345, hardware: 7 };
    assert_eq!(parse(command::STATS_NEW, &STATS).unwrap(), (Message::Stats(stats), 0));
    let unknown_mode = [&[0x05, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00][..], &CONFIG[8..]].concat();
    assert!(parse(command::CONFIG_NEW, &unknown_mode).is_err());
    assert_eq!(parse(77, &CONFIG).unwrap().0, Message::Unknown(77));
}

/// The bytes of each request behind the generic netlink header.
#[test]
fn requests() {
    let bytes = |request: Request| {
        let mut bytes = vec![0xee; request.buffer_len()];
        request.emit(&mut bytes);
        (request.command(), bytes)
    };
    let config = Config { mode: AlertMode::Packet, trunc_len: 128, queue_len: 1000 };
    assert_eq!(bytes(Request::Config(config)), (2, CONFIG.to_vec()));
    for (request, command) in [(Request::Probe, 2), (Request::ConfigGet, 6), (Request::StatsGet, 8)] {
        assert_eq!(bytes(request), (command, vec![]));
    }
    let both = Drops { software: true, hardware: true };
    let flags = vec![0x04, 0x00, 0x14, 0x00, 0x04, 0x00, 0x15, 0x00];
    assert_eq!(bytes(Request::Start(both)), (3, flags.clone()));
    assert_eq!(bytes(Request::Stop(both)), (4, flags));
    assert_eq!(bytes(Request::Start(Drops::default())), (3, vec![]), "the kernel takes none for software");
}

#[test]
fn what_is_cut_is_refused_or_lacks_whole_attributes() {
    for (command, whole) in [
        (command::PACKET_ALERT, &PACKET[..]),
        (command::ALERT, &SUMMARY),
        (command::CONFIG_NEW, &CONFIG),
        (command::STATS_NEW, &STATS),
    ] {
        for length in 0..whole.len() {
            let bytes = &whole[..length];
            // An attribute that is cut, except for its padding, is an error; a missing attribute shows only in the
            // parsed facts.
            let ends_well = wire::attributes(bytes).all(|attribute| attribute.is_ok());
            assert!(ends_well || parse(command, bytes).is_err(), "command {command}, {length} bytes");
        }
    }
    assert!(parse(command::PACKET_ALERT, &PACKET[8..]).is_ok(), "the origin may be missing");
    assert!(parse(command::PACKET_ALERT, &PACKET[..20]).is_err(), "the length may not");
    assert!(parse(command::ALERT, &[]).is_err());
    assert!(parse(command::CONFIG_NEW, &CONFIG[..16]).is_err());
}

#[test]
fn a_summary_that_counts_more_sites_than_it_holds_is_refused() {
    let mut bytes = SUMMARY[..32].to_vec();
    assert!(parse(command::ALERT, &bytes).is_ok());
    bytes[4] = 3;
    assert!(parse(command::ALERT, &bytes).is_err());
    bytes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(parse(command::ALERT, &bytes).is_err());
}

fn emit(attributes: &[Attribute<'_>], bytes: &mut Vec<u8>) {
    for attribute in attributes {
        let start = bytes.len();
        bytes.resize(start + attribute.buffer_len(), 0xee);
        attribute.emit(&mut bytes[start..]);
    }
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z_0-9]{1,50}"
}

/// Any attribute, with a value.
fn attribute() -> impl Strategy<Value = Attribute<'static>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| &*bytes.leak());
    let text = || name().prop_map(|name| &*name.leak());
    prop_oneof![
        bytes().prop_map(Attribute::Sites),
        any::<u8>().prop_map(Attribute::AlertMode),
        any::<u64>().prop_map(Attribute::Pc),
        text().prop_map(Attribute::Symbol),
        (proptest::option::of(any::<u32>()), proptest::option::of(text()))
            .prop_map(|(ifindex, name)| Attribute::InPort { ifindex, name }),
        any::<u64>().prop_map(Attribute::Timestamp),
        any::<u16>().prop_map(Attribute::Protocol),
        bytes().prop_map(Attribute::Payload),
        Just(Attribute::Pad),
        any::<u32>().prop_map(Attribute::TruncLen),
        any::<u32>().prop_map(Attribute::OrigLen),
        any::<u32>().prop_map(Attribute::QueueLen),
        any::<u64>().prop_map(Attribute::Stats),
        any::<u64>().prop_map(Attribute::HwStats),
        any::<u16>().prop_map(Attribute::Origin),
        text().prop_map(Attribute::HwTrapGroupName),
        text().prop_map(Attribute::HwTrapName),
        bytes().prop_map(Attribute::HwEntries),
        bytes().prop_map(Attribute::HwEntry),
        any::<u32>().prop_map(Attribute::HwTrapCount),
        Just(Attribute::SwDrops),
        Just(Attribute::HwDrops),
        bytes().prop_map(Attribute::FlowActionCookie),
        text().prop_map(Attribute::Reason),
    ]
}

proptest! {
    #[test]
    fn every_attribute_comes_back_as_it_went(attributes in proptest::collection::vec(attribute(), 0..12)) {
        let mut bytes = Vec::new();
        emit(&attributes, &mut bytes);
        let read: Vec<_> =
            wire::attributes(&bytes).map(|attribute| Attribute::parse(&attribute.unwrap()).unwrap().unwrap()).collect();
        prop_assert_eq!(read, attributes);
    }

    #[test]
    fn every_packet_comes_back_as_it_went(
        pc: u64, ifindex in 1_u32.., timestamp_ns: u64, protocol: u16, length: u32, reason in name(),
        payload in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut bytes = Vec::new();
        emit(&[
            Attribute::Pc(pc),
            Attribute::Reason(&reason),
            Attribute::InPort { ifindex: Some(ifindex), name: None },
            Attribute::Timestamp(timestamp_ns),
            Attribute::Protocol(protocol),
            Attribute::OrigLen(length),
            Attribute::Payload(&payload),
        ], &mut bytes);
        let expected = PacketAlert {
            pc, ifindex, timestamp_ns, length,
            reason: Some(&reason),
            protocol: Some(protocol),
            payload: &payload,
            ..PacketAlert::default()
        };
        prop_assert_eq!(parse(command::PACKET_ALERT, &bytes).unwrap(), (Message::Packet(expected), 0));
    }

    #[test]
    fn any_bytes_are_survived(command in 0_u8..12, bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        if let Ok((Message::Summary(alert), _)) = parse(command, &bytes) {
            prop_assert!(alert.sites().count() * 12 <= bytes.len() && alert.traps().count() <= bytes.len());
        }
    }

    #[test]
    fn a_byte_that_changed_is_survived(at in 0..PACKET.len(), byte: u8) {
        let mut bytes = PACKET;
        bytes[at] = byte;
        let _ = parse(command::PACKET_ALERT, &bytes);
    }
}
