//! The hosts that each host is compared with.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::By;
use super::build::figure;
use super::past::{Past, usual};
use super::robust::{OF_MEDIAN, median, spread};
use super::view::{View, by_cause};
use crate::model::{Host, HostId};

/// The shift of a group explains its hosts from this factor on.
const EXPLAINS: f64 = 1.5;
/// A host's level is known if it has drops for at least this many reasons.
const REASONS: usize = 4;
/// What all comparisons of a fleet's hosts share.
pub(super) struct Peers<'v> {
    pub(super) view: &'v View<'v>,
    pub(super) ids: Vec<HostId>,
    /// Seconds of each host; 0 if they are unknown.
    pub(super) seconds: Vec<f64>,
    /// The median of known ones.
    pub(super) usual_seconds: f64,
    pub(super) past: Past,
    /// Whether any host is not in the baseline.
    pub(super) has_unknown_past: bool,
    /// The logarithm of how much more each host drops than the middle one, by the median of its reasons.
    pub(super) sizes: Vec<Level>,
    /// The logarithm of how much more each host's drops rose since its past than those of the middle one, by the median
    /// of its reasons: the hosts of one role have their load at the same time of the day.
    pub(super) loads: Vec<Level>,
    pub(super) groups: Groups,
    pub(super) dimensions: Vec<Dimension>,
}

impl<'v> Peers<'v> {
    pub(super) fn of(view: &'v View<'v>) -> Self {
        let seconds = view.fleet.hosts().iter().map(|host| host.seconds);
        let seconds: Vec<_> = seconds.map(|it| if it.is_finite() && it > 0.0 { it } else { 0.0 }).collect();
        let past = Past::of(view.fleet);
        let (sizes, loads) = levels(view, &seconds, &past);
        let has_unknown_past = past.seconds.iter().zip(&seconds).any(|(past, now)| *past == 0.0 && *now > 0.0);
        Self {
            view,
            ids: view.fleet.ids().collect(),
            usual_seconds: usual(&seconds),
            seconds,
            has_unknown_past,
            past,
            sizes,
            loads,
            groups: Groups::of(view),
            dimensions: dimensions(view),
        }
    }

    pub(super) fn min_hosts(&self) -> usize {
        self.view.options.min_hosts
    }
}

/// The logarithm of how much more each host drops than the middle one, and of how much its drops rose since its past.
fn levels(view: &View<'_>, seconds: &[f64], past: &Past) -> (Vec<Level>, Vec<Level>) {
    let before = view.fleet.baseline.as_deref().map(by_cause).unwrap_or_default();
    let (mut sizes, mut loads) = (Levels::of(seconds.len()), Levels::of(seconds.len()));
    for (cause, row) in view.causes.iter().filter(|(cause, _)| !cause.netlink) {
        let row = row.iter().filter(|(HostId(id), _)| seconds[*id as usize] > 0.0);
        sizes.add(row.clone().map(|(id, packets)| (*id, (packets / seconds[id.0 as usize]).ln())).collect());
        let before = past.of_all(before.get(cause));
        let expected = |HostId(id): HostId| past.expected(id as usize, before[id as usize], seconds[id as usize]);
        loads.add(row.filter_map(|(id, packets)| Some((*id, (packets / expected(*id)?).ln()))).collect());
    }
    (sizes.levels(), loads.levels())
}

/// The level of a host: the logarithm of a factor by which it differs from the middle host, 0 if it is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Level {
    pub(super) logarithm: f64,
    /// The variance of the logarithm: that between hosts if nothing is known of this one, and less with more reasons.
    pub(super) variance: f64,
}

/// For each host the ratios to the middle host, of several reasons.
struct Levels(Vec<Vec<f64>>);

impl Levels {
    fn of(hosts: usize) -> Self {
        Self(vec![Vec::new(); hosts])
    }

    fn add(&mut self, values: Vec<(HostId, f64)>) {
        let middle = median(&mut values.iter().map(|value| value.1).collect::<Vec<_>>()).unwrap_or_default();
        for (HostId(id), value) in values {
            self.0[id as usize].push(value - middle);
        }
    }

