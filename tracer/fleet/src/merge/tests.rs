#![expect(clippy::float_cmp, reason = "whole numbers")]

use droptrace_base::snapshot::{
    CaptureBackend, Interface, Ledger, Outside, OutsideCounter, Overflow, RowOwner, SCHEMA,
};
use serde_json::Map;

use super::*;
use crate::model::Fleet;
use crate::number::Amount;
use crate::report::{Input, Report};

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
        kind: "packet".into(),
        owner: None,
        packets,
        bytes: Some(packets * 60),
        first_seen: Timestamp(0),
        last_seen: Timestamp(10 * SECOND),
    }
}

fn snapshot(host: &str, second: u64, rows: Vec<Row>) -> Snapshot {
    let accounted = rows.iter().map(|row| row.packets).sum();
    let ledger = Ledger { accounted, overflow: 4, filtered: 0, lost: Some(3), details: Map::new() };
    Snapshot {
        machine: None,
        schema: SCHEMA.into(),
        version: "1.2.3".into(),
        host: host.into(),
        kernel: "6.12.1".into(),
        build_id: None,
        started_at: Timestamp(second * SECOND),
        duration_ns: 10 * SECOND,
        filter: None,
        interfaces: vec![],
        backend: CaptureBackend { source: "ebpf".into(), mode: "tp_btf".into() },
        unavailable: vec![],
        sources: vec![Source { source: "ebpf".into(), mode: "tp_btf".into(), ledger }],
        drops: rows,
        overflow: vec![Overflow { reason: None, subsystem: None, packets: 4, bytes: None }],
        outside: None,
    }
}

fn merged(snapshots: &[Snapshot]) -> Fleet {
    let mut merge = Merge::default();
    for snapshot in snapshots {
        merge.add(snapshot, None).unwrap();
    }
    merge.into_fleet()
}

/// Drops of a host by symbol.
fn packets(fleet: &Fleet, host: &str, symbol: Option<&str>) -> f64 {
    let is_it = |count: &&crate::model::Count| {
        fleet.hosts()[count.host.0 as usize].name == host && fleet.resolve(count.key).symbol == symbol
    };
    fleet.counts().iter().filter(is_it).map(|count| count.packets.float()).sum()
}

#[test]
fn hosts_add_up_by_what_they_have_in_common() {
    let fleet = merged(&[
        snapshot("a", 0, vec![row("tcp_v4_rcv", 5), row("udp_rcv", 1), row("tcp_v4_rcv", 2)]),
        snapshot("b", 0, vec![row("tcp_v4_rcv", 7)]),
        // A later snapshot of the same host.
        snapshot("a", 10, vec![row("tcp_v4_rcv", 11)]),
    ]);
    // Two functions, and drops without a key of their own.
    assert_eq!(fleet.keys().count(), 3);
    assert_eq!(packets(&fleet, "a", Some("tcp_v4_rcv")), 18.0);
    assert_eq!(packets(&fleet, "b", Some("tcp_v4_rcv")), 7.0);
    assert_eq!((packets(&fleet, "a", None), packets(&fleet, "b", None)), (8.0, 4.0));
    let found: Vec<_> = fleet.hosts().iter().map(|host| (host.name.as_str(), host.seconds, host.lost)).collect();
    assert_eq!(found, [("a", 20.0, Some(Amount::Whole(6))), ("b", 10.0, Some(Amount::Whole(3)))]);
    assert_eq!(fleet.time, Some(Timestamp(0)..Timestamp(20 * SECOND)));
    assert!(fleet.hosts().iter().all(|host| host.unbalanced == 0));
}

#[test]
fn no_drop_is_counted_twice() {
    let mut merge = Merge::default();
    merge.add(&snapshot("a", 20, vec![row("tcp_v4_rcv", 5)]), None).unwrap();
    for second in [20, 11, 29] {
        let error = merge.add(&snapshot("a", second, vec![row("tcp_v4_rcv", 5)]), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the snapshot of a overlaps another one in time: these drops are already counted"
        );
    }
    for second in [10, 30] {
        merge.add(&snapshot("a", second, vec![]), None).unwrap();
    }
    let fleet = merge.into_fleet();
    assert_eq!(packets(&fleet, "a", Some("tcp_v4_rcv")), 5.0);
    assert_eq!((fleet.hosts()[0].seconds, fleet.hosts()[0].lost), (30.0, Some(Amount::Whole(9))));
}

