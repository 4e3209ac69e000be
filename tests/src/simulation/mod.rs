//! Simulated fleets with known truth: snapshots of hosts whose counts are drawn from overdispersed distributions, as
//! networks have them, and faults planted among them whose scope and size are written beside the snapshots. Unlike
//! [`crate::fleet`], whose faults show that each kind of finding is found, this module measures how good findings are.
//!
//! The distributions (`parameters`, `catalogue`) were chosen from knowledge of networks, without knowledge of the
//! analysis, and were fixed before any detector had seen a simulated fleet. They are not to be tuned.
//!
//! A count is gamma-Poisson. Its mean is a product of factors that persist over days (of the series, of the host's
//! role, rack and kernel, of the host's traffic and of the host for this series), of known factors of the time (daily
//! rhythm by time zone, weekend, up-time, deployments) and of random factors with the mean 1 (the host's day, the day of
//! the series, campaigns of scans, frames that a rack shares, idle windows). The truth of a fault is about the mean
//! without the random factors: `usual` without the fault, `expected` with it.
//!
//! The same kind, number of hosts and seed give the same bytes. A fleet without faults has the counts of the fleet with
//! faults, apart from the faults' own.

mod catalogue;
mod document;
mod draw;
mod hosts;
mod levels;
mod parameters;
mod plan;
pub mod score;
#[cfg(test)]
mod tests;
pub mod truth;
mod window;
mod write;

use droptrace_base::snapshot::Snapshot;

use catalogue::Series;
use hosts::Host;
use levels::Tables;
use parameters::Profile;
use plan::{Change, Deployment, Planned};

pub use hosts::HostFacts;
pub use parameters::{FleetKind, PAST_DAYS, SERIES};
pub use write::{Folders, Written};

/// The usual drops of a fleet.
#[derive(Debug)]
struct Basis {
    kind: FleetKind,
    profile: &'static Profile,
    seed: u64,
    series: Vec<Series>,
    hosts: Vec<Host>,
    tables: Tables,
}

impl Basis {
    fn new(kind: FleetKind, hosts: usize, seed: u64) -> Self {
        let profile = kind.profile();
        let series = catalogue::series(profile, seed);
        let hosts = hosts::hosts(profile, hosts, seed);
        let racks = hosts.last().map_or(0, |host| host.rack + 1);
        let tables = Tables::new(profile, &series, racks, seed);
        Self { kind, profile, seed, series, hosts, tables }
    }

    /// The mean count of each series on a host, so many days before the window; 0: the host has no such drops.
    fn usual(&self, number: usize, day: usize, deployments: &[Deployment]) -> Vec<f64> {
        let host = &self.hosts[number];
        let deployment = deployments.iter().find(|it| day == 0 && it.role == host.role);
        let mut means = levels::rates(&self.tables, &self.series, host, number, self.seed);
        for (at, mean) in means.iter_mut().enumerate().filter(|(_, mean)| **mean > 0.0) {
            let deployed = deployment.map_or(1.0, |it| it.factor(at));
            *mean *= deployed * levels::seconds(self.profile, &self.series[at], host, day);
        }
        means
    }

    fn size(&self) -> f64 {
        float(self.hosts.len())
    }
}

/// A simulated fleet, the same for the same numbers.
#[derive(Debug)]
pub struct Simulation {
    basis: Basis,
    deployments: Vec<Deployment>,
    faults: Vec<Planned>,
}

impl Simulation {
    /// So many hosts. `faults` is how many times the usual number of faults the fleet has: 1 for some hundred among 10,000
    /// hosts, 0 for none.
    pub fn new(kind: FleetKind, hosts: usize, seed: u64, faults: f64) -> Self {
        let basis = Basis::new(kind, hosts, seed);
        let deployments = plan::deployments(&basis);
        let faults = plan::faults(&basis, &deployments, faults);
        Self { basis, deployments, faults }
    }

    /// The snapshots of all hosts that report in the window, or at the same time so many days before.
    pub fn snapshots(&self, day: usize) -> impl Iterator<Item = Snapshot> {
        let factors = window::Factors::new(&self.basis, day, 0);
        (0..self.basis.hosts.len()).filter_map(move |host| {
            let window = self.draw(host, &factors)?;
            Some(self.document(host, day, &window))
        })
    }

    fn document(&self, number: usize, day: usize, window: &window::Window) -> Snapshot {
        let Basis { series, hosts, seed, .. } = &self.basis;
        let mut draws = draw::stream(*seed, &[0x7469_6d65, number as u64, day as u64]);
        document::snapshot(series, &hosts[number], day, &window.counts, &mut draws)
    }
}

#[expect(clippy::cast_precision_loss, reason = "no fleet has 2^53 hosts")]
fn float(count: usize) -> f64 {
    count as f64
}
