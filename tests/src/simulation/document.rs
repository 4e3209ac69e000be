//! Counts of a host as a snapshot, in the present format.

use std::cmp::Reverse;

use droptrace_base::domain::event::Timestamp;
use droptrace_base::snapshot::{CaptureBackend, Interface, Ledger, Row, SCHEMA, Snapshot, Source};
use rand::RngExt as _;
use rand_xorshift::XorShiftRng;

use super::catalogue::{PHYSICAL, Series};
use super::hosts::Host;
use super::parameters::{Family, START, WINDOW};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// Bytes of a packet.
const BYTES: u64 = 120;
/// Chance that the drops of a full buffer all are in one short burst, and the shortest and the longest burst in seconds.
const ONE_BURST: f64 = 0.3;
const BURST_SECONDS: (f64, f64) = (1.0, 60.0);

/// The snapshot of a host: the counts are by index of the series, and `day` is the number of days before the window.
pub(super) fn snapshot(
    series: &[Series],
    host: &Host,
    day: usize,
    counts: &[(usize, u64)],
    draws: &mut XorShiftRng,
) -> Snapshot {
    let seconds = host.facts.uptime.filter(|_| day == 0).unwrap_or(WINDOW);
    let end = START * SECOND - day as u64 * DAY + nanoseconds(WINDOW);
    let started_at = end - nanoseconds(seconds);
    let row = |&(at, packets): &(usize, u64)| row(&series[at], packets, started_at, seconds, draws);
    let mut drops: Vec<_> = counts.iter().map(row).collect();
    drops.sort_by_key(|row| Reverse(row.packets));
    let ledger = Ledger {
        accounted: counts.iter().map(|count| count.1).sum(),
        overflow: 0,
        filtered: 0,
        lost: Some(0),
        details: serde_json::Map::new(),
    };
    let (source, mode) = ("ebpf".to_owned(), "tp_btf".to_owned());
    Snapshot {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        host: host.facts.host.clone(),
        machine: None,
        kernel: host.facts.kernel.clone(),
        build_id: Some(format!("{:040x}", host.kernel + 1)),
        started_at: Timestamp(started_at),
        duration_ns: nanoseconds(seconds),
        filter: None,
        interfaces: vec![Interface {
            name: interface(PHYSICAL).into(),
            class: PHYSICAL.into(),
            driver: Some(host.facts.driver.clone()),
        }],
        backend: CaptureBackend { source: source.clone(), mode: mode.clone() },
        unavailable: vec![],
        sources: vec![Source { source, mode, ledger }],
        drops,
        overflow: vec![],
        outside: None,
    }
}

fn row(series: &Series, packets: u64, started_at: u64, seconds: f64, draws: &mut XorShiftRng) -> Row {
    let (first, last) = span(series, packets, seconds, draws);
    Row {
        reason: Some(series.reason.into()),
        subsystem: Some("core".into()),
        symbol: Some(series.symbol.into()),
        offset: Some(423),
        module: None,
        trap_group: None,
        protocol: Some(series.protocol.into()),
        interface: Some(interface(series.class).into()),
        class: Some(series.class.into()),
        netns_name: None,
        own_netns: Some(true),
        netlink: false,
        kind: "packet".into(),
        owner: None,
        packets,
        bytes: Some(packets.saturating_mul(BYTES)),
        first_seen: Timestamp(started_at + nanoseconds(first)),
        last_seen: Timestamp(started_at + nanoseconds(last)),
    }
}

fn interface(class: &str) -> &'static str {
    match class {
        "vlan" => "eth0.100",
        "bond" => "bond0",
        "bridge" => "br0",
        "virtual" => "veth0",
        "loopback" => "lo",
        "tun" => "tun0",
        "vxlan" => "vxlan0",
        _ => "eth0",
    }
}

/// The seconds of the first and the last drop.
#[expect(clippy::cast_precision_loss, reason = "times need no exact counts")]
fn span(series: &Series, packets: u64, seconds: f64, draws: &mut XorShiftRng) -> (f64, f64) {
    if series.family == Family::Burst && draws.random_bool(ONE_BURST) {
        let length = draws.random_range(BURST_SECONDS.0..BURST_SECONDS.1).min(seconds);
        let first = draws.random_range(0.0..=seconds - length);
        return (first, if packets > 1 { first + length } else { first });
    }
    // Drops at independent times.
    let mut gap = || -draws.random_range(1e-9_f64..1.0).ln() * seconds / (packets as f64 + 1.0);
    let first = gap().min(seconds);
    (first, if packets > 1 { (seconds - gap()).max(first) } else { first })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most ten minutes")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
