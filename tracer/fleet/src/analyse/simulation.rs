//! Simulated fleets whose faults are known: how many of them are found, and how many findings are wrong.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Gamma, LogNormal, Poisson};
use rand_xorshift::XorShiftRng;

use super::*;
use crate::finding::Kind;
use crate::model::Key;

/// How hosts' rates vary around their means.
#[derive(Clone, Copy, Debug)]
enum Family {
    Gamma,
    LogNormal,
}

/// A kind of fleet.
#[derive(Clone, Copy, Debug)]
struct World {
    hosts: usize,
    series: usize,
    /// Deviation of logarithms: of hosts, and of series on a host.
    levels: f64,
    /// The least and the greatest coefficient of variation of an hour's rate, one for each series.
    hours: [f64; 2],
    family: Family,
    /// Hours of the baseline; 0: there is none.
    baseline: u32,
    /// Whether roles have series of their own, and how much roles differ.
    roles: f64,
    /// Share of series of a host that have a burst of this factor.
    bursts: (f64, f64),
    /// Share of hosts with a fault.
    faults: f64,
    /// The hosts of one rack have this many times one series.
    rack: f64,
}

const PLAIN: World = World {
    hosts: 1_000,
    series: 60,
    levels: 0.6,
    hours: [0.1, 0.5],
    family: Family::Gamma,
    baseline: 24,
    roles: 1.5,
    bursts: (0.0, 1.0),
    faults: 0.04,
    rack: 1.0,
};

struct Simulated {
    fleet: Fleet,
    /// Factors of the faults with at least 30 drops, by reason and host.
    planted: BTreeMap<(String, String), f64>,
}

/// Which host, and which of its series.
const ROLES: [f64; 4] = [0.6, 0.25, 0.1, 0.05];
const RACK: usize = 40;

impl Simulated {
    /// Drops of a host for a reason, now and before.
    fn counts(&self, (reason, name): &(String, String)) -> String {
        let of = |fleet: &Fleet| -> f64 {
            let rows = view::by_cause(fleet);
            let row = rows.iter().find(|(cause, _)| cause.reason == Some(reason)).map(|(_, row)| row);
            let mut row = row.into_iter().flatten();
            row.find(|entry| fleet.hosts()[entry.0.0 as usize].name == *name).map_or(0.0, |entry| entry.1)
        };
        format!("{reason} {name}: {} after {:?}", of(&self.fleet), self.fleet.baseline.as_deref().map(of))
    }
}

