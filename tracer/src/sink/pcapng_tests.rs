use std::sync::Arc;
use std::time::Duration;

use pcap_file::pcapng::{Block, PcapNgReader};
use proptest::prelude::*;

use super::pcapng::Pcapng;
use super::samples::{HOME, NEW_YEAR, host, key, location, owned_key, trace_sources, udp_packet};
use super::{DropSink as _, RunEnd};
use crate::domain::event::{DropEvent, Kind, NamedKey, Origin, PacketStart, Timestamp};
use crate::domain::facts::{Facts, VlanTag};
use crate::domain::owner::Process;

fn event<'e>(key: &'e Arc<NamedKey>, start: PacketStart, bytes: &'e [u8]) -> DropEvent<'e> {
    DropEvent {
        timestamp: Timestamp(NEW_YEAR.0 + 1),
        key,
        seen_by: Origin::Ebpf.alone(),
        length: 90,
        start,
        bytes,
        facts: Facts::default(),
        process: None,
        stack: &[],
    }
}

/// The blocks of a capture of these drops.
fn blocks(events: &[DropEvent<'_>], end: &RunEnd<'_>) -> Vec<Block<'static>> {
    let mut bytes = Vec::new();
    let mut sink = Pcapng::new(&mut bytes, HOME);
    sink.start(&host(), NEW_YEAR).unwrap();
    for event in events {
        sink.event(event).unwrap();
    }
    sink.finish(end).unwrap();
    drop(sink);
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block() {
        blocks.push(block.unwrap().into_owned());
    }
    blocks
}

/// The link type, original length and bytes of the only packet.
fn packet(event: DropEvent<'_>) -> (u32, u32, Vec<u8>) {
    let blocks = blocks(&[event], &RunEnd::default());
    let [_, Block::InterfaceDescription(interface), Block::EnhancedPacket(packet), _] = &blocks[..] else {
        panic!("{blocks:?}")
    };
    (interface.linktype.into(), packet.original_len, packet.data.to_vec())
}

const ETHERNET: u32 = 1;
const RAW: u32 = 101;
const USER0: u32 = 147;
const LINUX_SLL2: u32 = 276;

#[test]
fn packets_keep_their_bytes_and_length() {
    let (key, bytes) = (Arc::new(key()), udp_packet());
    assert_eq!(packet(event(&key, PacketStart::Mac, &bytes[..60])), (ETHERNET, 90, bytes[..60].to_vec()));
    assert_eq!(packet(event(&key, PacketStart::Network, &bytes[14..])), (RAW, 90, bytes[14..].to_vec()));
    // What a tunnel calls its MAC header.
    assert_eq!(packet(event(&key, PacketStart::Mac, &bytes[14..])), (RAW, 90, bytes[14..].to_vec()));
    assert_eq!(packet(event(&key, PacketStart::Mac, &[1; 60])), (USER0, 90, vec![1; 60]));
    assert_eq!(packet(event(&key, PacketStart::Nothing, &[])), (USER0, 90, vec![]));
}

#[test]
fn tag_is_put_back_where_it_was() {
    let (key, bytes) = (Arc::new(key()), udp_packet());
    let facts = Facts { vlan: Some(VlanTag { protocol: 0x8100, tci: 0x2005 }), ..Facts::default() };
    let frame = DropEvent { facts, ..event(&key, PacketStart::Mac, &bytes) };
    let tagged = [&bytes[..12], &[0x81, 0, 0x20, 5], &bytes[12..]].concat();
    assert_eq!(packet(frame), (ETHERNET, 94, tagged));
    // Without a link header there is no room for it.
    let bare = DropEvent { facts, ..event(&key, PacketStart::Network, &bytes[14..]) };
    assert_eq!(packet(bare), (RAW, 90, bytes[14..].to_vec()));
    assert_eq!(
        comments(&blocks(&[bare], &RunEnd::default())),
        ["SOCKET_RCVBUFF at udp_queue_rcv_one_skb+0x1a7, vlan 5"]
    );
}

