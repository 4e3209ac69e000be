//! Measures the comparison of two sources' counts at many drop sites.
//!
//! `cargo bench -p tracer --bench compare`

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use droptrace_base::domain::compare::{Evidence, SiteEvidence, compare, side_by_side};
use tracer::pipeline::account::Site;

/// Number of drop sites: the number of keys that the kernel's map holds.
const SITES: u64 = 8192;

fn site(index: u64) -> Site {
    // The order is not that of the drop sites, as maps yield them.
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Site { pc: 0xffff_ffff_8000_0000 + mixed, reason: Some((index % 80) as u32) }
}

fn totals(criterion: &mut Criterion) {
    let ebpf: Vec<(Site, u64)> = (0..SITES).map(|index| (site(index), 1000 + index)).collect();
    // The second source has the drop sites in another order, lacks some, and missed drops at most of them.
    let seen = (0..SITES).rev().filter(|index| index % 10 != 0);
    let net_dm: Vec<(Site, u64)> = seen.map(|index| (site(index), 990 + index - index % 7)).collect();
    let known = |index| (site(index), SiteEvidence { no_mac_header: 5, ..SiteEvidence::default() });
    let evidence = Evidence {
        sites: (0..SITES).step_by(4).map(known).collect(),
        queue_tail_drops: Some(10_000),
        socket_overruns: 1,
        ..Evidence::default()
    };
    criterion.bench_function("compare/8192_sites", |bencher| {
        bencher.iter(|| {
            let counts = side_by_side(black_box(&ebpf).iter().copied(), black_box(&net_dm).iter().copied());
            compare(counts, &evidence)
        });
    });
}

criterion_group!(benches, totals);
criterion_main!(benches);
