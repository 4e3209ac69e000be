use std::sync::Arc;

use tracer_common::REASON_ABSENT;

use super::*;
use crate::domain::dedupe::AloneLedger;
use crate::domain::event::{Location, NamedKey, PacketStart, Reason, Timestamp};
use crate::domain::facts::Facts;
use crate::domain::total::DropTotal;

const MILLISECOND: u64 = 1_000_000;

fn reason(subsystem: &str, name: &str) -> Reason {
    Reason { value: Some(6), subsystem: subsystem.into(), name: name.into() }
}

fn key(pc: u64, reason: Reason, netns: u32) -> Arc<NamedKey> {
    Arc::new(NamedKey {
        reason: reason.into(),
        location: Location { address: pc, symbol: None, trap_group: None }.into(),
        protocol: 0x0800,
        ifindex: 1,
        netns,
        ..NamedKey::default()
    })
}

fn event<'a>(key: &'a Arc<NamedKey>, timestamp: u64, bytes: &'a [u8]) -> DropEvent<'a> {
    let (timestamp, start) = (Timestamp(timestamp), PacketStart::Mac);
    DropEvent {
        stack: &[],
        process: None,
        facts: Facts::default(),
        timestamp,
        key,
        seen_by: &[],
        length: 100,
        start,
        bytes,
    }
}

/// The sources that saw a drop, its time, its namespace, and the number of bytes that are shown.
type Shown = (Vec<Origin>, u64, u32, usize);

fn shown(event: &DropEvent<'_>) -> Shown {
    (event.seen_by.to_vec(), event.timestamp.0, event.key.netns, event.bytes.len())
}

fn settled(union: &mut Union) -> Vec<Shown> {
    let mut drops = Vec::new();
    while let Some(event) = union.next_settled() {
        drops.push(shown(&event));
    }
    drops
}