#[test]
fn protocol_stands_before_other_network_headers() {
    let key = Arc::new(NamedKey { protocol: 0x0806, ..key() });
    let header = [8, 6, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let expected = [&header[..], &[7; 28]].concat();
    assert_eq!(packet(event(&key, PacketStart::Network, &[7; 28])), (LINUX_SLL2, 110, expected));
}

fn comments(blocks: &[Block<'_>]) -> Vec<String> {
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption::Comment;
    let packets = blocks.iter().filter_map(|block| block.clone().into_enhanced_packet());
    packets.map(|packet| if let [Comment(text)] = &packet.options[..] { text.to_string() } else { panic!() }).collect()
}

#[test]
fn comment_says_why_and_whose() {
    let process = Arc::new(Process { pid: 1234, comm: Some("nginx".into()) });
    let stack = [location("udp_unicast_rcv_skb", 0x72, None), location("nft_do_chain", 0x3f, Some("nf_tables"))];
    let (owned, plain, bytes) = (Arc::new(owned_key()), Arc::new(key()), udp_packet());
    let events = [
        DropEvent { process: Some(&process), ..event(&owned, PacketStart::Mac, &bytes) },
        DropEvent { stack: &stack, ..event(&plain, PacketStart::Mac, &bytes) },
    ];
    let site = "SOCKET_RCVBUFF at udp_queue_rcv_one_skb+0x1a7";
    assert_eq!(
        comments(&blocks(&events, &RunEnd::default())),
        [
            format!("{site}, receiver nginx[1234] in shop/web-7d9f/nginx"),
            format!("{site}\nudp_unicast_rcv_skb+0x72\nnft_do_chain+0x3f [nf_tables]"),
        ]
    );
}

#[test]
fn each_interface_of_a_namespace_is_its_own() {
    let (home, bytes) = (Arc::new(key()), udp_packet());
    let other = Arc::new(NamedKey { netns: 1, netns_name: Some("blue".into()), ..key() });
    let events = [&home, &other, &home].map(|key| event(key, PacketStart::Mac, &bytes));
    let blocks = blocks(
        &[events[0], events[1], events[2], event(&home, PacketStart::Network, &bytes[14..])],
        &RunEnd::default(),
    );
    let ids: Vec<_> =
        blocks.iter().filter_map(|block| Some(block.clone().into_enhanced_packet()?.interface_id)).collect();
    assert_eq!(ids, [1, 2, 1, 3]);
    let described = format!("{blocks:?}");
    for wanted in
        [r#"IfName("lo"), IfTsResol(9)"#, r#"IfName("lo@blue")"#, r#"IfDescription("network namespace blue")"#]
    {
        assert!(described.contains(wanted), "{wanted}: {described}");
    }
}

#[test]
fn statistics_have_the_ledger() {
    let (key, bytes) = (Arc::new(key()), udp_packet());
    let end = RunEnd { sources: &trace_sources(), duration: Some(Duration::from_nanos(5)), ..RunEnd::default() };
    let blocks = blocks(&[event(&key, PacketStart::Mac, &bytes)], &end);
    let Some(Block::InterfaceStatistics(statistics)) = blocks.last() else { panic!("{blocks:?}") };
    let end = (NEW_YEAR.0 + 5).rotate_left(32);
    assert_eq!((statistics.interface_id, statistics.timestamp), (0, end));
    let options = format!("{:?}", statistics.options);
    for wanted in ["IsbUsrDeliv(1)", "IsbFilterAccept(1000)", "IsbIfDrop(999)", "1,007 hits = 1,000 accounted"] {
        assert!(options.contains(wanted), "{wanted}: {options}");
    }
}

proptest! {
    #[test]
    fn any_bytes_make_a_capture(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        protocol in prop_oneof![Just(0), Just(0x0800), Just(0x86dd), Just(0x0806), any::<u16>()],
        start in prop_oneof![Just(PacketStart::Nothing), Just(PacketStart::Mac), Just(PacketStart::Network)],
        tag in any::<Option<(u16, u16)>>(),
        length in any::<u32>(),
    ) {
        let key = Arc::new(NamedKey { protocol, ..key() });
        let vlan = tag.map(|(protocol, tci)| VlanTag { protocol, tci });
        let facts = Facts { vlan, ..Facts::default() };
        let (_, original, written) = packet(DropEvent { facts, length, ..event(&key, start, &bytes) });
        prop_assert!(original as usize >= written.len() && written.ends_with(&bytes[bytes.len().min(12)..]));
    }
}

#[test]
fn messages_of_netlink_have_an_interface_of_their_own() {
    let plain = NamedKey { interface: None, ifindex: 0, ..key() };
    let keys = [plain.clone(), NamedKey { kind: Kind::Netlink, ..plain }].map(Arc::new);
    let events = keys.each_ref().map(|key| event(key, PacketStart::Nothing, &[]));
    let blocks = format!("{:?}", blocks(&events, &RunEnd::default()));
    assert!(blocks.contains(r#"IfName("-")"#) && blocks.contains(r#"IfName("netlink")"#), "{blocks}");
}
