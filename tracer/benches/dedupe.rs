//! Measures the join of two sources: fingerprint, clock, join and sums.
//!
//! `cargo bench -p tracer --bench dedupe`

#[expect(unreachable_pub, reason = "shared with the test of memory")]
mod two_sources;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use droptrace_base::domain::dedupe::Moment;
use droptrace_base::domain::event::Origin;
use tracer::pipeline::account::Account;
use tracer::pipeline::dedupe::{DedupeLimits, Deduper, Observation, UniqueDrop};
use two_sources::plain::Plain;
use two_sources::{Storm, moment, take};

/// Drops between two reads of the clock.
const BATCH: u64 = 1024;

/// A method of joining two sources.
trait Join {
    fn take(&mut self, now: Moment, observation: Observation<u32>, visit: &mut impl FnMut(&UniqueDrop<u32>));
}

impl Join for Deduper<u32> {
    fn take(&mut self, now: Moment, observation: Observation<u32>, visit: &mut impl FnMut(&UniqueDrop<u32>)) {
        take(self, now, observation, visit);
    }
}

impl Join for Plain {
    fn take(&mut self, now: Moment, observation: Observation<u32>, visit: &mut impl FnMut(&UniqueDrop<u32>)) {
        Self::take(self, now, observation, visit);
    }
}

/// A running storm: the kernel program reports drops at once, `NET_DM` later.
struct Run<J> {
    join: J,
    storm: Storm,
    account: Account,
    next: u64,
    /// Drops that wait for `NET_DM`'s message.
    in_flight: u64,
    /// `NET_DM` reports one drop of so many.
    one_of: u64,
}

impl<J: Join> Run<J> {
    /// Starts the run, and fills it with `in_flight` drops.
    fn begun(join: J, alike: bool, in_flight: u64, one_of: u64) -> Self {
        let account = Account::default();
        let mut run = Self { join, storm: Storm::new(alike), account, next: 0, in_flight, one_of };
        // Twice as many drops, so that tables have their final size.
        while run.next < 2 * in_flight + 2_000_000 {
            run.batch();
        }
        run
    }

    fn batch(&mut self) {
        let Self { join, storm, account, .. } = self;
        let mut visit = |drop: &UniqueDrop<u32>| account.add(drop);
        for index in self.next..self.next + BATCH {
            let now = moment(index);
            join.take(now, storm.observe(Origin::Ebpf, index), &mut visit);
            if let Some(late) = index.checked_sub(self.in_flight)
                && late % self.one_of == 0
            {
                join.take(now, storm.observe(Origin::NetDm, late), &mut visit);
            }
        }
        self.next += BATCH;
    }
}

fn both_sources(criterion: &mut Criterion) {
    let cases = [
        ("differ", false, 1_000, 1),
        ("differ", false, 100_000, 1),
        ("differ", false, 1_000_000, 1),
        ("alike", true, 1_000, 1),
        ("alike", true, 1_000_000, 1),
        ("one_in_five_seen_by_both", false, 10_000, 5),
    ];
    let mut group = criterion.benchmark_group("two_sources");
    for (packets, alike, in_flight, one_of) in cases {
        // Observations of both sources.
        group.throughput(Throughput::Elements(BATCH + BATCH / one_of));
        let name = |way: &str| BenchmarkId::new(format!("{way}/{packets}"), in_flight);
        let mut run = None;
        group.bench_function(name("pipeline"), |bencher| {
            let run =
                run.get_or_insert_with(|| Run::begun(Deduper::new(DedupeLimits::default()), alike, in_flight, one_of));
            bencher.iter(|| run.batch());
        });
        let mut run = None;
        group.bench_function(name("plain"), |bencher| {
            let run =
                run.get_or_insert_with(|| Run::begun(Plain::new(DedupeLimits::default()), alike, in_flight, one_of));
            bencher.iter(|| run.batch());
        });
    }
    group.finish();
}

criterion_group!(benches, both_sources);
criterion_main!(benches);
