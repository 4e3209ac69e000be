use std::sync::Arc;

use super::*;
use crate::backend::ebpf::Mode;
use crate::domain::event::{Location, NamedKey, Reason, Symbol};
use crate::domain::ledger::{EbpfLedger, Ledger};
use crate::domain::total::OverflowTotal;
use crate::domain::unavailable::Unavailable;
use crate::metrics::label_set::OFFSET;
use crate::run::UnavailableBackend;

fn facts() -> Facts {
    let unavailable = vec![UnavailableBackend {
        backend: CaptureBackend::FALLBACK_ORDER[0],
        why: Unavailable::new("no capabilities", "grant them"),
    }];
    Facts {
        host: Host { name: "alpha".into(), kernel: "6.18.0".into() },
        machine: Some("0123456789abcdef".into()),
        build_id: None,
        own_netns: 7,
        unavailable: UnavailableBackends(unavailable),
        started_at: Timestamp(5_000_000_000),
    }
}

fn settings(max_series: usize) -> SeriesSettings {
    let series = Bounds { limit: max_series, expire_after: Duration::from_hours(1) };
    SeriesSettings { series, label_set: LabelSet::new(false, None) }
}

fn reason(name: &str) -> Arc<Reason> {
    Reason { value: Some(name.bytes().map(u32::from).sum()), subsystem: "core".into(), name: name.into() }.into()
}

fn total(name: &str, netns: u32, packets: u64) -> DropTotal {
    let symbol = Symbol { name: "tcp_v4_rcv".into(), offset: 16, module: None };
    let key = NamedKey {
        reason: reason(name),
        location: Location { address: 1, symbol: Some(symbol), trap_group: None }.into(),
        protocol: 0x0800,
        interface: Some("lo".into()),
        ifindex: 1,
        netns,
        ..NamedKey::default()
    };
    DropTotal {
        key: key.into(),
        packets,
        bytes: Some(packets * 100),
        first_seen: Timestamp(1),
        last_seen: Timestamp(2),
        seen_by: &[],
        more: 0,
    }
}

fn report(drops: Vec<DropTotal>, overflow: u64) -> StatReport {
    let accounted = drops.iter().map(|total| total.packets).sum();
    let ledger = EbpfLedger { hits: accounted + overflow, accounted, overflow, missed: 0, ..EbpfLedger::default() };
    StatReport {
        host: facts().host,
        started_at: Timestamp(0),
        duration: Duration::from_secs(1),
        is_final: false,
        sources: vec![SourceReport { mode: "raw_tracepoint", ledger: Ledger::Ebpf(ledger), held_back: vec![] }],
        drops,
        overflow: vec![OverflowTotal { reason: Some(reason("NO_SOCKET")), packets: overflow, bytes: Some(0) }],
        hidden: vec![],
        own_netlink_drops: None,
        stacks: None,
        attribution: None,
        flows: None,
        retransmissions: None,
        refused: None,
        outside: None,
        past: None,
    }
}

fn samples<'f>(metrics: &'f Metrics, name: &str) -> &'f [Sample] {
    metrics.families.iter().find(|family| family.name == name).map_or(&[], |family| &family.samples)
}

fn count(sample: &Sample) -> u64 {
    match sample.value {
        Value::Count(count) => count,
        Value::Real(_) => panic!("{sample:?} is no count"),
    }
}

/// The sum of all series, and the count in the ledger.
fn sums(collector: &Collector) -> (u64, u64) {
    let metrics = collector.metrics(&Work::default());
    let is_listed = |sample: &&Sample| ["accounted", "overflow"].contains(&&*sample.labels[1].1);
    let ledger = samples(&metrics, "droptrace_ledger_drops").iter().filter(is_listed).map(count).sum();
    (samples(&metrics, "droptrace_dropped_packets").iter().map(count).sum(), ledger)
}

