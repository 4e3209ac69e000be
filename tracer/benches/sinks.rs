//! Measures the output of one drop: the decoding of its leading bytes, and the writing of its line.
//!
//! `cargo bench -p tracer --bench sinks`

use std::hint::black_box;
use std::io;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use droptrace_base::domain::event::{DropEvent, Location, NamedKey, Origin, PacketStart, Reason, Symbol, Timestamp};
use droptrace_base::domain::facts::Facts;
use etherparse::PacketBuilder;
use tracer::packet::decode;
use tracer::sink::{DropSink, TraceJson, TraceText, TraceTextOptions};

fn key() -> NamedKey {
    let symbol = Symbol { name: "udp_queue_rcv_one_skb".into(), offset: 423, module: None };
    NamedKey {
        reason: Reason { value: Some(6), subsystem: "core".into(), name: "SOCKET_RCVBUFF".into() }.into(),
        location: Location { address: 0xffff_ffff_8204_5927, symbol: Some(symbol), trap_group: None }.into(),
        protocol: 0x0800,
        interface: Some("lo".into()),
        ifindex: 1,
        netns: 4_026_531_833,
        netns_cookie: 1,
        ..NamedKey::default()
    }
}

fn packet() -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(40_000, 4444);
    builder.write(&mut bytes, &[7; 64]).expect("a vector takes all");
    bytes
}

fn one_drop(criterion: &mut Criterion) {
    let (key, bytes) = (Arc::new(key()), packet());
    let mut timestamp = 1_767_225_600_000_000_000;
    let mut event = move |sink: &mut dyn DropSink| {
        timestamp += 1_234;
        let event = DropEvent {
            stack: &[],
            process: None,
            timestamp: Timestamp(timestamp),
            key: &key,
            seen_by: &[Origin::Ebpf],
            length: 106,
            start: PacketStart::Mac,
            bytes: &bytes,
            facts: Facts::default(),
        };
        sink.event(black_box(&event)).expect("a sink of zeros takes all");
    };
    let mut group = criterion.benchmark_group("one_drop");
    group.throughput(Throughput::Elements(1));
    let bytes = packet();
    group.bench_function("decode", |bencher| bencher.iter(|| decode(PacketStart::Mac, 0x0800, black_box(&bytes))));
    let mut json = TraceJson::new(io::sink());
    group.bench_function("json", |bencher| bencher.iter(|| event(&mut json)));
    let mut text = TraceText::new(io::sink(), TraceTextOptions::default());
    group.bench_function("text", |bencher| bencher.iter(|| event(&mut text)));
    group.finish();
}

criterion_group!(benches, one_drop);
criterion_main!(benches);
