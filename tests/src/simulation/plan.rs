//! Which faults and deployments a fleet has.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_xorshift::XorShiftRng;

use super::Basis;
use super::draw::{log_uniform, stream};
use super::hosts::Host;
use super::parameters::{
    FAULTS, GROUP_FACTOR, GROUP_HAS, GROUP_HOSTS, GROUP_SHARE, HOST_FACTOR, LEAST_EXPECTED, MOST_EXPECTED,
    NEW_EXPECTED, SERIES,
};
use super::truth::FaultKind;

/// Attempts to find a host or a group for a fault.
const ATTEMPTS: usize = 20_000;
/// Series that are tried on a host before another host is.
const SERIES_TRIED: usize = 20;
/// Hosts of a group that are asked whether a series fits a fault.
const ASKED: usize = 40;
/// The most hosts, as a part of the fleet, of a role with a deployment.
const DEPLOYED_SHARE: f64 = 0.25;

/// A property that hosts can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Rack(usize),
    Role(usize),
    Kernel(usize),
}

impl Group {
    pub(super) fn has(self, host: &Host) -> bool {
        match self {
            Self::Rack(rack) => host.rack == rack,
            Self::Role(role) => host.role == role,
            Self::Kernel(kernel) => host.kernel == kernel,
        }
    }
}

/// The hosts with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Host(usize),
    Group(Group),
}

/// How a fault changes a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// The mean is so many times the usual one.
    Times(f64),
    /// So many drops are expected where none were.
    New(f64),
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) kind: FaultKind,
    pub(super) target: Target,
    pub(super) series: usize,
    pub(super) change: Change,
}

impl Planned {
    /// Whether the host is the fault's or of its group.
    pub(super) fn has(&self, host: &Host, number: usize) -> bool {
        match self.target {
            Target::Host(faulty) => faulty == number,
            Target::Group(group) => group.has(host),
        }
    }
}

/// A change of a role's rates within the window, which is not a fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Deployment {
    pub(super) role: usize,
    /// The part of the window that was over.
    pub(super) after: f64,
    /// Series, and how many times the rate they have afterwards.
    pub(super) changes: Vec<(usize, f64)>,
}

impl Deployment {
    /// The factor of the mean of the whole window.
    pub(super) fn factor(&self, series: usize) -> f64 {
        let change = self.changes.iter().find(|change| change.0 == series);
        change.map_or(1.0, |(_, factor)| self.after + (1.0 - self.after) * factor)
    }
}

/// The deployments of a fleet, each of another role.
pub(super) fn deployments(basis: &Basis) -> Vec<Deployment> {
    let (profile, mut draws) = (basis.profile, stream(basis.seed, &[0x6465_706c_6f79]));
    let mut all: Vec<Deployment> = Vec::new();
    for _ in 0..ATTEMPTS {
        if all.len() == profile.deployments {
            break;
        }
        let role = draws.random_range(0..profile.roles);
        let is_used = all.iter().any(|known| known.role == role);
        let share = share(basis, basis.hosts.iter().filter(|host| host.role == role).count());
        if is_used || share == 0.0 || share > DEPLOYED_SHARE {
            continue;
        }
        let after = draws.random_range(0.1..0.9);
        let change = |_| {
            let factor = log_uniform(profile.deployed_times, &mut draws);
            (draws.random_range(0..SERIES), if draws.random_bool(0.5) { factor } else { 1.0 / factor })
        };
        all.push(Deployment { role, after, changes: (0..profile.deployed_series).map(change).collect() });
    }
    all
}

/// The faults of a fleet: `times` as many as are usual for its size.
pub(super) fn faults(basis: &Basis, deployments: &[Deployment], times: f64) -> Vec<Planned> {
    let mut planner = Planner {
        basis,
        deployments,
        draws: stream(basis.seed, &[0x6661_756c_7473]),
        planned: Vec::new(),
        used: vec![false; basis.hosts.len()],
    };
    let [single, new, racks, roles, kernels] = FAULTS.map(|of_ten_thousand| number(basis, of_ten_thousand * times));
    // Groups come first: no other fault is in the same reason on one of their hosts.
    for (count, kind) in [(racks, FaultKind::Rack), (roles, FaultKind::Role), (kernels, FaultKind::Kernel)] {
        (0..count).for_each(|_| planner.plan(|planner| planner.of_group(kind)));
    }
    (0..single).for_each(|_| {
        let factor = log_uniform(HOST_FACTOR, &mut planner.draws);
        planner.plan(|planner| planner.of_host(factor));
    });
    for fault in 0..new {
        let expected = log_uniform(NEW_EXPECTED, &mut planner.draws);
        let kind = if fault % 2 == 0 { FaultKind::NewToFleet } else { FaultKind::NewToHost };
        planner.plan(|planner| planner.new_reason(kind, expected));
    }
    planner.planned
}

/// Faults of this fleet, where 10,000 hosts have `of_ten_thousand`: at least one, unless there are none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and some thousand at most")]
fn number(basis: &Basis, of_ten_thousand: f64) -> usize {
    (of_ten_thousand * share(basis, basis.hosts.len()) * basis.size() / 10_000.0).ceil() as usize
}

