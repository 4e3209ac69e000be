//! Concludes from a fleet. Pure: the same fleet gives the same findings, in whatever order its hosts came.

mod account;
mod build;
mod group;
mod health;
mod news;
mod outlier;
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

/// What hosts are compared within.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Hosts with the same kernel release.
    Kernel,
    /// Drops at interfaces of the same class.
    Class,
    /// Hosts that count in the same way.
    Backend,
    /// Hosts with the same value of this label.
    Label(String),
}

impl By {
    /// The word that is typed for it.
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

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Options {
    /// Who is compared with whom: those who share all of these. Empty: all with all.
    pub by: Vec<By>,
    /// Fewer drops than this are no finding.
    pub min_packets: f64,
    /// Fewer hosts than this that drop for a reason cannot be compared.
    pub min_hosts: usize,
    /// A host stands out that is so many robust standard deviations above the median, on a logarithmic scale.
    pub deviations: f64,
    /// So many times the baseline's rate is more than before.
    pub growth: f64,
    /// Fewer drops a second than this are no storm.
    pub storm_rate: f64,
    /// So many hosts are named in a finding; the rest are counted.
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

/// All that is worth telling, the gravest first.
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
    findings.extend(account::ledgers(&view));
    findings.sort_by(|one, other| order(one).cmp(&order(other)));
    findings
}

fn order(finding: &Finding) -> impl Ord + '_ {
    let Finding { severity, kind, title, group, hosts, .. } = finding;
    (Reverse(*severity), *kind, Reverse(hosts.count), title, group)
}
