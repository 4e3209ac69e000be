//! Measures what a recording costs for each drop, from the ring buffer's memory on: a block of records is copied, its
//! numbers get names, and the block is written.
//!
//! `cargo bench -p tracer --bench recording`

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Seek as _, Write};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tracer::backend::dtr::Records;
use tracer::backend::ebpf::Record;
use tracer::identity::netns::Names;
use tracer::kernel::reasons::ReasonNames;
use tracer::pipeline::normalise::{BlockNames, Normaliser};
use tracer::sink::{DropSink, Dtr, RawOptions};
use tracer_common::{DropKey, RecordHeader, START_MAC};
use zerocopy::IntoBytes;

/// Records of a block, as a run reads them at once.
const BLOCK: u64 = 1024;
/// Bytes of a file before it is written from its start again.
const FILE: u64 = 256 << 20;

/// A record of a drop, of which 106 bytes are captured, with room for 128.
fn record(number: u64, keys: u64) -> Vec<u8> {
    let location = 0xffff_ffff_8204_5927 + number % keys * 64;
    let key = DropKey { location, reason: 2, protocol: 0x800, ifindex: 1, ..DropKey::default() };
    let header = RecordHeader {
        timestamp_ns: number * 800,
        key,
        length: 106,
        captured: 106,
        start: START_MAC,
        ..RecordHeader::default()
    };
    [header.as_bytes(), &[0x5a; 128]].concat()
}

/// A file that does not grow beyond a limit.
struct Bounded(File);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.stream_position()? > FILE {
            self.0.rewind()?;
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn one_block(criterion: &mut Criterion) {
    let mut normaliser = Normaliser::new(ReasonNames::without_types(), Arc::new(Names::new()), None, None);
    let mut group = criterion.benchmark_group("recording");
    group.throughput(Throughput::Elements(BLOCK));
    for keys in [1, 8, 64] {
        let ring: Vec<_> = (0..BLOCK).map(|number| record(number, keys)).collect();
        let (mut block, mut names) = (Records::default(), BlockNames::default());
        let mut write = |sink: &mut dyn DropSink| {
            block.clear();
            for record in black_box(&ring) {
                block.push(Record::used(record).expect("a record"));
            }
            normaliser.block_names(&block, &mut names, None, false);
            sink.block(&block, &names).expect("the output takes all");
        };
        let mut nowhere = Dtr::new(io::sink(), RawOptions::default());
        group.bench_function(format!("memory/{keys}"), |bencher| bencher.iter(|| write(&mut nowhere)));
        let path = std::env::temp_dir().join(format!("droptrace-bench-{}.dtr", std::process::id()));
        let mut file = Dtr::new(Bounded(File::create(&path).expect("a file")), RawOptions::default());
        group.bench_function(format!("file/{keys}"), |bencher| bencher.iter(|| write(&mut file)));
        std::fs::remove_file(path).expect("the file is there");
    }
    group.finish();
}

criterion_group!(benches, one_block);
criterion_main!(benches);