impl World {
    fn simulate(&self, seed: u64) -> Simulated {
        let mut chance = XorShiftRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5555);
        let (mut now, mut before) = (Fleet::default(), Fleet::default());
        let names: Vec<_> = (0..self.series).map(|series| format!("REASON_{series}")).collect();
        let base: Vec<f64> = (0..self.series).map(|rank| 20_000.0 / (1.0 + count(rank)).powf(1.3)).collect();
        let spread: Vec<f64> = base.iter().map(|_| chance.random_range(self.hours[0]..=self.hours[1])).collect();
        let prevalence: Vec<f64> = base.iter().map(|_| chance.random_range(0.1..1.0)).collect();
        let of_role: Vec<Vec<f64>> =
            ROLES.iter().map(|_| base.iter().map(|_| log_normal(self.roles, &mut chance)).collect()).collect();
        let mut planted = BTreeMap::new();
        for host in 0..self.hosts {
            let name = format!("host-{host}");
            let role = role(host);
            let is_missing = chance.random_bool(0.01);
            let of_host = log_normal(self.levels, &mut chance);
            // A restart within the hour leaves a part of it.
            let hours = if chance.random_bool(0.03) { chance.random_range(0.05..1.0) } else { 1.0 };
            // The load now, against the mean of the day, differs by role.
            let rhythm = [0.5, 1.0, 1.8, 1.2][role] * log_normal(0.1, &mut chance);
            let has_fault = chance.random_bool(self.faults);
            let fault_at = chance.random_range(0..self.series);
            let factor = chance.random_range(3.0_f64.ln()..1e4_f64.ln()).exp();
            let kernel = ["6.1", "6.12", "6.18"][host * 7 % 10 / 4];
            let is_there = !is_missing || self.baseline == 0;
            for (fleet, hours) in
                [(&mut now, if is_there { hours } else { 0.0 }), (&mut before, f64::from(self.baseline))]
            {
                if hours == 0.0 {
                    continue;
                }
                let id = fleet.host(&name);
                let host_of = fleet.host_mut(id);
                host_of.seconds = 3_600.0 * hours;
                host_of.kernel = Some(kernel.into());
                host_of.labels = [("folder".into(), format!("rack-{}", host / RACK))].into();
            }
            for series in 0..self.series {
                let has_series = chance.random_bool(prevalence[series]);
                let mean = base[series] * of_host * of_role[role][series] * log_normal(self.levels, &mut chance);
                let mut in_an_hour = |mean: f64, hours: f64| {
                    let rate = self.hour(spread[series] / hours.sqrt(), &mut chance);
                    let burst = if chance.random_bool(self.bursts.0) && hours <= 1.0 { self.bursts.1 } else { 1.0 };
                    poisson(mean * hours * rate * burst, &mut chance)
                };
                if !has_series {
                    continue;
                }
                let is_fault = has_fault && series == fault_at;
                let of_rack = if host / RACK == 3 && series == 5 { self.rack } else { 1.0 };
                let packets = in_an_hour(mean * rhythm * of_rack * if is_fault { factor } else { 1.0 }, hours);
                let past = in_an_hour(mean, f64::from(self.baseline));
                let key = Key { reason: Some(&names[series]), symbol: Some("f"), ..Key::default() };
                if is_there {
                    let (id, key) = (now.host(&name), now.key(key));
                    now.add(id, key, packets);
                    if is_fault && packets >= 30.0 {
                        planted.insert((names[series].clone(), name.clone()), factor);
                    }
                }
                if self.baseline > 0 {
                    let (id, key) = (before.host(&name), before.key(key));
                    before.add(id, key, past);
                }
            }
        }
        if self.baseline > 0 {
            now.baseline = Some(Box::new(before));
        }
        Simulated { fleet: now, planted }
    }

    /// A factor with the mean 1 and this coefficient of variation.
    fn hour(&self, variation: f64, chance: &mut XorShiftRng) -> f64 {
        if variation <= 0.0 || !variation.is_finite() {
            return 1.0;
        }
        let square = variation * variation;
        match self.family {
            Family::Gamma => Gamma::new(1.0 / square, square).unwrap().sample(chance),
            Family::LogNormal => {
                let variance = square.ln_1p();
                LogNormal::new(-variance / 2.0, variance.sqrt()).unwrap().sample(chance)
            }
        }
    }
}