#[test]
fn a_full_fleet_takes_no_more_and_keeps_what_it_has() {
    let mut merge = Merge { bounds: Bounds { hosts: 1, ..Bounds::DEFAULT }, ..Merge::default() };
    merge.add(&snapshot("a", 0, vec![row("tcp_v4_rcv", 5)]), None).unwrap();
    let error = anyhow::Error::from(merge.add(&snapshot("b", 0, vec![]), None).unwrap_err());
    let expected = "the fleet has no room for the snapshot: there are 1 hosts already, and no more are kept";
    assert_eq!(format!("{error:#}"), expected);
    let fleet = merge.into_fleet();
    assert_eq!((fleet.hosts().len(), packets(&fleet, "a", Some("tcp_v4_rcv"))), (1, 5.0));
}

#[test]
fn fact_unknown_in_one_snapshot_is_unknown_for_the_host() {
    let mut unsure = snapshot("a", 0, vec![]);
    unsure.sources[0].ledger.lost = None;
    let fleet = merged(&[snapshot("a", 10, vec![]), unsure, snapshot("b", 0, vec![])]);
    assert_eq!((fleet.hosts()[0].lost, fleet.hosts()[1].lost), (None, Some(Amount::Whole(3))));
}

#[test]
fn losses_of_one_backend_are_counted_by_another() {
    let mut both = snapshot("a", 0, vec![]);
    let mut other = both.sources[0].clone();
    other.ledger.lost = Some(1);
    both.sources.push(other.clone());
    other.ledger.lost = None;
    both.sources.push(other);
    assert_eq!(merged(&[both]).hosts()[0].lost, Some(Amount::Whole(1)));
}

#[test]
fn sums_are_exact_or_an_error() {
    let with =
        |host: &str, packets| Snapshot { overflow: vec![], ..snapshot(host, 0, vec![Row { packets, ..row("f", 1) }]) };
    let large = with("a", 9_007_199_254_740_993);
    let fleet = merged(&[large.clone(), with("b", 2)]);
    let report = Report::of(&fleet, Input::of_snapshots(), &Options::default());
    assert_eq!(report.fleet.packets, Amount::Whole(9_007_199_254_740_995));
    assert_eq!(report.dropped_most[0].packets, Amount::Whole(9_007_199_254_740_995));
    assert!(report.fleet.exact);
    let mut merge = Merge::default();
    merge.add(&large, None).unwrap();
    let refused = merge.add(&with("b", u64::MAX), None).unwrap_err();
    assert_eq!(refused, NotAdded::TooMany { host: "b".into() });
    assert_eq!((packets(&merge.fleet, "b", Some("f")), merge.fleet.hosts().len()), (0.0, 1));
}

#[test]
fn machines_of_one_name_are_two_hosts() {
    let of =
        |machine: Option<&str>, second| Snapshot { machine: machine.map(Into::into), ..snapshot("a", second, vec![]) };
    let names = |snapshots: &[Snapshot]| -> Vec<String> {
        merged(snapshots).hosts().iter().map(|host| host.name.clone()).collect()
    };
    let both = ["a (machine 1)", "a (machine 2)"];
    assert_eq!(names(&[of(Some("1"), 0), of(Some("2"), 0), of(Some("1"), 10)]), both);
    // Snapshots without a machine identifier are assigned to a machine, in either order.
    assert_eq!(names(&[of(None, 0), of(Some("1"), 10), of(None, 20)]), ["a"]);
    assert_eq!(names(&[of(None, 0), of(Some("1"), 10), of(Some("2"), 0)]), both);
    // They are not if they cover the same time.
    let unknown = ["a (machine 1)", "a (machine not known)"];
    assert_eq!(names(&[of(Some("1"), 0), of(None, 0), of(None, 10), of(Some("1"), 20)]), unknown);
    assert_eq!(names(&[of(None, 0), of(Some("1"), 0)]), ["a (machine not known)", "a (machine 1)"]);
    let all = ["a (machine 1)", "a (machine 2)", "a (machine not known)"];
    assert_eq!(names(&[of(Some("1"), 0), of(Some("2"), 0), of(None, 0)]), all);
    let mut merge = Merge::default();
    merge.add(&of(Some("1"), 0), None).unwrap();
    merge.add(&of(Some("1"), 0), None).unwrap_err();
    let fleet = merge.into_fleet();
    assert_eq!((fleet.hosts()[0].duplicates, fleet.find("a").is_some()), (1, true));
    let found = crate::analyse::analyse(&fleet, &Options::default());
    assert!(found.iter().any(|finding| finding.kind == crate::finding::Kind::Duplicate), "{found:?}");
}

