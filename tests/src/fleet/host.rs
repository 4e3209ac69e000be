//! One host of the fleet.

use droptrace_base::domain::event::Timestamp;
use droptrace_base::snapshot::{CaptureBackend, Interface, Ledger, Row, SCHEMA, Snapshot, Source};
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, LogNormal, Poisson};
use rand_xorshift::XorShiftRng;

use super::catalogue::{Reason, kernel};
use super::planted::Planted;
use super::{Day, World, name};

/// How far apart hosts are, and reasons on a host, and two days: deviations of logarithms.
const HOSTS_APART: f64 = 0.8;
const REASONS_APART: f64 = 0.8;
const DAYS_APART: f64 = 0.2;
/// An hour.
const SECONDS: f64 = 3600.0;
const SECOND: u64 = 1_000_000_000;
/// 2026-01-01.
const START: u64 = 1_767_225_600 * SECOND;
const CLASSES: [&str; 4] = ["physical", "bridge", "vlan", "virtual"];
const PROTOCOLS: [&str; 2] = ["ipv4", "ipv6"];
const STORM_SECONDS: u64 = 20;
const STORM_PACKETS: u64 = 200_000;

/// The host's snapshot of a day.
pub(super) fn snapshot(world: &World, host: usize, day: Day) -> Snapshot {
    let started_at = START + if day == Day::Now { 86_400 * SECOND } else { 0 } + (host as u64 % 600) * SECOND;
    let mut drops = rows(world, host, day, started_at);
    plant(world, host, day, started_at, &mut drops);
    let planted = &world.planted;
    let accounted = drops.iter().map(|row| row.packets).sum::<u64>();
    let is_unsure = planted.loss_unknown.contains(&host);
    let lost = if planted.lossy.contains(&host) { 1_000 + host as u64 } else { 0 };
    let ledger = Ledger {
        accounted: accounted + u64::from(planted.unbalanced.contains(&host)),
        overflow: 0,
        filtered: 0,
        lost: (!is_unsure).then_some(lost),
        details: serde_json::Map::new(),
    };
    let (source, mode) = if is_unsure { ("net_dm", "packet") } else { ("ebpf", "tp_btf") };
    Snapshot {
        machine: None,
        schema: SCHEMA.into(),
        version: "0.1.0".into(),
        host: name(host),
        kernel: kernel(host).into(),
        build_id: Some(format!("{:040x}", kernel(host).len())),
        started_at: Timestamp(started_at),
        duration_ns: 3600 * SECOND,
        filter: None,
        interfaces: vec![Interface { name: "eth0".into(), class: "physical".into(), driver: Some("ixgbe".into()) }],
        backend: CaptureBackend { source: source.into(), mode: mode.into() },
        unavailable: vec![],
        sources: vec![Source { source: source.into(), mode: mode.into(), ledger }],
        drops,
        overflow: vec![],
        outside: None,
    }
}

/// The usual rows.
fn rows(world: &World, host: usize, day: Day, started_at: u64) -> Vec<Row> {
    // These draws are the same on both days.
    let mut own = chance(world.seed, host, 0);
    // These draws differ between the days.
    let mut of_day = chance(world.seed, host, 1 + u64::from(day == Day::Now));
    let of_host = factor(HOSTS_APART, &mut own);
    let reasons: Vec<_> = world
        .catalogue
        .usual
        .iter()
        .enumerate()
        .filter_map(|(rank, reason)| {
            let of_reason = factor(REASONS_APART, &mut own);
            // Drawn in any case, so that other draws do not depend on it.
            let has_it = own.random_bool(reason.prevalence);
            let usual = reason.rate * of_host * of_reason * faults(&world.planted, host, rank, day);
            let planted =
                world.planted.factor(host, rank).filter(|_| day == Day::Now).map(|factor| factor * reason.rate);
            let rate = planted.unwrap_or(usual) * factor(DAYS_APART, &mut of_day);
            has_it.then_some((rank, reason, rate))
        })
        .collect();
    let counts = share(world.rows, reasons.len());
    let mut rows = Vec::with_capacity(world.rows);
    for ((_, reason, rate), count) in reasons.into_iter().zip(counts) {
        let shares = shares(count);
        for (number, share) in shares.into_iter().enumerate() {
            let packets = poisson(rate * SECONDS * share, &mut of_day);
            rows.push(row(reason, number, packets, started_at, &mut of_day));
        }
    }
    rows
}

/// Faults that many hosts have.
fn faults(planted: &Planted, host: usize, rank: usize, day: Day) -> f64 {
    match rank {
        _ if rank == planted.group && Planted::is_of_group(host) => 20.0,
        _ if rank == planted.grown && day == Day::Before => 1.0 / 40.0,
        _ => 1.0,
    }
}

