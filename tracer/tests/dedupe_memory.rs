//! What joining two sources allocates: nothing in the steady state, and never more than its bound.
//!
//! `cargo test --release -p tracer --test dedupe_memory -- --nocapture` shows the figures.

#![expect(unsafe_code, reason = "counting allocations takes an allocator of its own")]

#[path = "../benches/two_sources/mod.rs"]
#[expect(unreachable_pub, reason = "shared with the benchmark")]
mod two_sources;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use tracer::event::Origin;
use tracer::pipeline::account::Account;
use tracer::pipeline::dedupe::{DedupeLimits, Deduper, UniqueDrop};
use two_sources::plain::Plain;
use two_sources::{Storm, moment};

/// Drops that wait at once.
const IN_FLIGHT: u64 = 1_000_000;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, live: 0, peak: 0 }) };
}

/// What this thread allocated.
#[derive(Clone, Copy)]
struct Counts {
    allocations: usize,
    /// Bytes now.
    live: isize,
    /// Bytes at most, with old and new both there while a block is moved.
    peak: isize,
}

fn count(allocations: usize, bytes: isize) {
    let mut counts = COUNTS.get();
    counts.allocations += allocations;
    counts.live += bytes;
    counts.peak = counts.peak.max(counts.live);
    COUNTS.set(counts);
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting allocates nothing. `realloc` is the
// trait's own: allocate, copy, free.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes allocated by `run`: those left, and the most at any time.
fn measured<T>(run: impl FnOnce() -> T) -> (T, isize, isize) {
    let before = COUNTS.get();
    COUNTS.set(Counts { peak: before.live, ..before });
    let result = run();
    let after = COUNTS.get();
    (result, after.live - before.live, after.peak - before.live)
}

#[test]
fn a_million_in_flight_stay_under_two_hundred_megabytes() {
    let mut storm = Storm::new(false);
    let mut told = 0_u64;
    let (deduper, live, peak) = measured(|| {
        let mut deduper = Deduper::new(DedupeLimits::default());
        for index in 0..IN_FLIGHT {
            deduper.hear(moment(index), storm.hear(Origin::Ebpf, index), &mut |_| told += 1);
        }
        deduper
    });
    let (_plain, plain_live, plain_peak) = measured(|| {
        let mut plain = Plain::new(DedupeLimits::default());
        for index in 0..IN_FLIGHT {
            plain.hear(moment(index), storm.hear(Origin::Ebpf, index), &mut |_| told += 1);
        }
        plain
    });
    println!("a million in flight, bytes now and at most: {live} {peak}; plain: {plain_live} {plain_peak}");
    assert_eq!((deduper.ledger().pending, told), (IN_FLIGHT, 0));
    assert_eq!(deduper.bytes().cast_signed(), live);
    assert!(deduper.bytes() <= Deduper::<u32>::max_bytes(DedupeLimits::default().max_pending));
    assert!(peak <= 200_000_000, "{peak}");
}

#[test]
fn the_bound_holds_in_a_storm_that_nobody_else_hears() {
    let max_pending = 10_000;
    let mut deduper = Deduper::new(DedupeLimits { max_pending, ..DedupeLimits::default() });
    let mut storm = Storm::new(false);
    for index in 0..300_000 {
        deduper.hear(moment(index), storm.hear(Origin::Ebpf, index), &mut |_| {});
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
            let mut tell = |drop: &UniqueDrop<u32>| account.add(drop);
            for index in from..to {
                deduper.hear(moment(index), storm.hear(Origin::Ebpf, index), &mut tell);
                if let Some(late) = index.checked_sub(1000)
                    && late % 3 == 0
                {
                    deduper.hear(moment(index), storm.hear(Origin::NetDm, late), &mut tell);
                }
            }
        };
        // The first are those that make room, until as many time out as come.
        run(0, 300_000);
        let before = COUNTS.get().allocations;
        assert!(before > 0, "the allocator does not count");
        run(300_000, 600_000);
        assert_eq!(COUNTS.get().allocations - before, 0);
        assert!(account.total().both > 0);
    }
}
