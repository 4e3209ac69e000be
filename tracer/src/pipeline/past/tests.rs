use super::*;
use crate::domain::ledger::{EbpfLedger, Ledger};
use crate::domain::past::GapCause;
use crate::sink::samples::{NEW_YEAR, report, totals};

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp(NEW_YEAR.0 + seconds * SECOND)
}

/// An interval of ten seconds of the run that started at `run`.
fn interval(run: u64, number: u64, is_last: bool) -> Interval {
    let packets: u64 = totals().iter().map(|total| total.packets).sum();
    let ledger = EbpfLedger { hits: packets, accounted: packets, ..EbpfLedger::default() };
    Interval {
        host: report(vec![], vec![]).host,
        run: ("boot".into(), at(run)),
        number,
        started_at: at(run + number * 10),
        ended_at: at(run + number * 10 + 10),
        elapsed: Duration::from_secs(10),
        is_last,
        home_netns: 7,
        selection: String::new(),
        has_owners: false,
        sources: vec![SourceReport { mode: "tp_btf", ledger: Ledger::Ebpf(ledger), held_back: vec![] }],
        drops: totals(),
        overflow: vec![],
        records: vec![],
        records_left_out: 0,
    }
}

fn sum_of(intervals: Vec<Interval>, filter: Option<&str>) -> PastSum {
    let filter =
        filter.map(|text| RowFilter { filter: Filter::parse(text).unwrap(), usual: UsualDrops::built_in().unwrap() });
    let mut sum = PastSum::new(Span { from: at(0), to: at(200) }, filter);
    for interval in intervals {
        sum.add(Read::Interval(Box::new(interval)));
    }
    sum
}

fn gaps(intervals: Vec<Interval>) -> Vec<(u64, u64, GapCause)> {
    let report = sum_of(intervals, None).report(at(150)).unwrap();
    let seconds = |time: Timestamp| (time.0 - NEW_YEAR.0) / SECOND;
    let gaps = report.past.unwrap().gaps;
    gaps.into_iter().map(|gap| (seconds(gap.span.from), seconds(gap.span.to), gap.cause)).collect()
}

#[test]
fn gaps_have_causes_and_end_at_the_present() {
    use GapCause::{After, Before, Killed, Missing, NotRunning};
    assert_eq!(gaps(vec![interval(0, 0, false), interval(0, 1, false)]), [(20, 150, After)]);
    assert_eq!(
        gaps(vec![interval(20, 0, false), interval(20, 2, true), interval(90, 0, false), interval(120, 0, true)]),
        [(0, 20, Before), (30, 40, Missing), (50, 90, NotRunning), (100, 120, Killed), (130, 150, After)]
    );
    // The order of files is not that of runs where a clock was set.
    assert_eq!(gaps(vec![interval(0, 1, true), interval(0, 0, false)]), [(20, 150, After)]);
    assert!(sum_of(vec![], None).report(at(150)).is_none());
}

#[test]
fn sum_is_that_of_the_ledgers() {
    let report = sum_of(vec![interval(0, 0, false), interval(0, 1, true), interval(50, 0, true)], None).report(at(150));
    let report = report.unwrap();
    let packets: u64 = report.drops.iter().map(|total| total.packets).sum();
    let Ledger::Ebpf(ledger) = report.sources[0].ledger else { panic!("{:?}", report.sources) };
    assert_eq!((packets, ledger.mismatch(), report.sources.len()), (ledger.accounted, 0, 1));
    assert_eq!((report.drops.len(), report.duration), (totals().len(), Duration::from_secs(30)));
}

#[test]
fn filtered_rows_are_in_the_ledger() {
    let all = sum_of(vec![interval(0, 0, true)], None).report(at(150)).unwrap();
    let some =
        sum_of(vec![interval(0, 0, true)], Some("reason SOCKET_RCVBUFF and not unusual")).report(at(150)).unwrap();
    let part = sum_of(vec![interval(0, 0, true)], Some("reason SOCKET_RCVBUFF")).report(at(150)).unwrap();
    let counted = |report: &StatReport| report.drops.iter().map(|total| total.packets).sum::<u64>();
    for report in [&some, &part] {
        let Ledger::Ebpf(ledger) = report.sources[0].ledger else { panic!("{:?}", report.sources) };
        assert_eq!((ledger.accounted, ledger.accounted + ledger.filtered), (counted(report), counted(&all)));
        assert_eq!((ledger.mismatch(), ledger.unrecorded), (0, 0));
    }
    assert!(counted(&part) > 0 && counted(&part) < counted(&all));
}

#[test]
fn site_at_another_address_is_the_same_after_a_reboot() {
    let moved = |mut it: Interval| {
        it.run.0 = "later".into();
        for total in &mut it.drops {
            let location = Location { address: total.key.location.address + 0x1000, ..(*total.key.location).clone() };
            total.key = NamedKey { location: location.into(), ..(*total.key).clone() }.into();
        }
        it
    };
    let report = sum_of(vec![interval(0, 0, true), moved(interval(50, 0, true))], None).report(at(150)).unwrap();
    let named = totals().iter().filter(|total| total.key.location.symbol.is_some()).count();
    let nameless = totals().len() - named;
    assert_eq!(report.drops.len(), named + 2 * nameless);
}
