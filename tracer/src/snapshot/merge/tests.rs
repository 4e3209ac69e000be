use serde_json::Map;

use super::super::{Ledger, Overflow, SCHEMA};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn row(symbol: &str, packets: u64) -> Row {
    Row {
        reason: Some("NO_SOCKET".into()),
        subsystem: Some("core".into()),
        symbol: Some(symbol.into()),
        offset: Some(packets),
        module: None,
        trap_group: None,
        protocol: Some("ipv4".into()),
        interface: Some(format!("eth{packets}")),
        class: Some("physical".into()),
        netns_name: None,
        own_netns: Some(true),
        netlink: false,
        packets,
        bytes: Some(packets * 60),
        first_seen: Timestamp(packets),
        last_seen: Timestamp(packets + 10),
    }
}

fn snapshot(host: &str, second: u64, rows: Vec<Row>) -> Snapshot {
    let accounted = rows.iter().map(|row| row.packets).sum();
    let ledger = Ledger { accounted, overflow: 4, filtered: 0, lost: Some(3), details: Map::new() };
    Snapshot {
        schema: SCHEMA.into(),
        version: "1.2.3".into(),
        host: host.into(),
        kernel: "6.12.1".into(),
        build_id: None,
        started_at: Timestamp(second * SECOND),
        duration_ns: 10 * SECOND,
        interfaces: vec![],
        step: Step { source: "ebpf".into(), mode: "tp_btf".into() },
        refusals: vec![],
        sources: vec![Source { source: "ebpf".into(), mode: "tp_btf".into(), ledger }],
        drops: rows,
        overflow: vec![Overflow { reason: None, subsystem: None, packets: 4, bytes: None }],
    }
}

#[test]
fn hosts_add_up_by_what_they_have_in_common() {
    let mut merge = Merge::default();
    merge.add(snapshot("a", 0, vec![row("tcp_v4_rcv", 5), row("udp_rcv", 1)])).unwrap();
    merge.add(snapshot("b", 0, vec![row("tcp_v4_rcv", 7)])).unwrap();
    // The same host once more, later.
    merge.add(snapshot("a", 10, vec![row("tcp_v4_rcv", 11)])).unwrap();
    assert_eq!(merge.places().len(), 2);
    let sum = &merge.places()[&FleetPlace::from(row("tcp_v4_rcv", 0))];
    assert_eq!((sum.packets, sum.bytes), (23, Some(23 * 60)));
    assert_eq!((sum.first_seen, sum.last_seen), (Timestamp(5), Timestamp(21)));
    assert_eq!(sum.hosts, HashMap::from([(0, 16), (1, 7)]));
    let told: Vec<_> = merge.hosts().iter().map(|host| (host.name.as_str(), host.accounted, host.lost)).collect();
    assert_eq!(told, [("a", 17, Some(6)), ("b", 7, Some(3))]);
    assert_eq!(merge.overflow().values().sum::<u128>(), 12);
    assert!(merge.hosts().iter().all(|host| host.unbalanced == 0));
}

#[test]
fn no_drop_is_counted_twice() {
    let mut merge = Merge::default();
    merge.add(snapshot("a", 20, vec![row("tcp_v4_rcv", 5)])).unwrap();
    let before = merge.places().clone();
    for second in [20, 11, 29] {
        let error = merge.add(snapshot("a", second, vec![row("tcp_v4_rcv", 5)])).unwrap_err();
        assert_eq!(error.to_string(), "a is told of twice for the same time: these drops are counted already");
    }
    assert_eq!((merge.places(), merge.hosts()[0].accounted), (&before, 5));
    for second in [10, 30] {
        merge.add(snapshot("a", second, vec![])).unwrap();
    }
}

#[test]
fn what_one_host_does_not_know_is_not_known_of_all() {
    let mut merge = Merge::default();
    let mut unsure = snapshot("a", 0, vec![Row { bytes: None, ..row("tcp_v4_rcv", 2) }]);
    unsure.sources[0].ledger.lost = None;
    merge.add(snapshot("b", 0, vec![row("tcp_v4_rcv", u64::MAX / 60)])).unwrap();
    merge.add(unsure).unwrap();
    let sum = &merge.places()[&FleetPlace::from(row("tcp_v4_rcv", 0))];
    assert_eq!((sum.packets, sum.bytes), (u128::from(u64::MAX / 60) + 2, None));
    assert_eq!((merge.hosts()[0].lost, merge.hosts()[1].lost), (Some(3), None));
}

#[test]
fn rows_that_were_changed_show() {
    let mut merge = Merge::default();
    let mut changed = snapshot("a", 0, vec![row("tcp_v4_rcv", 2)]);
    changed.drops[0].packets = 3;
    assert_eq!(changed.unaccounted(), Some(-1));
    merge.add(changed).unwrap();
    assert_eq!(merge.hosts()[0].unbalanced, 1);
}
