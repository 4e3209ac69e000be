//! Groups of hosts, such as those with one kernel release, that drop far more than the other hosts.

use std::collections::BTreeMap;

use super::By;
use super::build::{Draft, figure, severity};
use super::robust::{mann_whitney, median};
use super::view::{Cause, View, per_host};
use crate::finding::{Finding, Kind, Severity};
use crate::model::HostId;

/// A group stands out if its median is this many times that of the other hosts …
const TIMES: f64 = 4.0;
/// … and if its ranks are this many standard deviations from chance, which is 1 in 3.5 million.
const SURE: f64 = 5.0;
/// A group that stands out by more reasons than this, and by their sum, is reported once.
const TOLD_APART: usize = 3;

/// A reason by which a group stands out.
struct Hit<'f> {
    /// `None` stands for the sum of all reasons.
    cause: Option<Cause<'f>>,
    median: f64,
    others: f64,
    sure: f64,
    packets: f64,
}

/// All dimensions of hosts, each by itself.
pub(super) fn groups(view: &View<'_>) -> Vec<Finding> {
    let mut dimensions = view.options.by.clone();
    dimensions.insert(0, By::Kernel);
    let mut findings = Vec::new();
    for (at, by) in dimensions.iter().enumerate() {
        if !dimensions[..at].contains(by) {
            findings.extend(of_dimension(view, by));
        }
    }
    findings
}

fn of_dimension(view: &View<'_>, by: &By) -> Vec<Finding> {
    let mut members: BTreeMap<String, Vec<HostId>> = BTreeMap::new();
    for (id, host) in view.fleet.ids().zip(view.fleet.hosts()) {
        if host.seconds > 0.0
            && let Some(group) = by.group(host)
        {
            members.entry(group).or_default().push(id);
        }
    }
    let all: usize = members.values().map(Vec::len).sum();
    let min = view.options.min_hosts;
    members.retain(|_, hosts| hosts.len() >= min && all - hosts.len() >= min);
    if members.is_empty() {
        return Vec::new();
    }
    let mut hits: BTreeMap<&str, Vec<Hit<'_>>> = BTreeMap::new();
    let sum: Vec<_> = per_host(&view.causes).into_iter().collect();
    let rows = view.causes.iter().filter(|(cause, _)| !cause.netlink).map(|(cause, row)| (Some(*cause), row));
    for (cause, row) in rows.chain([(None, &sum)]) {
        let rates = Rates::of(view, row);
        for (group, hosts) in &members {
            if let Some(hit) = rates.compare(view, cause, hosts) {
                hits.entry(group).or_default().push(hit);
            }
        }
    }
    let findings = hits.into_iter().flat_map(|(group, hits)| {
        let of_group = &members[group];
        told(hits).into_iter().map(move |(hit, reasons)| hit.finding(view, group, of_group, reasons))
    });
    findings.collect()
}

/// Selects the hits that are reported, with the number of reasons that each stands for.
fn told(mut hits: Vec<Hit<'_>>) -> Vec<(Hit<'_>, usize)> {
    let reasons = hits.iter().filter(|hit| hit.cause.is_some()).count();
    let stands_for_all = reasons > TOLD_APART && hits.iter().any(|hit| hit.cause.is_none());
    // The sum is a finding of its own if no reason stands out.
    let keep_sum = stands_for_all || reasons == 0;
    hits.retain(|hit| if hit.cause.is_none() { keep_sum } else { !stands_for_all });
    hits.into_iter().map(|hit| (hit, if stands_for_all { reasons } else { 1 })).collect()
}

/// Rates of all hosts that reported drops, by id; 0 for a host without drops.
struct Rates {
    rates: Vec<Option<f64>>,
    packets: Vec<f64>,
}

impl Rates {
    fn of(view: &View<'_>, row: &[(HostId, f64)]) -> Self {
        let hosts = view.fleet.hosts();
        let mut rates: Vec<_> = hosts.iter().map(|host| (host.seconds > 0.0).then_some(0.0)).collect();
        let mut packets_of = vec![0.0; hosts.len()];
        for &(id, packets) in row {
            packets_of[id.0 as usize] = packets;
            rates[id.0 as usize] = view.rate(id, packets);
        }
        Self { rates, packets: packets_of }
    }

    fn compare<'f>(&self, view: &View<'_>, cause: Option<Cause<'f>>, group: &[HostId]) -> Option<Hit<'f>> {
        let packets: f64 = group.iter().map(|id| self.packets[id.0 as usize]).sum();
        if packets < view.options.min_packets {
            return None;
        }
        let mut values: Vec<_> = self.rates.iter().map(|&rate| (rate, false)).collect();
        for id in group {
            values[id.0 as usize].1 = true;
        }
        let mut values: Vec<_> = values.into_iter().filter_map(|(rate, is_group)| Some((rate?, is_group))).collect();
        let median_of = |is: bool| {
            let mut some: Vec<_> = values.iter().filter(|value| value.1 == is).map(|value| value.0).collect();
            median(&mut some)
        };
        let (median, others) = (median_of(true)?, median_of(false)?);
        if median <= 0.0 || median < TIMES * others {
            return None;
        }
        let sure = mann_whitney(&mut values);
        (sure >= SURE).then_some(Hit { cause, median, others, sure, packets })
    }
}

impl Hit<'_> {
    fn finding(&self, view: &View<'_>, group: &str, hosts: &[HostId], reasons: usize) -> Finding {
        let why = self.cause.map_or_else(String::new, |cause| format!(" for {}", cause.name()));
        let title = if self.others > 0.0 {
            format!("hosts with {group} drop {:.0} times as much{why} as others", self.median / self.others)
        } else {
            format!("hosts with {group} drop{why}, and most others do not")
        };
        let severity = self.cause.map_or(Severity::Warning, |cause| severity(view, cause));
        let mut draft = Draft::new(Kind::Group, severity, title)
            .group(group.to_owned())
            .hosts(view, hosts.iter().map(|&id| (id, None)), "packets/s")
            .evidence("median of the group", self.median, "packets/s")
            .evidence("median of the others", self.others, "packets/s")
            .evidence("distance from chance", self.sure, "deviations")
            .evidence("in the group", figure(hosts.len()), "hosts")
            .evidence("dropped there", self.packets, "packets");
        if reasons > 1 {
            draft = draft.evidence("more than the others for", figure(reasons), "reasons");
        }
        match self.cause {
            Some(cause) => draft.cause(view, cause).done(),
            None => draft.means("Half of the group's hosts drop more than the median, by all reasons together.").done(),
        }
    }
}
