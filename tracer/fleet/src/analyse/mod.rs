//! Derives findings from a fleet. The analysis is pure: the same fleet gives the same findings, in whatever order its
//! hosts were added.

mod account;
mod build;
mod chance;
mod compare;
mod fit;
mod group;
mod health;
mod news;
mod outlier;
pub(crate) mod outside;
mod owner;
mod past;
mod peers;
mod robust;
#[cfg(test)]
mod simulation;
mod storm;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::cmp::Reverse;
use std::collections::HashSet;

use serde::{Serialize, Serializer};

use super::finding::Finding;
use super::model::Fleet;
use chance::q_values;
use compare::Discovery;
use news::Comparison;
use peers::Peers;
use view::{Cause, View};

/// A dimension within which hosts are compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Hosts with the same kernel release.
    Kernel,
    /// Drops at interfaces of the same class.
    Class,
    /// Hosts with the same capture backend and mode.
    Backend,
    /// Hosts with the same value of this label.
    Label(String),
}

impl By {
    /// The name on the command line.
    pub fn name(&self) -> &str {
        match self {
            Self::Kernel => "kernel",
            Self::Class => "class",
            Self::Backend => "backend",
            Self::Label(label) => label,
        }
    }
}

impl From<&str> for By {
    fn from(name: &str) -> Self {
        match name {
            "kernel" => Self::Kernel,
            "class" => Self::Class,
            "backend" => Self::Backend,
            label => Self::Label(label.to_owned()),
        }
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The thresholds of findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Hosts are compared with those that share all of these dimensions. Empty: with all hosts.
    pub by: Vec<By>,
    /// Fewer drops than this are not a finding.
    pub min_packets: f64,
    /// If fewer hosts than this have drops with a reason, they cannot be compared.
    pub min_hosts: usize,
    /// The share of wrong ones that is accepted among the hosts and groups that stand out.
    pub false_discoveries: f64,
    /// A host or a group stands out only if it drops at least this many times what is expected.
    pub min_times: f64,
    /// A host with fewer drops than this does not stand out.
    pub min_host_packets: f64,
    /// A rate is higher than before if it is this many times that of the baseline.
    pub growth: f64,
    /// Fewer drops per second than this are not a storm.
    pub storm_rate: f64,
    /// The most hosts that a finding names; the others are counted.
    pub named: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            by: vec![By::Kernel],
            min_packets: 100.0,
            min_hosts: 5,
            false_discoveries: 0.01,
            min_times: 2.5,
            min_host_packets: 30.0,
            growth: 10.0,
            storm_rate: 1_000.0,
            named: 5,
        }
    }
}

/// Returns all findings, the gravest first.
pub(crate) fn analyse(fleet: &Fleet, options: &Options) -> Vec<Finding> {
    let view = View::new(fleet, options);
    let comparison = Comparison::of(&view);
    let new = comparison.as_ref().map(Comparison::new_reasons).unwrap_or_default();
    let (mut causes, new): (HashSet<_>, Vec<_>) = new.into_iter().unzip();
    let Standing { outliers, found, groups, outside } = Standing::of(&view, &causes);
    let grown = comparison.as_ref().map(|comparison| comparison.grown_reasons(&found)).unwrap_or_default();
    let (grown_causes, grown): (Vec<_>, Vec<_>) = grown.into_iter().unzip();
    causes.extend(grown_causes);
    let mut findings: Vec<_> = account::silent(&view).into_iter().collect();
    findings.extend(health::unhealthy(&view, &causes));
    findings.extend(new.into_iter().chain(grown));
    findings.extend(comparison.as_ref().map(Comparison::new_sites).unwrap_or_default());
    findings.extend(outliers);
    findings.extend(groups);
    findings.extend(storm::storms(&view));
    findings.extend(outside);
    findings.extend(owner::owners(&view));
    findings.extend(account::ledgers(&view));
    findings.sort_by(|one, other| order(one).cmp(&order(other)));
    findings
}

/// Findings of hosts and groups that stand out: tests of which a bounded share is expected to be wrong.
struct Standing<'f> {
    outliers: Vec<Finding>,
    found: outlier::Found<'f>,
    groups: Vec<Finding>,
    outside: Vec<Finding>,
}

impl<'f> Standing<'f> {
    /// `new`: reasons that the baseline does not have, and that have a finding.
    fn of(view: &View<'f>, new: &HashSet<Cause<'f>>) -> Self {
        let (peers, share) = (Peers::of(view), view.options.false_discoveries);
        let (of_groups, hits) = group::tests(view, &peers, share);
        let (of_hosts, hosts) = outlier::tests(view, &peers, share);
        let (of_counters, losses) = outside::tests(view, &peers, share);
        let probabilities: Vec<_> = hits
            .iter()
            .map(|hit| hit.probability)
            .chain(hosts.iter().map(|host| host.1.probability))
            .chain(losses.iter().map(|loss| loss.1.probability))
            .collect();
        let mut q_values = q_values(&probabilities, of_groups + of_hosts + of_counters).into_iter();
        let of_hits: Vec<_> = q_values.by_ref().take(hits.len()).collect();
        let hosts = kept(hosts, q_values.by_ref(), share);
        let losses = kept(losses, q_values, share);
        let (outliers, found) = outlier::outliers(view, &peers, hosts, new);
        let groups = group::groups(view, hits, &of_hits, share);
        Self { outliers, found, groups, outside: outside::outside(view, &peers, losses) }
    }
}

/// The discoveries whose q-values are small enough, each with its own.
fn kept<S>(probable: Vec<(S, Discovery)>, q_values: impl Iterator<Item = f64>, share: f64) -> Vec<(S, Discovery)> {
    let all = probable.into_iter().zip(q_values);
    let known = all.map(|((subject, discovery), q_value)| (subject, Discovery { q_value, ..discovery }));
    known.filter(|(_, discovery)| discovery.q_value <= share).collect()
}

fn order(finding: &Finding) -> impl Ord + '_ {
    let Finding { severity, kind, title, group, hosts, .. } = finding;
    (Reverse(*severity), *kind, Reverse(finding.packets()), Reverse(hosts.count), title, group)
}
