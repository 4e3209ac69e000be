//! Derives findings from a fleet. The analysis is pure: the same fleet gives the same findings, in whatever order its
//! hosts were added.

mod account;
mod build;
mod group;
mod health;
mod news;
mod outlier;
pub(crate) mod outside;
mod owner;
mod robust;
mod storm;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::cmp::Reverse;

use serde::{Serialize, Serializer};

use super::finding::Finding;
use super::model::Fleet;
use view::View;

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
    /// A host stands out if it is this many robust standard deviations above the median, on a logarithmic scale.
    pub deviations: f64,
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
            deviations: 6.0,
            growth: 10.0,
            storm_rate: 1_000.0,
            named: 5,
        }
    }
}

/// Returns all findings, the gravest first.
pub(crate) fn analyse(fleet: &Fleet, options: &Options) -> Vec<Finding> {
    let view = View::new(fleet, options);
    let (outliers, found) = outlier::outliers(&view);
    let news = news::news(&view, &found);
    let mut findings: Vec<_> = account::silent(&view).into_iter().collect();
    findings.extend(health::unhealthy(&view, &news.told));
    findings.extend(news.findings);
    findings.extend(outliers);
    findings.extend(group::groups(&view));
    findings.extend(storm::storms(&view));
    findings.extend(outside::outside(&view));
    findings.extend(owner::owners(&view));
    findings.extend(account::ledgers(&view));
    findings.sort_by(|one, other| order(one).cmp(&order(other)));
    findings
}

fn order(finding: &Finding) -> impl Ord + '_ {
    let Finding { severity, kind, title, group, hosts, .. } = finding;
    (Reverse(*severity), *kind, Reverse(hosts.count), title, group)
}
