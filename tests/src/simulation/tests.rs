use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use droptrace_fleet::merge::{Files, load};

use super::truth::{FaultKind, Record, TRUTH, Truth};
use super::window::Factors;
use super::*;
use crate::folder::Folder;

const KINDS: [FleetKind; 2] = [FleetKind::Web, FleetKind::Mixed];

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            all.insert(name, fs::read(&path).unwrap());
        }
    }
    all
}

/// The mean of a host's counts of each of some series in so many windows, and their variance.
fn moments(simulation: &Simulation, host: usize, series: &[usize], windows: &[Factors]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); series.len()];
    for factors in windows {
        let counts: BTreeMap<_, _> = simulation.draw(host, factors).unwrap().counts.into_iter().collect();
        for ((sum, squares), at) in sums.iter_mut().zip(series) {
            let count = counts.get(at).map_or(0.0, |count| whole(*count));
            *sum += count;
            *squares += count * count;
        }
    }
    let many = float(windows.len());
    sums.into_iter().map(|(sum, squares)| (sum / many, squares / many - (sum / many).powi(2))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn whole(count: u64) -> f64 {
    count as f64
}

fn windows(simulation: &Simulation, count: u64) -> Vec<Factors> {
    (1..=count).map(|redraw| Factors::new(&simulation.basis, 0, redraw)).collect()
}

#[test]
fn same_seed_gives_the_same_bytes() {
    for kind in KINDS {
        let write = |seed| {
            let folder = Folder::new("simulation").unwrap();
            Simulation::new(kind, 60, seed, 1.0).write(&folder.join("a"), Folders::Role, 2, ".zst").unwrap();
            files(folder.as_ref())
        };
        let (one, same, other) = (write(1), write(1), write(2));
        assert!(one == same && one != other);
        assert!(one.keys().any(|name| name.starts_with("a/past/day-2/role-00/host-000")));
    }
}

#[test]
fn merge_reads_the_snapshots_and_has_the_counts_of_the_truth() {
    for kind in KINDS {
        let folder = Folder::new("simulation").unwrap();
        let (out, simulation) = (folder.join("a"), Simulation::new(kind, 200, 3, 1.0));
        let [now, past] = simulation.write(&out, Folders::Rack, 1, "").unwrap();
        let loaded = load(Files::find(&[out.join("now")]), 1_000.0, &mut |_, _| ());
        let truth = Truth::read(&out).unwrap();
        assert_eq!((loaded.input.read, loaded.input.refused.len()), (truth.fleet.reporting, 0));
        assert_eq!(now.snapshots, truth.fleet.reporting);
        assert!(past.snapshots > 180 && past.rows > 0);
        assert_eq!(truth.fleet.counts, loaded.fleet.counts().len() as u64);
        assert!(loaded.fleet.hosts().iter().all(|host| host.unbalanced == 0));
        let hosts = loaded.fleet.hosts().iter().map(|host| (host, &truth.hosts[&host.name]));
        for (host, facts) in hosts {
            assert_eq!((&host.labels["folder"], host.kernel.as_ref()), (&facts.rack, Some(&facts.kernel)));
            assert!((host.seconds - facts.uptime.unwrap_or(600.0)).abs() < 1e-6);
        }
    }
}

#[test]
fn folder_with_files_is_refused() {
    let folder = Folder::new("simulation").unwrap();
    folder.write("x", "").unwrap();
    let error = Simulation::new(FleetKind::Web, 9, 1, 0.0).write(folder.as_ref(), Folders::Role, 0, "").unwrap_err();
    assert!(error.to_string().ends_with("is not empty: name a new one"));
}

#[test]
fn faults_are_as_many_as_planned_and_none_is_too_small() {
    for kind in KINDS {
        let folder = Folder::new("simulation").unwrap();
        let out = folder.join("a");
        Simulation::new(kind, 1_000, 4, 2.0).write(&out, Folders::Role, 0, "").unwrap();
        let truth = Truth::read(&out).unwrap();
        let of = |kind| truth.faults.iter().filter(move |fault| fault.kind == kind);
        let counts = FaultKind::ALL.map(|kind| of(kind).count());
        assert_eq!(counts, [60, 6, 6, 2, 1, 1]);
        assert!(truth.faults.iter().all(|fault| fault.expected >= 30.0 * 0.999));
        for fault in truth.faults.iter().filter(|fault| fault.factor.is_some()) {
            let factor = fault.factor.unwrap();
            assert!((fault.expected / fault.usual / factor - 1.0).abs() < 1e-9 && (3.0..=1e4).contains(&factor));
        }
        assert!(of(FaultKind::NewToFleet).chain(of(FaultKind::NewToHost)).all(|fault| fault.usual == 0.0));
        let sites: Vec<_> = truth.faults.iter().map(|fault| (&fault.host, &fault.group, &fault.reason)).collect();
        assert!((1..sites.len()).all(|at| !sites[..at].contains(&sites[at])));
    }
}

#[test]
fn expected_factor_holds_over_many_draws() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, 300, 5, 4.0);
        let windows = windows(&simulation, 120);
        let usual = |host: usize| simulation.basis.usual(host, 0, &simulation.deployments);
        let (mut sum, mut faults) = (0.0, 0.0);
        for fault in &simulation.faults {
            let (plan::Target::Host(host), Change::Times(factor)) = (fault.target, fault.change) else { continue };
            sum += moments(&simulation, host, &[fault.series], &windows)[0].0 / usual(host)[fault.series] / factor;
            faults += 1.0;
        }
        assert!(faults > 30.0 && (sum / faults - 1.0).abs() < 0.05, "{kind:?}: {} of {faults}", sum / faults);
    }
}