/// Adds the faults that only some hosts have.
fn plant(world: &World, host: usize, day: Day, started_at: u64, rows: &mut Vec<Row>) {
    let planted = &world.planted;
    let mut extra = |reason: &str, symbol: &str, packets: u64, seconds: u64| {
        let first_seen = Timestamp(started_at + 600 * SECOND);
        let last_seen = Timestamp(first_seen.0 + seconds * SECOND);
        rows.push(Row { interface: Some("eth9".into()), packets, first_seen, last_seen, ..blank(reason, symbol) });
    };
    if host % 20 == 3 {
        extra(&planted.fault, "fault_rcv", 200 + host as u64 % 50, 2_900);
    }
    if day == Day::Before {
        return;
    }
    if let Some(&rank) = planted.storms.get(&host) {
        let reason = &world.catalogue.usual[rank];
        extra(&reason.name, &reason.symbols[0], STORM_PACKETS, STORM_SECONDS);
    }
    if let Some(reason) = planted.new.get(&host) {
        extra(reason, "planted_rcv", 400 + host as u64 % 50, 2_900);
    }
    if planted.new_site.contains(&host) {
        extra(&world.catalogue.usual[planted.site].name, "planted_site", 300 + host as u64 % 50, 2_900);
    }
}

fn chance(seed: u64, host: usize, of: u64) -> XorShiftRng {
    // Odd factors: no two are the same.
    XorShiftRng::seed_from_u64(seed ^ (host as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of.wrapping_mul(0xd1b5_4a32))
}

fn factor(apart: f64, chance: &mut XorShiftRng) -> f64 {
    LogNormal::new(0.0, apart).map_or(1.0, |factor| factor.sample(chance))
}

/// At least 1: a row is there because something was dropped.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number that is not negative")]
fn poisson(mean: f64, chance: &mut XorShiftRng) -> u64 {
    Poisson::new(mean.max(1e-9)).map_or(1.0, |count| count.sample(chance)).max(1.0) as u64
}

/// So many rows for each of so many reasons: the most for the first, at least one for each.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few hundred"
)]
fn share(rows: usize, reasons: usize) -> Vec<usize> {
    let spare = rows.saturating_sub(reasons) as f64;
    let mut counts: Vec<_> = shares(reasons).into_iter().map(|share| 1 + (share * spare) as usize).collect();
    let missing = rows.saturating_sub(counts.iter().sum());
    if let Some(first) = counts.first_mut() {
        *first += missing;
    }
    counts
}

/// The parts of a whole: the second is about 0.6 of the first.
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn shares(count: usize) -> Vec<f64> {
    let weights: Vec<_> = (1..=count).map(|rank| (rank as f64).powf(-0.7)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

fn row(reason: &Reason, number: usize, packets: u64, started_at: u64, chance: &mut XorShiftRng) -> Row {
    let symbols = reason.symbols.len();
    let (protocol, class) = (number / symbols % PROTOCOLS.len(), number / symbols / PROTOCOLS.len());
    let (first_seen, last_seen) = span(packets, started_at, chance);
    Row {
        protocol: Some(PROTOCOLS[protocol].into()),
        interface: Some(format!("eth{}", class / CLASSES.len())),
        class: Some(CLASSES[class % CLASSES.len()].into()),
        packets,
        bytes: Some(packets.saturating_mul(120)),
        first_seen,
        last_seen,
        ..blank(&reason.name, &reason.symbols[number % symbols])
    }
}

/// The first and the last of so many drops at any time of the hour.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an hour")]
fn span(packets: u64, started_at: u64, chance: &mut XorShiftRng) -> (Timestamp, Timestamp) {
    let gap = |chance: &mut XorShiftRng| -chance.random_range(1e-9_f64..1.0).ln() * SECONDS / (packets as f64 + 1.0);
    let at = |seconds: f64| Timestamp(started_at + (seconds.clamp(0.0, SECONDS) * 1e9) as u64);
    let first = gap(chance).min(SECONDS);
    let last = if packets > 1 { (SECONDS - gap(chance)).max(first) } else { first };
    (at(first), at(last))
}

fn blank(reason: &str, symbol: &str) -> Row {
    Row {
        reason: Some(reason.into()),
        subsystem: Some("core".into()),
        symbol: Some(symbol.into()),
        offset: Some(423),
        module: None,
        trap_group: None,
        protocol: Some("ipv4".into()),
        interface: None,
        class: None,
        netns_name: None,
        own_netns: Some(true),
        netlink: false,
        kind: "packet".into(),
        owner: None,
        packets: 0,
        bytes: None,
        first_seen: Timestamp(0),
        last_seen: Timestamp(0),
    }
}
