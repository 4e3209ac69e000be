use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::backend::history::{History, Interval, Limits, Read};
use crate::domain::event::{DropEvent, NamedKey, Origin, PacketStart};
use crate::domain::facts::Facts;
use crate::domain::ledger::Ledger;
use crate::domain::report::StatReport;
use crate::domain::total::DropTotal;
use crate::pipeline::past::PastSum;
use crate::sink::samples::{NEW_YEAR, host, key, overflow, owned_key, reason, report, totals};

const SECOND: u64 = 1_000_000_000;
const ALWAYS: Span = Span { from: Timestamp(0), to: Timestamp(u64::MAX) };

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("droptrace-recorder-{}-{name}", std::process::id())))
    }

    fn recorder(&self, bytes: u64) -> Recorder {
        let folder = Folder::open(&self.0, Limits { bytes, age: Duration::from_hours(24) }).unwrap();
        let facts = RunFacts {
            host: host(),
            boot: "b007".into(),
            started_at: NEW_YEAR,
            home_netns: 7,
            selection: String::new(),
            has_owners: false,
        };
        Recorder::new(folder, facts, at(0))
    }

    fn intervals(&self) -> Vec<Interval> {
        let mut intervals = vec![];
        let take = |read| match read {
            Read::Interval(interval) => intervals.push(*interval),
            other => panic!("{other:?}"),
        };
        History::open(&self.0).unwrap().read(ALWAYS, take).unwrap();
        intervals
    }

    fn report(&self) -> StatReport {
        let mut sum = PastSum::new(ALWAYS, None);
        History::open(&self.0).unwrap().read(ALWAYS, |read| sum.add(read)).unwrap();
        sum.report(at(1_000).real).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// So many seconds after the new year, by clocks that agree.
fn at(seconds: u64) -> Instant {
    Instant { real: Timestamp(NEW_YEAR.0 + seconds * SECOND), boot: Duration::from_secs(500 + seconds) }
}

fn moment(factor: u64, at: Instant, is_last: bool) -> Moment {
    let mut all = report(totals(), overflow());
    for total in &mut all.drops {
        total.packets *= factor;
        total.bytes = total.bytes.map(|bytes| bytes * factor);
    }
    all.overflow.iter_mut().for_each(|total| total.packets *= factor);
    if let Ledger::Ebpf(ledger) = &mut all.sources[0].ledger {
        ledger.accounted *= factor;
        ledger.overflow *= factor;
        ledger.hits *= factor;
    }
    let StatReport { drops, overflow, sources, .. } = all;
    Moment { reading: Reading::new(drops, overflow, sources), at, is_last }
}

fn sorted(mut drops: Vec<DropTotal>) -> Vec<DropTotal> {
    drops.sort_by_key(|total| (total.packets, format!("{:?}", total.key)));
    drops
}

#[test]
fn sum_over_all_intervals_is_the_last_reading() {
    let folder = Temporary::new("sum");
    let mut recorder = folder.recorder(1 << 20);
    for (number, factor) in [(1, 1), (2, 1), (3, 4)] {
        recorder.write(&moment(factor, at(number), number == 3), &Kept::default()).unwrap();
    }
    let report = folder.report();
    let last = moment(4, at(3), true).reading;
    assert_eq!(sorted(report.drops), sorted(last.drops));
    assert_eq!(report.sources, last.sources);
    let packets =
        |totals: &[crate::domain::total::OverflowTotal]| totals.iter().map(|total| total.packets).sum::<u64>();
    assert_eq!(packets(&report.overflow), packets(&last.overflow));
    assert_eq!((report.started_at, report.duration), (NEW_YEAR, Duration::from_secs(3)));
    let intervals = folder.intervals();
    let ends: Vec<_> = intervals.iter().map(|it| (it.number, it.is_last, it.drops.len())).collect();
    assert_eq!(ends, [(0, false, totals().len()), (1, false, 0), (2, true, totals().len())]);
    assert!(report.past.unwrap().gaps.iter().all(|gap| gap.span.from.0 == 0 || gap.span.to == at(1_000).real));
}

#[test]
fn interval_that_cannot_be_written_is_part_of_the_next_one() {
    let folder = Temporary::new("failed");
    // The files have room for no frame at first.
    let mut recorder = folder.recorder(10);
    assert!(recorder.write(&moment(1, at(1), false), &Kept::default()).is_err());
    drop(recorder);
    let mut recorder = folder.recorder(1 << 20);
    fs::remove_dir(&folder.0).unwrap();
    assert!(recorder.write(&moment(1, at(1), false), &Kept::default()).is_err());
    fs::create_dir(&folder.0).unwrap();
    recorder.write(&moment(3, at(2), false), &Kept::default()).unwrap();
    let intervals = folder.intervals();
    assert_eq!((intervals.len(), intervals[0].started_at, intervals[0].elapsed), (1, NEW_YEAR, Duration::from_secs(2)));
    assert_eq!(sorted(folder.report().drops), sorted(moment(3, at(2), false).reading.drops));
}

#[test]
fn clock_that_is_set_is_reported_and_both_times_find_the_interval() {
    let folder = Temporary::new("clock");
    let mut recorder = folder.recorder(1 << 20);
    recorder.write(&moment(1, at(10), false), &Kept::default()).unwrap();
    // An hour back, then on.
    let back = |seconds: u64| Instant { real: Timestamp(at(seconds).real.0 - 3_600 * SECOND), ..at(seconds) };
    recorder.write(&moment(2, back(20), false), &Kept::default()).unwrap();
    recorder.write(&moment(3, back(30), true), &Kept::default()).unwrap();
    let found = |from: Timestamp, seconds: u64| {
        let mut sum = PastSum::new(ALWAYS, None);
        let span = Span { from, to: Timestamp(from.0 + seconds * SECOND) };
        History::open(&folder.0).unwrap().read(span, |read| sum.add(read)).unwrap();
        sum.report(at(100).real).map(|report| report.past.unwrap())
    };
    let steps = |past: &crate::domain::past::Past| past.steps.iter().map(|step| step.by_ns).collect::<Vec<_>>();
    let by = -3_600 * i64::try_from(SECOND).unwrap();
    let by_old = found(at(15).real, 1).unwrap();
    assert_eq!((by_old.intervals, steps(&by_old)), (1, vec![by]));
    let by_new = found(back(12).real, 1).unwrap();
    assert_eq!((by_new.intervals, steps(&by_new)), (1, vec![by]));
    assert_eq!(found(back(25).real, 1).unwrap().steps, []);
    assert_eq!(found(at(40).real, 1), None);
    assert_eq!(sorted(folder.report().drops), sorted(moment(3, at(30), true).reading.drops));
}

#[test]
fn key_with_an_owner_is_read_as_it_was_written() {
    let folder = Temporary::new("keys");
    let mut reading = moment(1, at(1), true);
    reading.reading.drops = vec![DropTotal { key: owned_key().into(), ..totals()[0].clone() }];
    folder.recorder(1 << 20).write(&reading, &Kept::default()).unwrap();
    assert_eq!(folder.intervals()[0].drops, reading.reading.drops);
}

fn event<'e>(key: &'e Arc<NamedKey>, bytes: &'e [u8]) -> DropEvent<'e> {
    DropEvent {
        timestamp: NEW_YEAR,
        key,
        seen_by: Origin::Ebpf.alone(),
        length: 60,
        start: PacketStart::Nothing,
        bytes,
        facts: Facts::default(),
        process: None,
        stack: &[],
    }
}

#[test]
fn single_drops_are_bounded_and_rows_without_one_come_first() {
    let never = |ifindex| Arc::new(NamedKey { reason: reason(3, "core", "IP_CSUM"), ifindex, ..key() });
    assert_eq!(usual(&never(1)), Some(crate::explain::Usual::Never));
    let mut kept = Kept::default();
    let often = Arc::new(NamedKey { reason: reason(2, "core", "NO_SOCKET"), ..key() });
    kept.add(&event(&often, &[])).unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    for ifindex in 1..=20 {
        for _ in 0..10 {
            kept.add(&event(&never(ifindex), &[1, 2, 3])).unwrap();
        }
    }
    // The first of each row, and 32 further ones.
    assert_eq!((kept.count(), kept.left_out()), (20 + 32, 200 - 52));
    for ifindex in 21..=40 {
        kept.add(&event(&never(ifindex), &[])).unwrap();
    }
    assert_eq!((kept.count(), kept.left_out()), (64, 148 + 8));
    let mut later = Kept::default();
    later.add(&event(&never(1), &[])).unwrap();
    kept.append(&later);
    assert_eq!((kept.count(), kept.left_out()), (64, 157));

    let folder = Temporary::new("kept");
    folder.recorder(1 << 20).write(&moment(1, at(1), true), &kept).unwrap();
    let interval = &folder.intervals()[0];
    assert_eq!((interval.records.len(), interval.records_left_out), (64, 157));
    assert_eq!((&*interval.records[0].bytes, &interval.records[0].key), (&[1, 2, 3][..], &*never(1)));
}

fn usual(key: &NamedKey) -> Option<crate::explain::Usual> {
    crate::explain::usual_of(key)
}

/// Measures an interval with 8,192 rows: `cargo test --release -p tracer --lib -- --ignored --nocapture cost_of_an_interval`.
#[test]
#[ignore = "measures"]
#[expect(clippy::print_stderr, reason = "the result")]
fn cost_of_an_interval() {
    let folder = Temporary::new("cost");
    let mut recorder = folder.recorder(1 << 30);
    let names = ["eth0", "eth1", "veth1a2b3c", "lo", "cali0123456"];
    let mut drops: Vec<DropTotal> = (0..8_192_u32)
        .map(|number| {
            let sample = &totals()[number as usize % totals().len()];
            let interface = names[number as usize % names.len()];
            let key = NamedKey {
                ifindex: number % 97 + 1,
                interface: Some(interface.into()),
                netns: 4_026_532_000 + number / 97,
                netns_cookie: u64::from(number / 97) + 4_097,
                ..(*sample.key).clone()
            };
            DropTotal { key: key.into(), packets: u64::from(number) * 7_919 % 100_003 + 1, ..sample.clone() }
        })
        .collect();
    let mut last = Written { frame: 0, files: 0 };
    let mut times = vec![];
    for interval in 1..=20 {
        for (number, total) in (1..).zip(&mut drops) {
            total.packets += number * interval % 1_009 + 1;
            total.last_seen = Timestamp(at(interval * 10).real.0 - number * 100_003);
        }
        let reading = Reading::new(drops.clone(), vec![], report(vec![], vec![]).sources);
        let moment = Moment { reading, at: at(interval * 10), is_last: false };
        let started = std::time::Instant::now();
        last = recorder.write(&moment, &Kept::default()).unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    eprintln!("{} bytes, median of {:?}, from {:?} to {:?}", last.frame, times[10], times[0], times[19]);
}