fn role(host: usize) -> usize {
    let at = f64::from(u32::try_from(host * 37 % 100).unwrap()) / 100.0;
    let mut below = 0.0;
    ROLES
        .iter()
        .position(|share| {
            below += share;
            at < below
        })
        .unwrap()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn log_normal(deviation: f64, chance: &mut XorShiftRng) -> f64 {
    LogNormal::new(0.0, deviation).unwrap().sample(chance)
}

fn poisson(mean: f64, chance: &mut XorShiftRng) -> f64 {
    Poisson::new(mean.max(1e-9)).unwrap().sample(chance)
}

/// Found and planted faults, by factor: from 3, from 10, from 100 times on; wrong findings; groups.
#[derive(Clone, Debug, Default, PartialEq)]
struct Score {
    found: [usize; 3],
    planted: [usize; 3],
    wrong: Vec<String>,
    missed: Vec<String>,
    groups: Vec<String>,
}

impl Score {
    fn add(&mut self, simulated: &Simulated, options: &Options) {
        let findings = analyse(&simulated.fleet, &Options { named: 1_000_000, ..options.clone() });
        let mut reported = BTreeSet::new();
        for finding in findings {
            match finding.kind {
                Kind::Outlier => {
                    let reason = finding.reason.clone().unwrap_or_default();
                    reported.extend(finding.hosts.named.iter().map(|host| (reason.clone(), host.name.clone())));
                }
                Kind::Group => {
                    self.groups.push(format!(
                        "{} {}",
                        finding.group.unwrap_or_default(),
                        finding.reason.unwrap_or_default()
                    ));
                }
                _ => {}
            }
        }
        for (key, factor) in &simulated.planted {
            let band = usize::from(*factor >= 10.0) + usize::from(*factor >= 100.0);
            self.planted[band] += 1;
            self.found[band] += usize::from(reported.contains(key));
            if !reported.contains(key) {
                self.missed.push(format!("{} of {factor:.0}", simulated.counts(key)));
            }
        }
        let wrong = reported.iter().filter(|key| !simulated.planted.contains_key(*key));
        self.wrong.extend(wrong.map(|key| {
            let seconds = simulated.fleet.find(&key.1).map_or(0.0, |host| host.seconds);
            format!("{} in {seconds:.0}", simulated.counts(key))
        }));
    }

    fn recall(&self, from: usize) -> f64 {
        count(self.found[from..].iter().sum()) / count(self.planted[from..].iter().sum::<usize>().max(1))
    }

    fn precision(&self) -> f64 {
        let right: usize = self.found.iter().sum();
        count(right) / count((right + self.wrong.len()).max(1))
    }
}

fn run(world: World, seeds: std::ops::Range<u64>) -> Score {
    let mut score = Score::default();
    for seed in seeds {
        score.add(&world.simulate(seed), &Options::default());
    }
    score
}

/// A fleet that takes a second.
const SMALL: World = World { hosts: 400, series: 25, ..PLAIN };

#[test]
fn great_faults_are_found_and_nothing_else() {
    let score = run(SMALL, 0..4);
    assert!(score.recall(2) >= 0.95 && score.recall(1) >= 0.85, "{score:?}");
    assert!(score.precision() >= 0.97 && score.groups.is_empty(), "{score:?}");
}

#[test]
fn fleets_without_faults_have_no_findings() {
    let heavy = World { hours: [0.3, 1.2], family: Family::LogNormal, ..SMALL };
    for world in [SMALL, heavy, World { baseline: 1, ..SMALL }, World { baseline: 0, ..SMALL }] {
        let score = run(World { faults: 0.0, ..world }, 0..2);
        assert!(score.wrong.is_empty() && score.groups.is_empty(), "{world:?}: {score:?}");
    }
}

#[test]
fn bad_rack_is_one_finding() {
    let score = run(World { rack: 8.0, faults: 0.0, ..SMALL }, 0..1);
    assert_eq!((score.groups, score.wrong), (vec!["folder=rack-3 REASON_5".to_owned()], vec![]));
}

/// All kinds of fleets, for a table: `cargo test --release -p droptrace-fleet simulation::table -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes, and prints a table"]
fn table() {
    let heavy = World { hours: [0.3, 1.5], ..PLAIN };
    let worlds = [
        ("no baseline", World { baseline: 0, ..PLAIN }),
        ("no baseline, one role, close", World { baseline: 0, roles: 0.0, levels: 0.2, ..PLAIN }),
        ("no baseline, one role", World { baseline: 0, roles: 0.0, ..PLAIN }),
        ("no baseline, wide", World { baseline: 0, levels: 1.0, ..PLAIN }),
        ("plain", PLAIN),
        ("log-normal hours", World { family: Family::LogNormal, ..PLAIN }),
        ("heavy gamma hours", heavy),
        ("heavy log-normal hours", World { family: Family::LogNormal, ..heavy }),
        ("bursts 1 % of 20", World { bursts: (0.01, 20.0), ..PLAIN }),
        ("baseline of an hour", World { baseline: 1, ..PLAIN }),
        ("baseline of an hour, heavy gamma", World { baseline: 1, ..heavy }),
        ("100 hosts", World { hosts: 100, ..PLAIN }),
        ("3,000 hosts", World { hosts: 3_000, ..PLAIN }),
        ("a rack of 5 times", World { rack: 5.0, ..PLAIN }),
    ];
    println!("| fleet | 3 to 10 | 10 to 100 | from 100 | precision | wrong in 4 without faults | groups |");
    for (name, world) in worlds {
        let score = run(world, 0..3);
        let none = run(World { faults: 0.0, ..world }, 100..104);
        let of = |band: usize| format!("{} of {}", score.found[band], score.planted[band]);
        println!(
            "| {name} | {} | {} | {} | {:.3} | {} | {:?} {:?} |",
            of(0),
            of(1),
            of(2),
            score.precision(),
            none.wrong.len(),
            &score.groups[..score.groups.len().min(8)],
            &none.groups[..none.groups.len().min(4)],
        );
        println!(
            "  missed {:?}\n  wrong {:?} {:?}",
            &score.missed[..score.missed.len().min(12)],
            &score.wrong[..score.wrong.len().min(6)],
            &none.wrong[..none.wrong.len().min(6)]
        );
    }
}