#[test]
fn counts_of_a_fleet_have_the_dispersion_of_their_series() {
    for kind in KINDS {
        let simulation = Simulation::new(kind, 60, 6, 0.0);
        let (windows, profile) = (windows(&simulation, 1_500), simulation.basis.profile);
        let host = (0..60).find(|&host| simulation.basis.hosts[host].reports[0]).unwrap();
        let usual = simulation.basis.usual(host, 0, &simulation.deployments);
        let is_plain = |it: &Series| !matches!(it.family, parameters::Family::Noise | parameters::Family::Scan);
        let all = simulation.basis.series.iter().enumerate();
        let plain = all.filter(|(at, it)| usual[*at] > 3.0 && it.shape > 1.0 && it.traffic > 0.0 && is_plain(it));
        let plain: Vec<_> = plain.map(|(at, _)| at).take(20).collect();
        let mut ratios = Vec::new();
        for (&at, (mean, variance)) in plain.iter().zip(moments(&simulation, host, &plain, &windows)) {
            let series = &simulation.basis.series[at];
            let of_day = (profile.host_day_apart.powi(2) + profile.series_day_apart.powi(2)).exp();
            let square = (1.0 + 1.0 / series.shape) * of_day / (1.0 - series.idle);
            let expected = usual[at] + usual[at].powi(2) * (square - 1.0);
            assert!((mean - usual[at]).abs() < 5.0 * (expected / 1_500.0).sqrt(), "{mean} instead of {}", usual[at]);
            ratios.push(variance / expected);
        }
        let mean = ratios.iter().sum::<f64>() / float(ratios.len());
        assert!(ratios.len() == 20 && (mean - 1.0).abs() < 0.1, "{kind:?}: {ratios:?}");
    }
}

#[test]
fn fleet_without_faults_has_the_same_usual_counts() {
    let (with, without) =
        (Simulation::new(FleetKind::Mixed, 100, 7, 5.0), Simulation::new(FleetKind::Mixed, 100, 7, 0.0));
    let factors = Factors::new(&with.basis, 0, 0);
    let (mut equal, mut changed) = (0, 0);
    for host in 0..100 {
        let (Some(one), Some(other)) = (with.draw(host, &factors), without.draw(host, &factors)) else { continue };
        let is_faulty = |series| one.parts.iter().any(|part| with.faults[part.fault].series == series);
        let usual =
            |counts: &[(usize, u64)]| -> Vec<_> { counts.iter().filter(|(at, _)| !is_faulty(*at)).copied().collect() };
        assert_eq!(usual(&one.counts), usual(&other.counts));
        assert!(other.parts.is_empty());
        equal += usize::from(one.parts.is_empty());
        changed += usize::from(!one.parts.is_empty());
    }
    assert!(equal > 0 && changed > 0);
    assert_eq!(with.draw(0, &Factors::new(&with.basis, 1, 0)), without.draw(0, &Factors::new(&without.basis, 1, 0)));
}

#[test]
fn truth_is_written_as_documented() {
    let folder = Folder::new("simulation").unwrap();
    let out = folder.join("a");
    Simulation::new(FleetKind::Mixed, 2_000, 8, 1.0).write(&out, Folders::Role, 0, ".zst").unwrap();
    let text = fs::read_to_string(out.join(TRUTH)).unwrap();
    let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(&records[0], Record::Fleet(fleet) if fleet.kind == "mixed" && fleet.hosts == 2_000));
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .starts_with(r#"{"record":"fault","id":0,"kind":"rack","host":null,"group":"rack="#)
    );
    let is = |kind| move |it: &&Record| matches!(it, Record::Event(event) if event.kind == kind);
    assert_eq!(records.iter().filter(is(truth::EventKind::Deployment)).count(), 18);
    assert!(records.iter().filter(is(truth::EventKind::Restart)).count() > 50);
    let missing = Truth::read(folder.as_ref()).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read") && missing.to_string().ends_with("truth.jsonl"));
}
