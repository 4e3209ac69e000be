//! Measures the naming and the join of the events of two sources, as `--source both` does: the normaliser resolves the
//! key of a kernel program's record, the drop monitor's half has its key; then the union joins and sums both.
//!
//! `cargo bench -p tracer --bench union`

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use droptrace_base::domain::dedupe::Moment;
use droptrace_base::domain::event::{DropEvent, NamedKey, Origin, PacketStart, Timestamp};
use droptrace_base::domain::facts::Facts;
use tracer::backend::ebpf::Report;
use tracer::identity::netns::Names;
use tracer::kernel::clock::Clock;
use tracer::kernel::reasons::ReasonNames;
use tracer::pipeline::normalise::Normaliser;
use tracer::pipeline::union::{Union, UnionOptions};
use tracer_common::{DropKey, RecordHeader};

/// Drops between two reads of the clock.
const BATCH: u64 = 1024;
/// Time between two drops: 1 250 000 a second.
const SPACING_NS: u64 = 800;
/// Drops that wait for the drop monitor's message.
const IN_FLIGHT: u64 = 10_000;
const SITES: u64 = 8;

struct Run {
    union: Union,
    normaliser: Normaliser,
    /// The clock of the drop monitor's timestamps.
    clock: Clock,
    /// The drop monitor's keys, one for each of eight drop sites.
    net_dm_keys: Vec<Arc<NamedKey>>,
    bytes: [u8; 128],
    next: u64,
}

fn report(index: u64) -> Report {
    let key = DropKey { location: 0xffff_ffff_8204_5927 + index % SITES * 64, reason: 2, ..DropKey::default() };
    let header = RecordHeader { timestamp_ns: index * SPACING_NS, key, length: 106, ..RecordHeader::default() };
    Report { header, start: PacketStart::Mac }
}

impl Run {
    fn begun(kept: usize) -> Self {
        let mut normaliser = Normaliser::new(ReasonNames::without_types(), Arc::new(Names::new()), None, None);
        let key = |index| normaliser.named_key(&report(index).header.key, report(index).names(), None);
        let net_dm_keys = (0..SITES).map(key).collect();
        let union = Union::new(UnionOptions::of_bytes(128, kept));
        let mut run = Self { union, normaliser, clock: Clock::new(), net_dm_keys, bytes: [0x5a; 128], next: 0 };
        while run.next < 2_000_000 {
            run.batch();
        }
        run
    }

    fn batch(&mut self) {
        let Self { union, normaliser, clock, net_dm_keys, bytes, next } = self;
        for index in *next..*next + BATCH {
            let now = Moment(index * SPACING_NS);
            // The position of TCP's sequence number.
            bytes[34..42].copy_from_slice(&index.to_be_bytes());
            let report = report(index);
            let key = normaliser.named_key(&report.header.key, report.names(), None);
            union.take(now, Origin::Ebpf, &normaliser.event(&report, bytes, &key, None, &[]));
            while union.next_settled().is_some() {}
            let Some(late) = index.checked_sub(IN_FLIGHT) else { continue };
            bytes[34..42].copy_from_slice(&late.to_be_bytes());
            let key = &net_dm_keys[usize::try_from(late % SITES).unwrap_or(0)];
            let (timestamp, start) = (Timestamp(clock.real(late * SPACING_NS).0 + 3_000), PacketStart::Mac);
            let event = DropEvent {
                stack: &[],
                process: None,
                facts: Facts::default(),
                timestamp,
                key,
                seen_by: &[Origin::NetDm],
                length: 106,
                start,
                bytes,
            };
            union.take(now, Origin::NetDm, &event);
            while union.next_settled().is_some() {}
        }
        union.advance(Moment(*next * SPACING_NS));
        while union.next_settled().is_some() {}
        *next += BATCH;
    }
}

fn named_and_joined(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("named_and_joined");
    // Observations of both sources.
    group.throughput(Throughput::Elements(2 * BATCH));
    for kept in [0, 128] {
        let mut run = None;
        group.bench_function(BenchmarkId::new("bytes_kept", kept), |bencher| {
            let run = run.get_or_insert_with(|| Run::begun(kept));
            bencher.iter(|| run.batch());
        });
        let ledger = run.map(|run| run.union.ledger());
        assert!(ledger.is_none_or(|ledger| ledger.duplicates > 0 && ledger.unaccounted() == 0), "{ledger:?}");
    }
    group.finish();
}

criterion_group!(benches, named_and_joined);
criterion_main!(benches);