#[test]
fn the_sum_of_all_series_is_that_of_the_ledger() {
    for limit in [1, 2, 3, 500] {
        let mut collector = Collector::new(facts(), settings(limit));
        for factor in [1, 2, 7] {
            let drops = vec![total("A", 7, 10 * factor), total("B", 7, 5 * factor), total("B", 8, factor)];
            collector.take(&report(drops, 3 * factor), CaptureBackend::Ebpf(Mode::RawTracepoint), Instant::now());
            assert_eq!(sums(&collector), (19 * factor, 19 * factor));
        }
        let metrics = collector.metrics(&Work::default());
        let series = count(&samples(&metrics, "droptrace_series")[0]);
        assert_eq!(
            (series, count(&samples(&metrics, "droptrace_series_limit")[0])),
            (limit.min(5) as u64, limit as u64)
        );
    }
}

#[test]
fn key_with_most_drops_has_its_own_series() {
    let mut collector = Collector::new(facts(), settings(2));
    let drops = vec![total("A", 7, 1), total("B", 7, 50), total("C", 7, 2)];
    collector.take(&report(drops, 0), CaptureBackend::Ebpf(Mode::TpBtf), Instant::now());
    let metrics = collector.metrics(&Work::default());
    let reported: Vec<_> = samples(&metrics, "droptrace_dropped_packets")
        .iter()
        .map(|sample| (&*sample.labels[0].1, count(sample)))
        .collect();
    assert_eq!(reported, [("other", 3), ("B", 50)]);
    let bytes: Vec<_> = samples(&metrics, "droptrace_dropped").iter().map(count).collect();
    assert_eq!(bytes, [300, 5000]);
}

/// Drops at another offset in the same function.
fn elsewhere(total: &DropTotal) -> DropTotal {
    let symbol = Symbol { name: "tcp_v4_rcv".into(), offset: 99, module: None };
    let location = Location { address: 2, symbol: Some(symbol), trap_group: None };
    DropTotal { key: NamedKey { location: location.into(), ..(*total.key).clone() }.into(), ..total.clone() }
}

#[test]
fn series_that_differ_only_by_offset_are_merged_by_default() {
    let drops = |factor| vec![total("A", 7, 10 * factor), elsewhere(&total("A", 7, factor))];
    for (has_offsets, expected) in [(false, vec![(None, 22)]), (true, vec![(Some("0x10"), 20), (Some("0x63"), 2)])] {
        let mut collector =
            Collector::new(facts(), SeriesSettings { label_set: LabelSet::new(has_offsets, None), ..settings(9) });
        for factor in [1, 2] {
            collector.take(&report(drops(factor), 0), CaptureBackend::Ebpf(Mode::TpBtf), Instant::now());
            assert_eq!(sums(&collector), (11 * factor, 11 * factor));
        }
        let metrics = collector.metrics(&Work::default());
        let offset = |sample: &Sample| {
            sample.labels.iter().find(|(name, _)| *name == OFFSET).map(|(_, value)| value.to_string())
        };
        let series = samples(&metrics, "droptrace_dropped_packets").iter().filter(|sample| &*sample.labels[0].1 == "A");
        let series: Vec<_> = series.map(|sample| (offset(sample), count(sample))).collect();
        assert_eq!(series.iter().map(|(offset, count)| (offset.as_deref(), *count)).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn the_backend_is_shown_with_those_that_are_not_available() {
    let mut collector = Collector::new(facts(), settings(9));
    assert!(samples(&collector.metrics(&Work::default()), "droptrace_backend_rank").is_empty());
    collector.take(&report(vec![], 0), CaptureBackend::Ebpf(Mode::RawTracepoint), Instant::now());
    let metrics = collector.metrics(&Work::default());
    assert_eq!(samples(&metrics, "droptrace_backend_rank"), [Sample::new([], 2_u64)]);
    let source = Sample::new([("backend", "ebpf"), ("mode", "raw_tracepoint")], 1_u64);
    assert_eq!(samples(&metrics, "droptrace_backend"), [source]);
    let refusal = Sample::new([("backend", "ebpf"), ("mode", "tp_btf"), ("cause", "no capabilities")], 1_u64);
    assert_eq!(samples(&metrics, "droptrace_backend_unavailable"), [refusal]);
}

#[test]
fn names_of_families_are_unique() {
    let mut collector = Collector::new(facts(), settings(9));
    collector.take(&report(vec![total("A", 7, 1)], 1), CaptureBackend::FALLBACK_ORDER[0], Instant::now());
    let mut names: Vec<_> = collector.metrics(&Work::default()).families.iter().map(|family| family.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
