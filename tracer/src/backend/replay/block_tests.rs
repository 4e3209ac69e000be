use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use tracer_common::{
    DropKey, RecordHeader, SECTION_SOCKET, SECTION_STACK, SOCKET_OWNER, STACK_BYTES, START_MAC, SocketFacts,
};
use zerocopy::IntoBytes as _;

use super::{Entry, Error, Malformed, RawDrop, Recording};
use crate::backend::dtr::{FILE_HEADER, Records};
use crate::backend::ebpf::Record;
use crate::domain::dedupe::Moment;
use crate::domain::event::{NamedKey, Origin, Residence, Timestamp};
use crate::domain::owner::Process;
use crate::domain::report::Host;
use crate::identity::netns::Names;
use crate::kernel::reasons::ReasonNames;
use crate::pipeline::normalise::{BlockNames, Normaliser};
use crate::sink::{DropSink as _, Dtr, RawOptions, RunEnd};

const DURATION: Duration = Duration::from_millis(2_500);
const SITE: u64 = 0x1000;
const INODE: u64 = 77;
/// Records of a block.
const RECORDS: u64 = 5;
const BLOCKS: u64 = 3;

/// A record of the BPF program, with room at its end that is not used.
fn record(number: u64) -> Vec<u8> {
    let socket = SocketFacts { inode: INODE, role: SOCKET_OWNER, uid: 1000, ..SocketFacts::default() };
    let header = RecordHeader {
        timestamp_ns: number,
        key: DropKey { location: SITE, reason: 2, protocol: 0x800, socket: SOCKET_OWNER, ..DropKey::default() },
        length: 60,
        captured: 4,
        start: START_MAC,
        sections: SECTION_STACK | SECTION_SOCKET,
        stack: 24,
        socket,
        ..RecordHeader::default()
    };
    let mut stack = [0; STACK_BYTES];
    for (to, address) in stack.chunks_mut(8).zip([1, SITE, SITE + 8]) {
        to.copy_from_slice(&u64::to_ne_bytes(address));
    }
    [header.as_bytes(), &stack, &[1, 2, 3, u8::try_from(number).unwrap_or_default()], &[0; 124]].concat()
}

fn process() -> Arc<Process> {
    Process { pid: 9, comm: Some("nginx".into()) }.into()
}

/// The names of a block; the process is known without a search.
fn named(normaliser: &mut Normaliser, block: &Records) -> BlockNames {
    let mut names = BlockNames::default();
    normaliser.block_names(block, &mut names, None, false);
    names.processes.push((INODE, process()));
    names
}

/// A recording of [`BLOCKS`], and the end of each of its blocks.
fn recorded(normaliser: &mut Normaliser) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    let mut sink = Dtr::new(&mut out, RawOptions { captured: 128, home_netns: 7, both_sources: false });
    sink.start(&Host { name: "lab-1".into(), kernel: "6.18.44".into() }, Timestamp(1)).unwrap();
    for block in 0..BLOCKS {
        let mut records = Records::default();
        for number in block * RECORDS..(block + 1) * RECORDS {
            records.push(Record::used(&record(number)).unwrap());
        }
        sink.reading(Moment(block), Moment(0));
        sink.block(&records, &named(normaliser, &records)).unwrap();
    }
    sink.finish(&RunEnd { duration: Some(DURATION), ..RunEnd::default() }).unwrap();
    drop(sink);
    let mut at = FILE_HEADER.len();
    while at < out.len() {
        let length = |from: usize| u32::from_le_bytes(out[from..from + 4].try_into().unwrap()) as usize;
        at += 40 + length(at + 8) + length(at + 12);
        ends.push(at);
    }
    (out, ends)
}

fn normaliser() -> Normaliser {
    Normaliser::new(ReasonNames::without_types(), Arc::new(Names::new()), None, None)
}

/// All drops, and the result of the reading.
fn read(bytes: &[u8]) -> (Vec<RawDrop>, Malformed, Result<bool, Error>) {
    let mut recording = Recording::read(Cursor::new(bytes.to_vec())).unwrap();
    let (mut drops, mut has_ledger) = (Vec::new(), false);
    let ended = loop {
        match recording.next_entry() {
            Ok(Some(Entry::Drop(drop))) => drops.push(*drop),
            Ok(Some(Entry::End(end))) => has_ledger = end.duration == Some(DURATION),
            Ok(Some(Entry::Start(_))) => panic!("a second start"),
            Ok(None) => break Ok(has_ledger),
            Err(error) => break Err(error),
        }
    };
    (drops, recording.malformed().clone(), ended)
}