fn played(options: UnionOptions, steps: &[(u64, Origin, DropEvent<'_>)]) -> (Vec<Shown>, DedupeLedger) {
    let (mut union, mut drops) = (Union::new(options), Vec::new());
    for (now, origin, event) in steps {
        union.advance(Moment(*now));
        drops.extend(settled(&mut union));
        union.take(Moment(*now), *origin, event);
        drops.extend(settled(&mut union));
    }
    union.finish();
    drops.extend(settled(&mut union));
    assert_eq!(union.account().total().packets(), union.ledger().unique);
    (drops, union.ledger())
}

#[test]
fn drops_seen_by_both_are_shown_once_with_facts_of_both() {
    let (ebpf, net_dm) = (key(7, reason("core", "NO_SOCKET"), 9), key(7, reason("core", "NO_SOCKET"), 0));
    let (few, many) = ([1; 50], [1; 80]);
    let steps = [(0, Origin::NetDm, event(&net_dm, 1000, &many)), (MILLISECOND, Origin::Ebpf, event(&ebpf, 900, &few))];
    let (drops, ledger) = played(UnionOptions::of_bytes(128, 128), &steps);
    assert_eq!(drops, [(vec![Origin::Ebpf, Origin::NetDm], 900, 9, 80)]);
    assert_eq!((ledger.unique, ledger.duplicates, ledger.unaccounted()), (1, 1, 0));
}

#[test]
fn reasons_unknown_to_net_dm_are_joined_with_its_name() {
    let by_net_dm = key(7, reason("core", "NOT_SPECIFIED"), 0);
    let cases = [
        ("openvswitch", "OVS_DROP_LAST_ACTION".to_owned(), 1),
        ("core", "X".repeat(51), 1),
        ("core", "311".to_owned(), 1),
        ("core", "X".repeat(50), 2),
        ("core", "NO_SOCKET".to_owned(), 2),
    ];
    for (subsystem, name, drops) in cases {
        let ebpf = key(7, reason(subsystem, &name), 9);
        let steps = [(0, Origin::Ebpf, event(&ebpf, 0, &[1; 60])), (0, Origin::NetDm, event(&by_net_dm, 0, &[1; 60]))];
        assert_eq!(played(UnionOptions::of_bytes(128, 0), &steps).0.len(), drops, "{name}");
    }
    // Other tracepoints receive the exact reason of a queueing discipline, `kfree_skb` the general one.
    assert_eq!(net_dm_reason_name(&reason("qdisc", "BAND_LIMIT")), "QDISC_DROP");
    // Before Linux 5.17, neither source reports a drop reason.
    let absent = Reason { value: Some(REASON_ABSENT), ..reason("core", "NOT_SPECIFIED") };
    assert_eq!(net_dm_reason_name(&absent), "NOT_SPECIFIED");
}

#[test]
fn drops_seen_by_one_source_are_shown_after_the_wait() {
    let key = key(7, reason("core", "NO_SOCKET"), 0);
    let second = 1000 * MILLISECOND;
    let steps =
        [(0, Origin::Ebpf, event(&key, 1, &[1; 60])), (2 * second, Origin::NetDm, event(&key, 2 * second, &[2; 60]))];
    let (drops, ledger) = played(UnionOptions::of_bytes(128, 16), &steps);
    assert_eq!(drops, [(vec![Origin::Ebpf], 1, 0, 16), (vec![Origin::NetDm], 2 * second, 0, 16)]);
    assert_eq!(ledger.ebpf.alone, AloneLedger { expired: 1, ..AloneLedger::default() });
}

#[test]
fn nothing_expires_before_the_other_source_was_read() {
    let key = key(7, reason("core", "NO_SOCKET"), 0);
    let mut union = Union::new(UnionOptions::of_bytes(128, 0));
    let late = Moment(9_000 * MILLISECOND);
    union.take(Moment(0), Origin::Ebpf, &event(&key, 1, &[1; 60]));
    assert_eq!(settled(&mut union), []);
    union.take(late, Origin::NetDm, &event(&key, 1, &[1; 60]));
    assert_eq!(settled(&mut union).len(), 1);
    union.advance(late);
    assert_eq!(settled(&mut union), []);
    assert_eq!((union.ledger().unique, union.ledger().duplicates), (1, 1));
}

#[test]
fn without_captured_bytes_drops_are_joined_by_site_reason_and_length() {
    let key = key(7, reason("core", "NO_SOCKET"), 0);
    let steps = [(0, Origin::Ebpf, event(&key, 1, &[])), (0, Origin::NetDm, event(&key, 1, &[2; 60]))];
    assert_eq!(played(UnionOptions::of_bytes(0, 64), &steps).0.len(), 1);
    let (drops, ledger) = played(UnionOptions::of_bytes(128, 64), &steps);
    assert_eq!((drops.len(), ledger.ebpf.alone.too_few_bytes), (2, 1));
}

#[test]
fn packets_without_a_mac_header_are_seen_by_ebpf_alone() {
    let key = key(7, reason("core", "NO_SOCKET"), 0);
    let bare = DropEvent { start: PacketStart::Nothing, length: 0, ..event(&key, 1, &[]) };
    let steps = [(0, Origin::Ebpf, bare), (0, Origin::NetDm, event(&key, 1, &[2; 60]))];
    let (drops, ledger) = played(UnionOptions::of_bytes(128, 64), &steps);
    assert_eq!((drops.len(), ledger.ebpf.alone.no_mac_header), (2, 1));
}

#[test]
fn kept_bytes_bound_the_memory_of_waiting_packets() {
    let key = key(7, reason("core", "NO_SOCKET"), 0);
    let room = KEPT_BYTES / 100;
    let mut union = Union::new(UnionOptions::of_bytes(128, room));
    for number in 0..250_u8 {
        let bytes = [number; 60];
        union.take(Moment(0), Origin::Ebpf, &event(&key, 1, &bytes));
        settled(&mut union);
    }
    assert_eq!((union.ledger().pending, union.ledger().ebpf.alone.evicted), (100, 150));
}

fn total(pc: u64, reason: Reason, packets: u64, origin: Origin) -> DropTotal {
    let key = key(pc, reason, 0);
    let (first_seen, last_seen) = (Timestamp(0), Timestamp(1));
    DropTotal { key, packets, bytes: Some(packets), first_seen, last_seen, seen_by: origin.alone(), more: 0 }
}

#[test]
fn one_table_of_both_counts_each_drop_once() {
    let core = |name| reason("core", name);
    let ebpf = vec![
        total(1, core("A"), 100, Origin::Ebpf),
        total(2, core("A"), 5, Origin::Ebpf),
        total(3, core("A"), 7, Origin::Ebpf),
    ];
    let net_dm = vec![
        total(1, core("A"), 90, Origin::NetDm),
        total(2, core("A"), 6, Origin::NetDm),
        total(2, core("A"), 2, Origin::NetDm),
        total(4, core("A"), 3, Origin::NetDm),
    ];
    let rows: Vec<_> = unite(ebpf, net_dm)
        .into_iter()
        .map(|row| (row.key.location.address, row.packets, row.bytes, row.seen_by))
        .collect();
    let expected: [(u64, u64, Option<u64>, &[Origin]); 5] = [
        (1, 100, Some(100), &Origin::ALL),
        (2, 5, Some(5), &Origin::ALL),
        (3, 7, Some(7), &[Origin::Ebpf]),
        (2, 3, None, &[Origin::NetDm]),
        (4, 3, Some(3), &[Origin::NetDm]),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn summaries_are_joined_by_drop_site_alone() {
    let no_reason = Reason { value: Some(REASON_ABSENT), ..reason("core", "NOT_SPECIFIED") };
    let ebpf = vec![total(1, reason("core", "A"), 4, Origin::Ebpf), total(1, reason("core", "B"), 6, Origin::Ebpf)];
    let rows = unite(ebpf, vec![total(1, no_reason, 10, Origin::NetDm)]);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.seen_by == Origin::ALL));
}

#[test]
fn xdp_drops_are_not_joined_with_net_dm() {
    let frames = total(0, reason("xdp", "XDP_ABORTED"), 5, Origin::Ebpf);
    let frames = DropTotal {
        key: Arc::new(NamedKey { kind: crate::domain::event::Kind::Xdp, ..(*frames.key).clone() }),
        ..frames
    };
    let no_reason = Reason { value: Some(REASON_ABSENT), ..reason("core", "NOT_SPECIFIED") };
    let rows = unite(vec![frames], vec![total(0, no_reason, 3, Origin::NetDm)]);
    let shown: Vec<_> = rows.iter().map(|row| (row.packets, row.seen_by)).collect();
    assert_eq!(shown, [(5, Origin::Ebpf.alone()), (3, Origin::NetDm.alone())]);
}
