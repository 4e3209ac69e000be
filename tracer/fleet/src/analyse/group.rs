//! Groups of hosts, such as those with one kernel release or in one rack, that as a whole drop far more than the other
//! hosts.
//!
//! Groups differ anyway (a mixed effect), and this deviation between groups is a part of the model. Where the hosts' own
//! past is known, the change since then is compared, and not the rates: groups with another role are then alike.

use std::collections::BTreeMap;

use super::build::{Draft, figure, severity};
use super::chance::upper_tail;
use super::compare::LASTING;
use super::peers::{Dimension, Peers};
use super::robust::{NORMAL, OF_MEDIAN, median, spread};
use super::view::{ByHost, Cause, View, by_cause, per_host};
use crate::finding::{Effect, Finding, Kind, Severity};
use crate::model::HostId;

/// A group that stands out by more reasons than this, and by their sum, is reported once.
const SINGLE_REASONS: usize = 3;
/// Only a few hosts have drops if less than this share of them has.
const FEW: f64 = 0.1;
/// The deviation between groups of logarithms of rates, and of changes since the past, that is usual.
const USUAL_RATES: f64 = 0.6;
const USUAL_CHANGES: f64 = 0.2;
/// So many groups more count with the usual deviation.
const USUAL_COUNTS: f64 = 4.0;
/// A host's past is known if so many drops were to be expected.
const EXPECTED: f64 = 3.0;

/// A reason by which a group stands out.
pub(super) struct Hit<'f> {
    /// `None` stands for the sum of all reasons.
    cause: Option<Cause<'f>>,
    group: String,
    hosts: Vec<HostId>,
    /// Whether the hosts are compared with their past.
    of_past: bool,
    /// How many times as much as others.
    effect: Effect,
    packets: f64,
    pub(super) probability: f64,
    q_value: f64,
}

/// The number of tests, and those whose probability is at most `most`.
pub(super) fn tests<'f>(view: &View<'f>, peers: &Peers<'_>, most: f64) -> (usize, Vec<Hit<'f>>) {
    let before = view.fleet.baseline.as_deref().map(by_cause).unwrap_or_default();
    let sum = |causes: &BTreeMap<Cause<'_>, ByHost>| -> ByHost { per_host(causes).into_iter().collect() };
    let (all, all_before) = (sum(&view.causes), sum(&before));
    let rows = view.causes.iter().filter(|(cause, _)| !cause.netlink);
    let rows = rows.map(|(cause, row)| (Some(*cause), row, before.get(cause)));
    let (mut tests, mut hits) = (0, Vec::new());
    for (cause, row, past) in rows.chain([(None, &all, Some(&all_before))]) {
        let series = Series::of(peers, row, &peers.past.of_all(past));
        for dimension in &peers.dimensions {
            series.compare(view, dimension, cause, &mut tests, &mut hits);
        }
    }
    hits.retain(|hit| hit.probability <= most && hit.effect.at_most.is_finite());
    (tests, hits)
}

/// Findings of the hits whose q-values are small enough.
pub(super) fn groups(view: &View<'_>, hits: Vec<Hit<'_>>, q_values: &[f64], share: f64) -> Vec<Finding> {
    let mut by_group: BTreeMap<String, Vec<Hit<'_>>> = BTreeMap::new();
    for hit in without_overlap(hits, q_values, share) {
        by_group.entry(hit.group.clone()).or_default().push(hit);
    }
    let findings = by_group.into_values().flat_map(|hits| {
        reported(hits).into_iter().map(|(hit, reasons)| hit.finding(view, reasons)).collect::<Vec<_>>()
    });
    findings.collect()
}

/// Groups of several dimensions may have the same hosts: the most certain one is kept for each reason.
fn without_overlap<'f>(hits: Vec<Hit<'f>>, q_values: &[f64], share: f64) -> Vec<Hit<'f>> {
    let mut hits: Vec<_> = hits.into_iter().zip(q_values).map(|(hit, &q_value)| Hit { q_value, ..hit }).collect();
    hits.retain(|hit| hit.q_value <= share);
    hits.sort_by(|one, other| one.probability.total_cmp(&other.probability).then_with(|| one.group.cmp(&other.group)));
    let mut kept: Vec<Hit<'f>> = Vec::new();
    for hit in hits {
        let shares_most = |other: &Hit<'f>| {
            let common = hit.hosts.iter().filter(|id| other.hosts.binary_search(id).is_ok()).count();
            other.cause == hit.cause && 2 * common >= hit.hosts.len().min(other.hosts.len())
        };
        if !kept.iter().any(shares_most) {
            kept.push(hit);
        }
    }
    kept
}