fn share(basis: &Basis, hosts: usize) -> f64 {
    super::float(hosts) / basis.size()
}

struct Planner<'b> {
    basis: &'b Basis,
    deployments: &'b [Deployment],
    draws: XorShiftRng,
    planned: Vec<Planned>,
    /// Hosts with a fault of their own.
    used: Vec<bool>,
}

impl Planner<'_> {
    /// Attempts until a fault fits. A small fleet may have no room for one.
    fn plan(&mut self, mut attempt: impl FnMut(&mut Self) -> Option<Planned>) {
        let found = (0..ATTEMPTS).find_map(|_| attempt(self));
        self.planned.extend(found);
    }

    fn of_host(&mut self, factor: f64) -> Option<Planned> {
        let host = self.free_host()?;
        let usual = self.basis.usual(host, 0, self.deployments);
        let present: Vec<_> = (0..SERIES).filter(|&series| usual[series] > 0.0).collect();
        let fits = |series: &usize| (LEAST_EXPECTED..=MOST_EXPECTED).contains(&(usual[*series] * factor));
        let tried = (0..SERIES_TRIED).filter_map(|_| present.choose(&mut self.draws).copied()).find(fits)?;
        if self.is_taken(host, tried) {
            return None;
        }
        self.used[host] = true;
        let (kind, target) = (FaultKind::Host, Target::Host(host));
        Some(Planned { kind, target, series: tried, change: Change::Times(factor) })
    }

    fn new_reason(&mut self, kind: FaultKind, expected: f64) -> Option<Planned> {
        let host = self.free_host()?;
        let all = self.basis.series.len();
        let range = if kind == FaultKind::NewToFleet { SERIES..all } else { 0..SERIES };
        let series = self.draws.random_range(range);
        let usual = self.basis.usual(host, 0, self.deployments);
        let reason = self.basis.series[series].reason;
        let has_reason = (0..all).any(|other| self.basis.series[other].reason == reason && usual[other] > 0.0);
        if has_reason || self.is_taken(host, series) {
            return None;
        }
        self.used[host] = true;
        Some(Planned { kind, target: Target::Host(host), series, change: Change::New(expected) })
    }

    fn of_group(&mut self, kind: FaultKind) -> Option<Planned> {
        let of = self.basis.hosts.choose(&mut self.draws)?;
        let group = match kind {
            FaultKind::Rack => Group::Rack(of.rack),
            FaultKind::Role => Group::Role(of.role),
            _ => Group::Kernel(of.kernel),
        };
        let basis = self.basis;
        let members = || (0..basis.hosts.len()).filter(|&host| group.has(&basis.hosts[host]));
        let count = members().filter(|&host| basis.hosts[host].reports[0]).count();
        if count < GROUP_HOSTS || share(basis, count) >= GROUP_SHARE {
            return None;
        }
        let factor = log_uniform(GROUP_FACTOR, &mut self.draws);
        let asked: Vec<_> = members().step_by((count / ASKED).max(1)).collect();
        let usual: Vec<_> = asked.iter().map(|&host| basis.usual(host, 0, self.deployments)).collect();
        let fits = |series: &usize| {
            let of_series = usual.iter().map(|usual| usual[*series]);
            let have = super::float(of_series.clone().filter(|usual| *usual > 0.0).count());
            let mean = of_series.sum::<f64>() / super::float(usual.len());
            have >= GROUP_HAS * super::float(usual.len()) && mean * factor >= LEAST_EXPECTED
        };
        let fitting: Vec<_> = (0..SERIES).filter(fits).collect();
        let series = *fitting.choose(&mut self.draws)?;
        let reason = self.basis.series[series].reason;
        let is_used = self.planned.iter().any(|planned| self.basis.series[planned.series].reason == reason);
        let target = Target::Group(group);
        (!is_used && !self.is_deployed(reason)).then_some(Planned {
            kind,
            target,
            series,
            change: Change::Times(factor),
        })
    }

    /// A host without a fault of its own that reports the whole window.
    fn free_host(&mut self) -> Option<usize> {
        let host = self.draws.random_range(0..self.basis.hosts.len());
        let of = &self.basis.hosts[host];
        (!self.used[host] && of.reports[0] && of.facts.uptime.is_none()).then_some(host)
    }

    /// Whether something else changes the reason on the host.
    fn is_taken(&self, host: usize, series: usize) -> bool {
        let (reason, of) = (self.basis.series[series].reason, &self.basis.hosts[host]);
        let same = |series: usize| self.basis.series[series].reason == reason;
        let by_fault = self.planned.iter().any(|planned| same(planned.series) && planned.has(of, host));
        let by_deployment = |it: &Deployment| it.role == of.role && it.changes.iter().any(|change| same(change.0));
        by_fault || self.deployments.iter().any(by_deployment)
    }

    fn is_deployed(&self, reason: &str) -> bool {
        let changes = self.deployments.iter().flat_map(|deployment| &deployment.changes);
        changes.into_iter().any(|change| self.basis.series[change.0].reason == reason)
    }
}
