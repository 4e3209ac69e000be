//! The faults of the fleet.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_xorshift::XorShiftRng;

use super::catalogue::{Catalogue, PLANTED_KERNEL, kernel};
use super::name;

/// Ranks of reasons that something is planted in; outliers are in those before.
const GROUP: usize = 10;
const GROWN: usize = 11;
const SITE: usize = 12;
/// Outliers are among the most common reasons.
const OUTLIERS: usize = 10;

/// Which hosts and reasons have which fault.
#[derive(Clone, Debug)]
pub struct Planted {
    pub(super) silent: BTreeSet<usize>,
    pub(super) lossy: BTreeSet<usize>,
    pub(super) loss_unknown: BTreeSet<usize>,
    pub(super) unbalanced: BTreeSet<usize>,
    /// Rank of the reason.
    pub(super) storms: BTreeMap<usize, usize>,
    /// Rank of the reason, and how many times the middle host's rate.
    pub(super) outliers: BTreeMap<usize, (usize, f64)>,
    /// Outliers that are too small to be found for sure.
    pub(super) faint: BTreeMap<usize, (usize, f64)>,
    /// Hosts with a reason that they did not have before.
    pub(super) new: BTreeMap<usize, String>,
    /// Hosts with a drop site that they did not have before.
    pub(super) new_site: BTreeSet<usize>,
    /// A reason that no healthy host shows, on both days.
    pub(super) fault: String,
    pub(super) group: usize,
    pub(super) grown: usize,
    pub(super) site: usize,
    names: Vec<String>,
}

impl Planted {
    pub(super) fn new(hosts: usize, seed: u64, catalogue: &Catalogue) -> Result<Self> {
        let mut chance = XorShiftRng::seed_from_u64(seed ^ 0x706c_616e_7465_6421);
        let mut order: Vec<usize> = (0..hosts).collect();
        order.shuffle(&mut chance);
        let mut left = order.into_iter();
        // So many of ten thousand hosts, each host once.
        let mut some = |share: usize| -> Vec<usize> { left.by_ref().take((hosts * share).div_ceil(10_000)).collect() };
        let (silent, lossy, loss_unknown, unbalanced) = (some(50), some(100), some(200), some(20));
        let (storms, outliers, faint) = (some(20), some(50), some(100));
        let (new, new_site) = (some(400), some(500));
        let [fault, new_fault, ..] = catalogue.faults.as_slice() else { anyhow::bail!("too few reasons") };
        let mut between = |hosts: Vec<usize>, least: f64, most: f64| -> BTreeMap<usize, (usize, f64)> {
            let pick =
                |host| (host, (chance.random_range(0..OUTLIERS), chance.random_range(least.ln()..most.ln()).exp()));
            hosts.into_iter().map(pick).collect()
        };
        let of_rank = |(number, host)| (host, number % OUTLIERS);
        let of_new = |(number, host)| (host, if number % 2 == 0 { new_fault.clone() } else { catalogue.spare.clone() });
        catalogue.usual.get(SITE).context("too few reasons")?;
        Ok(Self {
            silent: silent.into_iter().collect(),
            lossy: lossy.into_iter().collect(),
            loss_unknown: loss_unknown.into_iter().collect(),
            unbalanced: unbalanced.into_iter().collect(),
            storms: storms.into_iter().enumerate().map(of_rank).collect(),
            outliers: between(outliers, 1e4, 1e5),
            faint: between(faint, 10.0, 1e4),
            new: new.into_iter().enumerate().map(of_new).collect(),
            new_site: new_site.into_iter().collect(),
            fault: fault.clone(),
            group: GROUP,
            grown: GROWN,
            site: SITE,
            names: catalogue.usual.iter().map(|reason| reason.name.clone()).collect(),
        })
    }

    /// How many times the middle host's rate a host drops for a reason by a fault of its own.
    pub(super) fn factor(&self, host: usize, rank: usize) -> Option<f64> {
        let own = self.outliers.get(&host).or_else(|| self.faint.get(&host))?;
        (own.0 == rank).then_some(own.1)
    }

    /// All that must be found, as [`super::judge::found`] names it.
    pub fn all(&self) -> BTreeSet<String> {
        let hosts = |kind: &str, hosts: &BTreeSet<usize>| -> Vec<String> {
            hosts.iter().map(|&host| format!("{kind} {}", name(host))).collect()
        };
        let reasons = |kind: &str, hosts: Vec<(usize, usize)>| -> Vec<String> {
            hosts.iter().map(|&(host, rank)| format!("{kind} {} {}", self.names[rank], name(host))).collect()
        };
        let storms = self.storms.iter().map(|(&host, &rank)| (host, rank)).collect();
        let outliers = self.outliers.iter().map(|(&host, &(rank, _))| (host, rank)).collect();
        let mut all: BTreeSet<_> = [
            hosts("silent", &self.silent),
            hosts("loss", &self.lossy),
            hosts("loss_unknown", &self.loss_unknown),
            hosts("unbalanced", &self.unbalanced),
            reasons("storm", storms),
            reasons("outlier", outliers),
            self.new.values().map(|reason| format!("new_reason {reason}")).collect(),
        ]
        .into_iter()
        .flatten()
        .collect();
        all.insert(format!("unhealthy {}", self.fault));
        all.insert(format!("group {} kernel={PLANTED_KERNEL}", self.names[self.group]));
        all.insert(format!("grown {}", self.names[self.grown]));
        all.insert(format!("new_site {}", self.names[self.site]));
        all
    }

    /// Outliers that may be found, with how many times the middle host's rate they drop.
    pub fn faint(&self) -> BTreeMap<String, f64> {
        let faint = self.faint.iter();
        faint.map(|(&host, &(rank, factor))| (format!("outlier {} {}", self.names[rank], name(host)), factor)).collect()
    }

    pub(super) fn is_of_group(host: usize) -> bool {
        kernel(host) == PLANTED_KERNEL
    }
}