#[test]
fn host_whose_name_equals_a_made_up_name_stays_separate() {
    let of = |host: &str, machine: &str| Snapshot {
        machine: Some(machine.into()),
        ..snapshot(host, 0, vec![row("f", if host == "a" { 5 } else { 7 })])
    };
    let (alike, first, second) = (of("a (machine 1)", "9"), of("a", "1"), of("a", "2"));
    for order in [[&alike, &first, &second], [&first, &second, &alike], [&second, &alike, &first]] {
        let fleet = merged(&order.map(Clone::clone));
        let mut names: Vec<_> = fleet.hosts().iter().map(|host| host.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a (machine 1)", "a (machine 1) (another)", "a (machine 2)"]);
        assert_eq!(packets(&fleet, "a (machine 1)", Some("f")), 7.0);
        assert_eq!(packets(&fleet, "a (machine 1) (another)", Some("f")), 5.0);
        assert_eq!(fleet.find("a (machine 1)").unwrap().machine.as_deref(), Some("9"));
    }
}

#[test]
fn time_beyond_timestamps_is_an_error() {
    let mut merge = Merge::default();
    let late = Snapshot { started_at: Timestamp(u64::MAX), duration_ns: 0, ..snapshot("a", 0, vec![]) };
    for _ in 0..2 {
        assert_eq!(merge.add(&late, None), Err(NotAdded::Late { host: "a".into() }));
    }
    merge.add(&Snapshot { started_at: Timestamp(u64::MAX - 1), ..late }, None).unwrap();
}

#[test]
fn memory_does_not_grow_with_number_of_snapshots() {
    let fleet = merged(&(0..50).map(|at| snapshot("a", 10 * at, vec![row("f", 1), row("f", 2)])).collect::<Vec<_>>());
    assert_eq!(fleet.counts().len(), 2);
    assert_eq!((packets(&fleet, "a", Some("f")), packets(&fleet, "a", None)), (150.0, 200.0));
}

/// A baseline of an older version has no machine identifiers.
#[test]
fn no_host_is_silent_because_its_name_has_a_machine_now() {
    let of = |machine: Option<&str>| Snapshot { machine: machine.map(Into::into), ..snapshot("a", 0, vec![]) };
    let silent = |now: &[Snapshot], before: &[Snapshot]| {
        let mut fleet = merged(now);
        fleet.baseline = Some(Box::new(merged(before)));
        let found = crate::analyse::analyse(&fleet, &Options::default());
        let silent = found.into_iter().find(|finding| finding.kind == crate::finding::Kind::Silent);
        silent.map(|finding| finding.hosts.named.into_iter().map(|host| host.name).collect::<Vec<_>>())
    };
    let both = [of(Some("1")), of(Some("2"))];
    assert_eq!(silent(&both, &[of(None)]), None);
    assert_eq!(silent(&[of(None)], &both), None);
    assert_eq!(silent(&both, &both), None);
    assert_eq!(silent(&both[..1], &both), Some(vec!["a (machine 2)".to_owned()]));
    assert_eq!(silent(&both[1..], &both[..1]), Some(vec!["a".to_owned()]));
}

#[test]
fn drops_that_are_not_packets_are_counted_apart() {
    let kinds = ["copy", "unix", "empty", "hardware", "later"].map(|kind| Row { kind: kind.into(), ..row("f", 5) });
    let fleet = merged(&[snapshot("a", 0, kinds.into())]);
    assert_eq!((packets(&fleet, "a", Some("f")), fleet.not_packets), (10.0, Some(Amount::Whole(15))));
    assert_eq!(fleet.hosts()[0].unbalanced, 0);
}

#[test]
fn changed_rows_are_reported() {
    let mut changed = snapshot("a", 0, vec![row("tcp_v4_rcv", 2)]);
    changed.drops[0].packets = 3;
    assert_eq!(changed.unaccounted(), Some(-1));
    assert_eq!(merged(&[changed]).hosts()[0].unbalanced, 1);
}

#[test]
fn only_simultaneous_drops_are_a_burst() {
    let steady = row("tcp_v4_rcv", 50_000);
    let at_once = Row { first_seen: Timestamp(3 * SECOND), last_seen: Timestamp(5 * SECOND), ..steady.clone() };
    let few = Row { packets: 500, ..at_once.clone() };
    let fleet = merged(&[snapshot("a", 0, vec![steady, at_once, few])]);
    let found: Vec<_> = fleet.bursts.iter().map(|burst| (burst.rate, burst.seconds, burst.at)).collect();
    assert_eq!(found, [(25_000.0, 2.0, Some(Timestamp(3 * SECOND)))]);
}

#[test]
fn latest_snapshot_describes_the_host() {
    let older = Snapshot { kernel: "6.1.0".into(), ..snapshot("a", 10, vec![]) };
    let oldest = Snapshot { kernel: "5.10.0".into(), ..snapshot("a", 0, vec![]) };
    for order in [[&snapshot("a", 20, vec![]), &older, &oldest], [&oldest, &snapshot("a", 20, vec![]), &older]] {
        let fleet = merged(&order.map(Clone::clone));
        assert_eq!(fleet.hosts()[0].kernel.as_deref(), Some("6.12.1"));
        assert_eq!(fleet.hosts()[0].seconds, 30.0);
    }
}

#[test]
fn labels_are_properties_that_hosts_share() {
    let interface = |name: &str, driver: Option<&str>| Interface {
        name: name.into(),
        class: "physical".into(),
        driver: driver.map(Into::into),
    };
    let mut snapshot = snapshot("a", 0, vec![]);
    snapshot.interfaces =
        vec![interface("b", Some("mlx5_core")), interface("a", Some("e1000e")), interface("lo", None)];
    let mut merge = Merge::default();
    merge.add(&snapshot, Some("rack-7")).unwrap();
    let fleet = merge.into_fleet();
    let labels: Vec<_> = fleet.hosts()[0].labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(labels, ["driver=e1000e+mlx5_core", "folder=rack-7", "version=1.2.3"]);
    assert_eq!(fleet.hosts()[0].backend.as_deref(), Some("ebpf/tp_btf"));
}

/// A row with its drops divided between two pods and a receiver whose owner is unknown.
fn divided(row: &Row) -> [Row; 3] {
    let of = |pod: Option<&str>, packets| {
        let attribution = if pod.is_some() { "attributed" } else { "unknown" };
        let owner = RowOwner { attribution: attribution.into(), pod: pod.map(Into::into), ..RowOwner::default() };
        Row { owner: Some(owner), packets, bytes: Some(packets * 60), ..row.clone() }
    };
    [of(Some("shop/web"), row.packets - 3), of(Some("shop/db"), 2), of(None, 1)]
}

#[test]
fn snapshots_with_and_without_owners_add_up() {
    let storm = Row { first_seen: Timestamp(SECOND), last_seen: Timestamp(3 * SECOND), ..row("g", 900_000) };
    let rows = vec![row("f", 10), storm];
    let owned = rows.iter().flat_map(divided).collect();
    let plain = merged(&[snapshot("a", 0, rows.clone()), snapshot("a", 10, rows.clone())]);
    let mixed = merged(&[snapshot("a", 0, owned), snapshot("a", 10, rows)]);
    assert_eq!(packets(&mixed, "a", Some("f")), 20.0);
    assert_eq!(mixed.counts(), plain.counts());
    assert_eq!((mixed.bursts.len(), &mixed.bursts), (2, &plain.bursts));
    let sum = |owner| mixed.owned().filter(|it| it.owner == owner).map(|it| it.packets.float()).sum::<f64>();
    assert_eq!((sum("shop/web"), sum("shop/db")), (7.0 + 899_997.0, 4.0));
    assert_eq!((mixed.owned().count(), plain.owned().count()), (4, 0), "an unknown owner is none");
}

#[test]
fn losses_outside_add_up_and_stay_unknown_where_they_are() {
    let counter = |name: &str, outside| OutsideCounter {
        counter: name.into(),
        interface: None,
        class: None,
        netns_name: None,
        own_netns: None,
        rise: 9,
        outside,
        at_most_outside: outside,
    };
    let of = |host: &str, second, counters| Snapshot {
        outside: Some(Outside { namespaces: 1, gaps: 0, counters }),
        ..snapshot(host, second, vec![])
    };
    let fleet = merged(&[
        of("a", 0, vec![counter("TcpExtListenDrops", Some(3)), counter("TcpExtListenDrops", Some(4))]),
        of("a", 10, vec![counter("TcpExtListenDrops", Some(5)), counter("rx_dropped", None)]),
        snapshot("b", 0, vec![]),
    ]);
    let outside = |host: &str| fleet.find(host).unwrap().outside.clone();
    let expected = [("TcpExtListenDrops", 12_u64), ("rx_dropped", 0)].map(|(name, sum)| (name.to_owned(), sum.into()));
    assert_eq!((outside("a"), outside("b")), (Some(expected.into()), None));
}
