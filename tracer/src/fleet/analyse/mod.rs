//! Concludes from a fleet. Pure: the same fleet gives the same findings, in whatever order its hosts came.

use super::finding::Finding;
use super::model::Fleet;

/// What hosts are compared within.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Hosts with the same kernel release.
    Kernel,
    /// Drops at interfaces of the same class.
    Class,
    /// Hosts that count in the same way.
    Step,
    /// Hosts with the same value of this label.
    Label(String),
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq)]
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
pub fn analyse(_fleet: &Fleet, _options: &Options) -> Vec<Finding> {
    Vec::new()
}
