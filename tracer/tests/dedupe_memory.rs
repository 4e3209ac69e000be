//! What joining two sources allocates: nothing in the steady state, and never more than its bound.
//!
//! `cargo test --release -p tracer --test dedupe_memory -- --nocapture` shows the figures.

mod counting;
#[path = "../benches/two_sources/mod.rs"]
#[expect(unreachable_pub, reason = "shared with the benchmark")]
mod two_sources;

use std::sync::Arc;
use std::time::Duration;

use counting::measured;
use droptrace_base::domain::event::{DropEvent, Location, NamedKey, Origin, PacketStart, Reason, Timestamp};
use droptrace_base::domain::facts::Facts;
use tracer::pipeline::account::Account;
use tracer::pipeline::dedupe::{DedupeLimits, Deduper, UniqueDrop};
use tracer::pipeline::union::{Union, UnionOptions};
use two_sources::plain::Plain;
use two_sources::{Storm, moment, take};

/// Drops that wait at once.
const IN_FLIGHT: u64 = 1_000_000;

#[test]
fn a_million_in_flight_stay_under_two_hundred_megabytes() {
    let mut storm = Storm::new(false);
    let mut visited = 0_u64;
    let (deduper, counts) = measured(|| {
        let mut deduper = Deduper::new(DedupeLimits::default());
        for index in 0..IN_FLIGHT {
            take(&mut deduper, moment(index), storm.observe(Origin::Ebpf, index), &mut |_| visited += 1);
        }
        deduper
    });
    let (_plain, plain) = measured(|| {
        let mut plain = Plain::new(DedupeLimits::default());
        for index in 0..IN_FLIGHT {
            plain.take(moment(index), storm.observe(Origin::Ebpf, index), &mut |_| visited += 1);
        }
        plain
    });
    println!("a million in flight: {counts:?}; plain: {plain:?}");
    assert_eq!((deduper.ledger().pending, visited), (IN_FLIGHT, 0));
    assert_eq!(deduper.bytes().cast_signed(), counts.live);
    assert!(deduper.bytes() <= Deduper::<u32>::max_bytes(DedupeLimits::default().max_pending));
    assert!(counts.peak <= 200_000_000, "{counts:?}");
}

#[test]
fn limit_holds_if_only_one_backend_reports_a_storm() {
    let max_pending = 10_000;
    let mut deduper = Deduper::new(DedupeLimits { max_pending, ..DedupeLimits::default() });
    let mut storm = Storm::new(false);
    for index in 0..300_000 {
        take(&mut deduper, moment(index), storm.observe(Origin::Ebpf, index), &mut |_| {});
    }
    let ledger = deduper.ledger();
    assert_eq!((ledger.pending, ledger.ebpf.alone.evicted), (10_000, 290_000));
    assert!(deduper.bytes() <= Deduper::<u32>::max_bytes(max_pending), "{}", deduper.bytes());
}

#[test]
fn the_steady_state_allocates_nothing() {
    for alike in [false, true] {
        let mut storm = Storm::new(alike);
        let limits = DedupeLimits { wait: Duration::from_millis(50), ..DedupeLimits::default() };
        let (mut deduper, mut account) = (Deduper::new(limits), Account::default());
        let mut run = |from: u64, to: u64| {
            let mut visit = |drop: &UniqueDrop<u32>| account.add(drop);
            for index in from..to {
                take(&mut deduper, moment(index), storm.observe(Origin::Ebpf, index), &mut visit);
                if let Some(late) = index.checked_sub(1000)
                    && late % 3 == 0
                {
                    take(&mut deduper, moment(index), storm.observe(Origin::NetDm, late), &mut visit);
                }
            }
        };
        // The first are those that make room, until as many time out as come.
        run(0, 300_000);
        let ((), counts) = measured(|| run(300_000, 600_000));
        assert_eq!(counts.allocations, 0);
        assert!(account.total().both > 0);
    }
}

/// Also with the bytes of packets, which wait with them, and the names of their keys.
#[test]
fn drops_with_their_bytes_are_joined_without_allocating() {
    let reason = Reason { value: Some(6), subsystem: "core".into(), name: "SOCKET_RCVBUFF".into() };
    let key = Arc::new(NamedKey {
        reason: reason.into(),
        location: Location { address: 7, symbol: None, trap_group: None }.into(),
        protocol: 0x800,
        ifindex: 1,
        ..NamedKey::default()
    });
    let mut union = Union::new(UnionOptions { captured: 128, kept: 128, wait: Duration::from_millis(50) });
    let mut bytes = [0x5a; 128];
    let mut shown = 0_u64;
    let mut run = |from: u64, to: u64| {
        for index in from..to {
            let now = moment(index);
            for (origin, number) in [(Origin::Ebpf, Some(index)), (Origin::NetDm, index.checked_sub(1000))] {
                let Some(number) = number.filter(|number| origin == Origin::Ebpf || number % 3 == 0) else { continue };
                bytes[34..42].copy_from_slice(&number.to_be_bytes());
                let (timestamp, seen_by) = (Timestamp(moment(number).0), origin.alone());
                let (length, start) = (128, PacketStart::Mac);
                let event = DropEvent {
                    stack: &[],
                    process: None,
                    timestamp,
                    key: &key,
                    seen_by,
                    length,
                    start,
                    bytes: &bytes,
                    facts: Facts::default(),
                };
                union.advance(now);
                while union.next_settled().is_some() {
                    shown += 1;
                }
                union.take(now, origin, &event);
                while union.next_settled().is_some() {
                    shown += 1;
                }
            }
        }
    };
    run(0, 300_000);
    let ((), counts) = measured(|| run(300_000, 600_000));
    assert_eq!(counts.allocations, 0);
    assert!(union.account().total().both > 0 && union.account().total().packets() == shown);
}