/// Selects the hits that are reported, with the number of reasons that each stands for.
fn reported(mut hits: Vec<Hit<'_>>) -> Vec<(Hit<'_>, usize)> {
    let reasons = hits.iter().filter(|hit| hit.cause.is_some()).count();
    let stands_for_all = reasons > SINGLE_REASONS && hits.iter().any(|hit| hit.cause.is_none());
    // The sum is a finding of its own if no reason stands out.
    let keep_sum = stands_for_all || reasons == 0;
    hits.retain(|hit| if hit.cause.is_none() { keep_sum } else { !stands_for_all });
    hits.into_iter().map(|hit| (hit, if stands_for_all { reasons } else { 1 })).collect()
}

/// The drops of a reason, by host.
struct Series {
    packets: Vec<f64>,
    /// Logarithms of rates; hosts without drops have half of one.
    rates: Vec<(HostId, f64)>,
    /// Logarithms of changes since the past, of the hosts whose past has enough drops.
    changes: Vec<(HostId, f64)>,
}

impl Series {
    fn of(peers: &Peers<'_>, row: &ByHost, past: &[f64]) -> Self {
        let mut packets = vec![0.0; peers.seconds.len()];
        for &(HostId(id), count) in row {
            packets[id as usize] = count;
        }
        let known = || (0..packets.len()).filter(|&index| peers.seconds[index] > 0.0);
        let rate = |index: usize| (peers.ids[index], ((packets[index] + 0.5) / peers.seconds[index]).ln());
        let change = |index: usize| {
            let expected = past[index] / peers.past.seconds[index] * peers.seconds[index];
            (expected >= EXPECTED).then(|| (peers.ids[index], ((packets[index] + 0.5) / expected).ln()))
        };
        let (rates, changes) = (known().map(rate).collect(), known().filter_map(change).collect());
        Self { packets, rates, changes }
    }

    /// The rates of hosts with drops.
    fn of_dropping(&self) -> Vec<(HostId, f64)> {
        self.rates.iter().filter(|(id, _)| self.packets[id.0 as usize] > 0.0).copied().collect()
    }

    /// Where about half of the hosts have drops, the medians of all hosts differ by chance: the rates of the hosts with
    /// drops must differ, too, unless hardly any other host has drops.
    fn certain(&self, all: Vec<Shift>, dropping: &[Shift], hosts: usize) -> Vec<Shift> {
        let with_drops = self.packets.iter().filter(|&&packets| packets > 0.0).count();
        let less = |group: Shift| {
            if let Some(other) = dropping.iter().find(|other| other.index == group.index) {
                return Some(if other.score() < group.score() { *other } else { group });
            }
            let others = figure(with_drops.saturating_sub(group.hosts));
            (others < FEW * figure(hosts - group.hosts)).then_some(group)
        };
        all.into_iter().filter_map(less).collect()
    }

    /// Compares the groups of a dimension by the changes since the past and, if the command line names the dimension, by
    /// rates.
    fn compare<'f>(
        &self,
        view: &View<'_>,
        dimension: &Dimension,
        cause: Option<Cause<'f>>,
        tests: &mut usize,
        hits: &mut Vec<Hit<'f>>,
    ) {
        let with_drops = self.packets.iter().filter(|&&packets| packets > 0.0).count();
        let of_past = view.fleet.baseline.is_some() && 2 * self.changes.len() >= with_drops;
        let (min_hosts, least) = (view.options.min_hosts, view.options.min_times);
        let mut found = Vec::new();
        if of_past {
            let groups = Between::of(dimension, &self.changes, min_hosts, true).groups;
            found.extend(groups.into_iter().map(|group| (group, true, least)));
        }
        if dimension.is_asked_for {
            let dropping = Between::of(dimension, &self.of_dropping(), min_hosts, false).groups;
            let all = Between::of(dimension, &self.rates, min_hosts, false).groups;
            let least = if of_past { least.max(LASTING) } else { least };
            let groups = self.certain(all, &dropping, self.rates.len()).into_iter();
            found.extend(groups.map(|group| (group, false, least)));
        }
        *tests += found.len();
        let hit = |(group, of_past, least): (Shift, bool, f64)| {
            (group.logarithm >= least.ln()).then(|| self.hit(view, dimension, cause, group, of_past)).flatten()
        };
        hits.extend(found.into_iter().filter_map(hit));
    }

    /// `None` if the group has few drops, or its median host none.
    fn hit<'f>(
        &self,
        view: &View<'_>,
        dimension: &Dimension,
        cause: Option<Cause<'f>>,
        group: Shift,
        of_past: bool,
    ) -> Option<Hit<'f>> {
        let values = if of_past { &self.changes } else { &self.rates };
        let hosts = values.iter().map(|value| value.0);
        let hosts: Vec<_> = hosts.filter(|id| dimension.of_host[id.0 as usize] == Some(group.index)).collect();
        let mut counts: Vec<_> = hosts.iter().map(|id| self.packets[id.0 as usize]).collect();
        let packets = counts.iter().sum::<f64>();
        let is_material = packets >= view.options.min_packets && median(&mut counts)? >= 1.0;
        is_material.then(|| Hit {
            cause,
            group: dimension.names[group.index].clone(),
            hosts,
            of_past,
            effect: group.effect(),
            packets,
            probability: upper_tail(group.score()),
            q_value: 1.0,
        })
    }
}