    /// The levels, drawn towards the middle host's by how uncertain they are.
    fn levels(self) -> Vec<Level> {
        let known: Vec<_> = self.0.into_iter().map(|ratios| (ratios.len(), spread(ratios))).collect();
        let of_known = |value: fn(&(usize, (f64, f64))) -> f64| {
            known.iter().filter(|host| host.0 >= REASONS).map(value).collect::<Vec<_>>()
        };
        let within = median(&mut of_known(|host| host.1.1)).unwrap_or_default();
        let between = spread(of_known(|host| host.1.0)).1.powi(2);
        let level = |(count, (middle, _)): (usize, (f64, f64))| {
            let variance = if count < REASONS { f64::INFINITY } else { OF_MEDIAN * within * within / figure(count) };
            let own = if between > 0.0 { between / (between + variance) } else { 0.0 };
            Level { logarithm: own * middle, variance: between * (1.0 - own) }
        };
        known.into_iter().map(level).collect()
    }
}

/// The groups within which hosts are compared.
pub(super) struct Groups {
    pub(super) names: Vec<String>,
    pub(super) of_host: Vec<usize>,
}

impl Groups {
    fn of(view: &View<'_>) -> Self {
        let all: Vec<_> = view.fleet.ids().map(|id| view.group(id)).collect();
        let mut names = all.clone();
        names.sort_unstable();
        names.dedup();
        let of_host = all.iter().map(|name| names.binary_search(name).unwrap_or_default()).collect();
        Self { names, of_host }
    }
}

/// A property by which a whole group of hosts may drop more, such as the rack.
pub(super) struct Dimension {
    /// Whether the command line names it: then groups are also compared where nothing is known of their past.
    pub(super) is_asked_for: bool,
    /// Names of the groups, such as `kernel=6.18.44`, in order.
    pub(super) names: Vec<String>,
    pub(super) of_host: Vec<Option<usize>>,
}

impl Dimension {
    fn of(view: &View<'_>, by: &By, is_asked_for: bool) -> Self {
        let group = |host: &Host| if host.seconds > 0.0 { by.group(host) } else { None };
        let all: Vec<_> = view.fleet.hosts().iter().map(group).collect();
        let mut names: Vec<_> = all.iter().flatten().cloned().collect();
        names.sort_unstable();
        names.dedup();
        let of_host = all.iter().map(|name| names.binary_search(name.as_ref()?).ok()).collect();
        Self { is_asked_for, names, of_host }
    }

    /// The number of hosts of each group.
    fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.names.len()];
        for &group in self.of_host.iter().flatten() {
            sizes[group] += 1;
        }
        sizes
    }

    /// The residuals of each group's hosts.
    pub(super) fn residuals(&self, of: impl Iterator<Item = (HostId, f64)>) -> Vec<Vec<f64>> {
        let mut groups = vec![Vec::new(); self.names.len()];
        for (HostId(id), residual) in of {
            if let Some(group) = self.of_host[id as usize] {
                groups[group].push(residual);
            }
        }
        groups
    }

    /// By how much the group of each host is above all, if it is by much.
    pub(super) fn shifts(
        &self,
        of: impl Iterator<Item = (HostId, f64)> + Clone,
        min_hosts: usize,
    ) -> impl Iterator<Item = f64> {
        let groups = self.residuals(of.clone()).into_iter();
        let shift = |mut group: Vec<f64>| {
            let shift = if group.len() < min_hosts { None } else { median(&mut group) };
            shift.filter(|shift| *shift >= EXPLAINS.ln()).unwrap_or_default()
        };
        let shifts: Vec<_> = groups.map(shift).collect();
        of.map(move |(HostId(id), _)| self.of_host[id as usize].map_or(0.0, |group| shifts[group]))
    }
}

/// The dimensions of hosts that have several groups, each way to divide the hosts once: first those that the command line
/// names.
fn dimensions(view: &View<'_>) -> Vec<Dimension> {
    let labels: BTreeSet<_> = view.fleet.hosts().iter().flat_map(|host| host.labels.keys()).collect();
    let mut all: Vec<(By, bool)> = vec![(By::Kernel, true)];
    all.extend(view.options.by.iter().map(|by| (by.clone(), true)));
    all.extend(labels.into_iter().map(|label| (By::Label(label.clone()), false)));
    let mut seen = HashSet::new();
    let dimensions = all.into_iter().map(|(by, is_asked_for)| Dimension::of(view, &by, is_asked_for));
    let has_groups =
        |it: &Dimension| it.names.len() > 1 && it.sizes().into_iter().any(|size| size >= view.options.min_hosts);
    dimensions.filter(|it| has_groups(it) && seen.insert(partition(&it.of_host))).collect()
}

/// Groups by number, in the order of their first hosts.
fn partition(of_host: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut numbers = HashMap::new();
    let mut number = |group: usize| {
        let next = numbers.len();
        *numbers.entry(group).or_insert(next)
    };
    of_host.iter().map(|group| group.map(&mut number)).collect()
}