#[test]
fn records_are_read_with_the_names_of_their_block() {
    let mut normaliser = normaliser();
    let (bytes, _) = recorded(&mut normaliser);
    let recording = Recording::read(Cursor::new(bytes.clone())).unwrap();
    assert_eq!((&*recording.start().host.name, recording.start().home_netns, recording.part()), ("lab-1", 7, "block"));
    let (drops, malformed, ended) = read(&bytes);
    assert!(ended.unwrap() && malformed == Malformed::default());
    assert_eq!(drops.len() as u64, BLOCKS * RECORDS);
    for (number, found) in (0..).zip(drops) {
        let bytes = record(number);
        let Record { report, bytes } = Record::parse(&bytes).unwrap();
        let (addresses, packet) = report.split(bytes);
        let named = normaliser.named_key(&report.header.key, report.names(), None);
        let mut stack = Vec::new();
        normaliser.stack(addresses, SITE, &mut stack);
        assert_eq!(stack.len(), 2);
        let event = normaliser.event(&report, packet, &named, None, &stack);
        let expected = RawDrop {
            origin: Origin::Ebpf,
            timestamp: event.timestamp,
            received_ns: number / RECORDS,
            watermark_ns: number / RECORDS,
            key: NamedKey::clone(&named),
            length: 60,
            start: report.start,
            bytes: packet.to_vec(),
            facts: event.facts,
            process: Some(process()),
            stack: found.stack.clone(),
        };
        assert_eq!(found, expected);
        assert!(found.stack.iter().map(|location| location.address).eq([SITE, SITE + 8]), "{:?}", found.stack);
        assert!(found.stack.iter().zip(&stack).all(|(found, expected)| found.symbol == expected.symbol));
    }
}

#[test]
fn a_file_that_ends_anywhere_is_readable_up_to_there() {
    let (bytes, ends) = recorded(&mut normaliser());
    assert_eq!(ends.len() as u64, BLOCKS + 2);
    for length in ends[0]..bytes.len() {
        let (drops, malformed, ended) = read(&bytes[..length]);
        let whole = ends.iter().filter(|end| **end <= length).count() as u64;
        assert_eq!((drops.len() as u64, malformed.parts), ((whole - 1).min(BLOCKS) * RECORDS, 0), "{length} bytes");
        match ended {
            Ok(has_ledger) => assert!(!has_ledger && ends.contains(&length)),
            Err(Error::Cut { part: "block", number, .. }) => assert_eq!(number, whole),
            Err(error) => panic!("{error}"),
        }
    }
    for length in 0..ends[0] {
        assert!(matches!(Recording::read(Cursor::new(bytes[..length].to_vec())), Err(Error::NotARecording(_))));
    }
}

#[test]
fn a_damaged_block_is_left_out_and_counted() {
    let (bytes, ends) = recorded(&mut normaliser());
    for at in [ends[0] + 39, ends[0] + 40, ends[1] - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let (drops, malformed, ended) = read(&damaged);
        assert!(ended.unwrap());
        assert_eq!((drops.len() as u64, malformed.parts), ((BLOCKS - 1) * RECORDS, 1));
        assert_eq!(malformed.first, Some((2, "its checksum is wrong".to_owned())));
    }
}

#[test]
fn the_resident_at_the_other_end_of_a_link_is_kept() {
    let (mut normaliser, mut records, mut out) = (normaliser(), Records::default(), Vec::new());
    let mut bytes = record(1);
    bytes[..size_of::<RecordHeader>()].copy_from_slice(
        RecordHeader { timestamp_ns: 1, length: 60, start: START_MAC, ..RecordHeader::default() }.as_bytes(),
    );
    records.push(Record::used(&bytes).unwrap());
    let mut names = named(&mut normaliser, &records);
    let [(_, key)] = &mut *names.keys else { panic!("one key") };
    let resident = NamedKey { residence: Some(Residence::Peer), cgroup_id: 5, ..NamedKey::clone(key) };
    *key = Arc::new(resident.clone());
    let mut sink = Dtr::new(&mut out, RawOptions::default());
    sink.start(&Host { name: "lab-1".into(), kernel: "6.18.44".into() }, Timestamp(1)).unwrap();
    sink.block(&records, &names).unwrap();
    drop(sink);
    let (drops, malformed, _) = read(&out);
    assert_eq!((malformed, drops.len(), &drops[0].key), (Malformed::default(), 1, &resident));
}

#[test]
fn another_version_is_refused() {
    let (mut bytes, _) = recorded(&mut normaliser());
    bytes[FILE_HEADER.len() - 1] += 1;
    let Err(error) = Recording::read(Cursor::new(bytes)) else { panic!("taken") };
    assert!(error.to_string().contains("a .dtr file of another version"), "{error}");
}

#[test]
fn drops_of_other_backends_are_lines() {
    let (mut out, key) = (Vec::new(), Arc::new(NamedKey::default()));
    let mut sink = Dtr::new(&mut out, RawOptions::default());
    sink.start(&Host { name: "lab-1".into(), kernel: "6.18.44".into() }, Timestamp(1)).unwrap();
    for _ in 0..RECORDS {
        sink.event(&crate::domain::event::DropEvent {
            timestamp: Timestamp(5),
            key: &key,
            seen_by: Origin::NetDm.alone(),
            length: 9,
            start: crate::domain::event::PacketStart::Nothing,
            bytes: &[],
            facts: crate::domain::facts::Facts::default(),
            process: None,
            stack: &[],
        })
        .unwrap();
    }
    sink.finish(&RunEnd { duration: Some(DURATION), ..RunEnd::default() }).unwrap();
    drop(sink);
    let (drops, malformed, ended) = read(&out);
    assert!(ended.unwrap() && malformed == Malformed::default());
    assert!(drops.len() as u64 == RECORDS && drops.iter().all(|drop| drop.origin == Origin::NetDm));
}
