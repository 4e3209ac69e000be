use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::dedupe::Moment;
use crate::domain::event::{DropEvent, Location, NamedKey, Origin, PacketStart, Reason, Residence, Symbol, Timestamp};
use crate::domain::facts::{Facts, Role};
use crate::domain::ledger::{EbpfLedger, EventLedger, Ledger, NetDmLedger};
use crate::domain::owner::{Owner, Process};
use crate::domain::report::{Host, SourceReport};
use crate::sink::{DropSink as _, RawJson, RawOptions, RunEnd};

const DURATION: Duration = Duration::from_millis(2_500);
const STARTED: Timestamp = Timestamp(1_767_225_600_000_000_007);

fn host() -> Host {
    Host { name: "lab-1".into(), kernel: "6.18.44".into() }
}

fn key(name: &str) -> NamedKey {
    let symbol = Symbol { name: "udp_queue_rcv_one_skb".into(), offset: 423, module: Some("ip\"v4".into()) };
    NamedKey {
        reason: Reason { value: Some(6), subsystem: "core".into(), name: name.into() }.into(),
        location: Location { address: 0xffff_ffff_8204_5927, symbol: Some(symbol), trap_group: None }.into(),
        protocol: 0x0800,
        interface: Some("lo".into()),
        ifindex: 1,
        netns: 4_026_531_833,
        ..NamedKey::default()
    }
}

fn sources() -> Vec<SourceReport> {
    let events = EventLedger { offered: 3, submitted: 2, suppressed: 1, delivered: 2, ..EventLedger::default() };
    let ebpf = EbpfLedger { hits: 3, accounted: 3, missed: 0, events: Some(events), ..EbpfLedger::default() };
    let counted = NetDmLedger {
        counts_losses: true,
        received: 3,
        delivered: 3,
        drops: 3,
        accounted: 3,
        tail_drops: Some(1),
        socket_drops: Some(2),
        ..NetDmLedger::default()
    };
    vec![
        SourceReport { mode: "tp_btf", ledger: Ledger::Ebpf(ebpf), held_back: vec![] },
        SourceReport { mode: "packet", ledger: Ledger::NetDm(counted), held_back: vec![] },
    ]
}

/// A recording of these drops.
fn recorded(drops: &[RawDrop]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sink = RawJson::new(&mut out, RawOptions { captured: 128, home_netns: 7, both_sources: true });
    sink.start(&host(), STARTED).unwrap();
    for drop in drops {
        let event = DropEvent {
            stack: &drop.stack,
            facts: Facts::default(),
            timestamp: drop.timestamp,
            key: &drop.key.clone().into(),
            seen_by: drop.origin.alone(),
            length: drop.length,
            start: drop.start,
            bytes: &drop.bytes,
            process: drop.process.as_ref(),
        };
        sink.reading(Moment(drop.received_ns), Moment(drop.watermark_ns));
        sink.event(&event).unwrap();
    }
    sink.finish(&RunEnd { sources: &sources(), duration: Some(DURATION), ..RunEnd::default() }).unwrap();
    out
}

fn some_drop() -> RawDrop {
    RawDrop {
        facts: Facts::default(),
        origin: Origin::NetDm,
        timestamp: Timestamp(STARTED.0 + 5),
        received_ns: 9,
        watermark_ns: 3,
        key: key("SOCKET_RCVBUFF"),
        length: 90,
        start: PacketStart::Mac,
        bytes: vec![0, 1, 0xfe, 0xff],
        process: None,
        stack: vec![Arc::new(Location {
            address: 0,
            symbol: Some(Symbol { name: "udp_rcv".into(), offset: 0x1a, module: Some("udp".into()) }),
            trap_group: None,
        })],
    }
}