/// A group against the other hosts.
#[derive(Clone, Copy)]
struct Shift {
    index: usize,
    hosts: usize,
    logarithm: f64,
    deviation: f64,
}

impl Shift {
    fn score(self) -> f64 {
        self.logarithm / self.deviation
    }

    fn effect(self) -> Effect {
        let times = |deviations: f64| (self.logarithm + deviations * self.deviation).exp();
        Effect { times: times(0.0), at_least: times(-1.959_963_984_540_054), at_most: times(1.959_963_984_540_054) }
    }
}

/// The groups of a dimension.
struct Between {
    groups: Vec<Shift>,
}

impl Between {
    fn of(dimension: &Dimension, values: &[(HostId, f64)], min_hosts: usize, of_past: bool) -> Self {
        let of_groups = dimension.residuals(values.iter().copied());
        let all: usize = of_groups.iter().map(Vec::len).sum();
        let is_large = |hosts: &[f64]| hosts.len() >= min_hosts && all - hosts.len() >= min_hosts;
        let mut middle = values.iter().map(|value| value.1).collect::<Vec<_>>();
        let middle = median(&mut middle).unwrap_or_default();
        let mut groups = Vec::new();
        for (index, hosts) in of_groups.iter().enumerate().filter(|(_, hosts)| is_large(hosts)) {
            let others = if 4 * hosts.len() < all { middle } else { others(&of_groups, index) };
            let (own, within) = spread(hosts.clone());
            let variance = OF_MEDIAN * within * within / figure(hosts.len());
            groups.push(Shift { index, hosts: hosts.len(), logarithm: own - others, deviation: variance });
        }
        let between = between(&groups, if of_past { USUAL_CHANGES } else { USUAL_RATES });
        for group in &mut groups {
            group.deviation = (group.deviation + between).sqrt();
        }
        Self { groups }
    }
}

fn others(groups: &[Vec<f64>], index: usize) -> f64 {
    let others = groups.iter().enumerate().filter(|(other, _)| *other != index);
    median(&mut others.flat_map(|(_, hosts)| hosts.iter().copied()).collect::<Vec<_>>()).unwrap_or_default()
}

/// The variance between groups, drawn towards the usual one if the groups are few.
fn between(groups: &[Shift], usual: f64) -> f64 {
    let mut shifts: Vec<_> = groups.iter().map(|group| group.logarithm.abs()).collect();
    let count = figure(shifts.len());
    let known = median(&mut shifts).map_or(0.0, |middle| NORMAL * middle);
    // Half of two groups is one of them, which may be the one that stands out.
    let count = if count < 5.0 { 0.0 } else { count };
    (count * known * known + USUAL_COUNTS * usual * usual) / (count + USUAL_COUNTS)
}

impl Hit<'_> {
    fn finding(&self, view: &View<'_>, reasons: usize) -> Finding {
        let (group, times) = (&self.group, self.effect.times);
        let why = self.cause.map_or_else(String::new, |cause| format!(" for {}", cause.name()));
        let times = if times < 10.0 { format!("{times:.1}") } else { format!("{times:.0}") };
        let than = if self.of_past { "before, unlike others" } else { "others" };
        let title = format!("hosts with {group} drop {times} times as much{why} as {than}");
        let severity = self.cause.map_or(Severity::Warning, |cause| severity(view, cause));
        let mut draft = Draft::new(Kind::Group, severity, title)
            .group(group.clone())
            .hosts(view, self.hosts.iter().map(|&id| (id, None)), "packets/s")
            .effect(self.effect, self.q_value)
            .evidence("in the group", figure(self.hosts.len()), "hosts")
            .evidence("dropped there", self.packets, "packets");
        if reasons > 1 {
            draft = draft.evidence("more than the others for", figure(reasons), "reasons");
        }
        match self.cause {
            Some(cause) => draft.cause(view, cause).done(),
            None => draft
                .means("The median host of the group drops more than that of others, by all reasons together.")
                .done(),
        }
    }
}