/// All entries, and the result of the reading.
fn read(bytes: Vec<u8>) -> (Vec<Entry>, Malformed, Result<(), Error>) {
    let mut recording = Recording::read(io::Cursor::new(bytes)).unwrap();
    let mut entries = Vec::new();
    let ended = loop {
        match recording.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    (entries, recording.malformed().clone(), ended)
}

fn refused(bytes: Vec<u8>) -> String {
    match Recording::read(io::Cursor::new(bytes)) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let bytes = recorded(&[some_drop()]);
    assert_eq!(bytes.split_inclusive(|byte| *byte == b'\n').count(), 3);
    let recording = Recording::read(io::Cursor::new(bytes.clone())).unwrap();
    assert_eq!(
        recording.start(),
        &Start { host: host(), started_at: STARTED, captured: 128, home_netns: 7, both_sources: true }
    );
    let (mut entries, malformed, ended) = read(bytes);
    assert!(ended.is_ok() && malformed == Malformed::default());
    assert_eq!(entries.pop(), Some(Entry::End(End { sources: sources(), duration: Some(DURATION) })));
    let Some(Entry::Drop(drop)) = entries.pop() else { panic!("no drop") };
    assert_eq!(*drop, some_drop());
}

#[test]
fn owner_of_a_recorded_drop_comes_back() {
    let owner = Owner {
        cgroup: Some("/kubepods/pod1/\"web\"".into()),
        container: Some("nginx".into()),
        pod: Some("shop/web-7d9f".into()),
        unit: None,
    };
    let key = NamedKey { socket: Some(Role::Receiver), cgroup_id: 77, owner: owner.into(), ..key("SOCKET_RCVBUFF") };
    let process = Process { pid: 1234, comm: Some("nginx".into()) };
    let drop = RawDrop { origin: Origin::Ebpf, key, process: Some(process.into()), ..some_drop() };
    let owner = Owner { container: Some("db".into()), ..Owner::default() };
    let resident = |residence| NamedKey { residence, owner: owner.clone().into(), ..self::key("NO_SOCKET") };
    let residents = [Residence::Here, Residence::Peer].map(|it| RawDrop { key: resident(Some(it)), ..some_drop() });
    for drop in residents.into_iter().chain([drop]) {
        let (entries, malformed, _) = read(recorded(std::slice::from_ref(&drop)));
        assert_eq!((malformed, &entries[0]), (Malformed::default(), &Entry::Drop(Box::new(drop))));
    }
}

#[test]
fn lines_that_make_no_sense_are_left_out_and_counted() {
    let mut lines: Vec<Vec<u8>> =
        recorded(&[some_drop(), some_drop()]).split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines[1] = b"{\"schema\":\"droptrace.raw.v1\",\"source\":\"ebpf\"}\n".to_vec();
    lines.insert(2, b"\xff\xfe\n".to_vec());
    lines.insert(3, [vec![b'x'; 300 << 10], vec![b'\n']].concat());
    let (entries, malformed, ended) = read(lines.concat());
    assert!(ended.is_ok());
    assert_eq!((entries.len(), malformed.parts), (2, 3));
    let (line, what) = malformed.first.unwrap();
    assert!(line == 2 && what.starts_with("missing field"), "{line}: {what}");
}

#[test]
fn other_files_are_refused_with_a_hint() {
    let way_out = "; `droptrace trace -o FILE.dtr` makes one";
    assert!(refused(vec![]).ends_with(&format!("it is empty{way_out}")));
    assert!(refused(b"PK\x03\x04".to_vec()).starts_with("this is not a recording"));
    let drop = refused(b"{\"schema\":\"droptrace.drop.v1\",\"timestamp\":\"2026-01-01T00:00:00Z\"}\n".to_vec());
    assert!(drop.ends_with(&format!("this version reads droptrace.raw.v1{way_out}")), "{drop}");
    let newer = refused(b"{\"schema\":\"droptrace.raw.v2\",\"host\":\"a\"}\n".to_vec());
    assert!(newer.contains("it has the schema droptrace.raw.v2; this version reads droptrace.raw.v1;"), "{newer}");
    let headless = recorded(&[some_drop()]).split_inclusive(|byte| *byte == b'\n').skip(1).collect::<Vec<_>>().concat();
    assert!(refused(headless).contains("it is truncated"));
}

#[test]
fn second_recording_in_a_file_is_an_error() {
    let (entries, _, ended) = read([recorded(&[some_drop()]), recorded(&[])].concat());
    assert_eq!(entries.len(), 2);
    let text = ended.unwrap_err().to_string();
    assert_eq!(text, "line 4: another recording begins here, of lab-1 (Linux 6.18.44); replay takes one at a time");
}

#[test]
fn what_is_compressed_is_read_as_far_as_it_goes() {
    let bytes = recorded(&vec![some_drop(); 2000]);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    for chunk in bytes.chunks(10_000) {
        encoder.write_all(chunk).unwrap();
        encoder.flush().unwrap();
    }
    let compressed = encoder.finish().unwrap();
    let (entries, _, ended) = read(compressed.clone());
    assert!(ended.is_ok());
    assert_eq!(entries.len(), 2001);
    let (entries, _, ended) = read(compressed[..compressed.len() / 2].to_vec());
    let Err(Error::Cut { number, .. }) = ended else { panic!("{ended:?}") };
    assert!(entries.len() > 500 && number == entries.len() as u64 + 1, "{} {number}", entries.len());
}

proptest! {
    #[test]
    fn every_drop_comes_back(
        is_ebpf: bool, timestamp: u64, length: u32, ethertype: u16, ifindex: u32, netns: u32, address: u64,
        number in proptest::option::of(0..1_000_000_u32),
        names in proptest::array::uniform3(".{0,12}"),
        interface in proptest::option::of(".{1,15}"),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let [reason, subsystem, symbol] = names;
        let key = NamedKey {
            reason: Reason { value: number, subsystem: subsystem.into(), name: reason.into() }.into(),
            location: Location {
                address,
                symbol: Some(Symbol { name: symbol.into(), offset: timestamp, module: None }),
                trap_group: (number == Some(1)).then(|| "l2_drops".into()),
            }.into(),
            protocol: ethertype, interface: interface.map(Into::into), ifindex, netns, ..NamedKey::default() };
        let origin = if is_ebpf { Origin::Ebpf } else { Origin::NetDm };
        let start = if bytes.is_empty() { PacketStart::Nothing } else { PacketStart::Network };
        let drop =
            RawDrop { process: None, stack: vec![], facts: Facts::default(), origin, timestamp: Timestamp(timestamp), received_ns: 1, watermark_ns: 0, key, length, start, bytes };
        let (entries, malformed, _) = read(recorded(std::slice::from_ref(&drop)));
        prop_assert_eq!(malformed.first, None);
        let Some(Entry::Drop(again)) = entries.into_iter().next() else { return Err(TestCaseError::fail("no drop")) };
        prop_assert_eq!(*again, drop);
    }

    #[test]
    fn damage_is_survived(at in 0..10_000_usize, with: u8, cut in 0..10_000_usize) {
        let mut bytes = recorded(&vec![some_drop(); 5]);
        let (at, cut) = (at % bytes.len(), cut % bytes.len());
        bytes[at] = with;
        bytes.truncate(cut);
        if let Ok(mut recording) = Recording::read(io::Cursor::new(bytes)) {
            while let Ok(Some(_)) = recording.next_entry() {}
            prop_assert!(recording.malformed().parts <= 8);
        }
    }
}
