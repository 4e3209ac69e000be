//! The differences between two backends, and the causes that explain them.
//!
//! A site is the key that both backends count by, such as an aggregation key. Each drop that only one backend reported
//! is explained by a cause that was counted, possible because of causes that happened but were not counted, or
//! unexplained. No cause explains more drops than it counted.

mod evidence;
mod gap;
#[cfg(test)]
mod tests;

use std::hash::Hash;

use serde::Serialize;

pub use evidence::{Cause, Evidence, NetDmMode, SiteEvidence, Uncovered};
pub use gap::{Explained, Gap};

/// The name of the JSON schema that a [`Comparison`] is the core of.
pub const SCHEMA: &str = "droptrace.compare.v1";

/// Drops of one site, as each backend counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Drops that the kernel program counted.
    pub ebpf: u64,
    /// Drops that `NET_DM` counted.
    pub net_dm: u64,
    /// Drops that both counted, if single drops were joined. Totals do not show this number; `None` then stands for the
    /// largest possible number, and drops that only one backend reported hide as many that only the other one reported.
    pub both: Option<u64>,
}

impl Counts {
    fn both(&self) -> u64 {
        let most = self.ebpf.min(self.net_dm);
        self.both.map_or(most, |both| both.min(most))
    }
}

/// Adds up the counts of each backend by site, and pairs them, in order of site.
pub fn side_by_side<K: Ord>(
    ebpf: impl IntoIterator<Item = (K, u64)>,
    net_dm: impl IntoIterator<Item = (K, u64)>,
) -> Vec<(K, Counts)> {
    let ebpf = ebpf.into_iter().map(|(site, ebpf)| (site, Counts { ebpf, ..Counts::default() }));
    let net_dm = net_dm.into_iter().map(|(site, net_dm)| (site, Counts { net_dm, ..Counts::default() }));
    let mut counts: Vec<(K, Counts)> = ebpf.chain(net_dm).collect();
    counts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    counts.dedup_by(|(site, more), (kept, sum)| {
        let same = site == kept;
        if same {
            sum.ebpf = sum.ebpf.saturating_add(more.ebpf);
            sum.net_dm = sum.net_dm.saturating_add(more.net_dm);
        }
        same
    });
    counts
}

/// One site, and the difference between the backends there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row<K> {
    /// The site.
    #[serde(flatten)]
    pub site: K,
    /// Drops that the kernel program counted.
    pub ebpf: u64,
    /// Drops that `NET_DM` counted.
    pub net_dm: u64,
    /// `ebpf` less `net_dm`.
    pub difference: i128,
    /// Drops that only the kernel program reported.
    pub not_by_net_dm: Gap,
    /// Drops that only `NET_DM` reported.
    pub not_by_ebpf: Gap,
}

/// Two backends over the same interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison<K> {
    /// The sums of all sites.
    pub total: Sums,
    /// The sites: those with the largest unexplained, then possible, then explained gap come first.
    pub sites: Vec<Row<K>>,
}

/// Sums of all sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Drops that the kernel program counted.
    pub ebpf: u64,
    /// Drops that `NET_DM` counted.
    pub net_dm: u64,
    /// Drops that only one backend reported: the sum of the next three.
    pub only_one: u64,
    /// Drops that are explained by causes that were counted.
    pub explained: u64,
    /// Drops that may be due to causes which were not counted.
    pub possible: u64,
    /// Drops without an explanation.
    pub unexplained: u64,
    /// The verdict on the sums.
    pub verdict: Verdict,
}

/// The agreement of two backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Both reported the same drops.
    #[default]
    Agree,
    /// They differ by no more than the losses that were counted.
    Explained,
    /// They differ by more, but further losses happened that nobody counts.
    PossiblyExplained,
    /// They differ by drops without an explanation.
    Unexplained,
}

impl Verdict {
    /// Returns whether each difference has a cause. A possible cause counts as one.
    pub const fn is_explained(self) -> bool {
        !matches!(self, Self::Unexplained)
    }
}

/// Compares the counts of two backends by site.
pub fn compare<K: Eq + Hash + Ord>(
    counts: impl IntoIterator<Item = (K, Counts)>,
    evidence: &Evidence<K>,
) -> Comparison<K> {
    let mut sites: Vec<Row<K>> = counts.into_iter().map(|(site, counts)| row(site, counts, evidence)).collect();
    gap::spread(sites.iter_mut().map(|row| &mut row.not_by_net_dm), &evidence.missing_from_net_dm());
    gap::spread(sites.iter_mut().map(|row| &mut row.not_by_ebpf), &evidence.missing_from_ebpf());
    sites.sort_unstable_by(|one, other| other.weight().cmp(&one.weight()).then_with(|| one.site.cmp(&other.site)));
    Comparison { total: sums(&sites), sites }
}

fn row<K: Eq + Hash>(site: K, counts: Counts, evidence: &Evidence<K>) -> Row<K> {
    let known = evidence.site(&site);
    let both = counts.both();
    let (only_ebpf, only_net_dm) = (counts.ebpf - both, counts.net_dm - both);
    Row {
        site,
        ebpf: counts.ebpf,
        net_dm: counts.net_dm,
        difference: i128::from(counts.ebpf) - i128::from(counts.net_dm),
        not_by_net_dm: Gap::new(only_ebpf, &known.missing_from_net_dm(evidence.mode, only_ebpf)),
        not_by_ebpf: Gap::new(only_net_dm, &known.missing_from_ebpf(only_net_dm)),
    }
}

fn sums<K>(sites: &[Row<K>]) -> Sums {
    let mut sums = Sums::default();
    for row in sites {
        sums.ebpf = sums.ebpf.saturating_add(row.ebpf);
        sums.net_dm = sums.net_dm.saturating_add(row.net_dm);
        for gap in row.gaps() {
            sums.only_one = sums.only_one.saturating_add(gap.packets);
            sums.explained = sums.explained.saturating_add(gap.explained_packets());
            sums.possible = sums.possible.saturating_add(gap.possible);
            sums.unexplained = sums.unexplained.saturating_add(gap.unexplained);
        }
    }
    sums.verdict = match sums {
        Sums { only_one: 0, .. } => Verdict::Agree,
        Sums { unexplained: 1.., .. } => Verdict::Unexplained,
        Sums { possible: 1.., .. } => Verdict::PossiblyExplained,
        _ => Verdict::Explained,
    };
    sums
}

impl<K> Row<K> {
    /// The gaps in both directions.
    pub const fn gaps(&self) -> [&Gap; 2] {
        [&self.not_by_net_dm, &self.not_by_ebpf]
    }

    /// The weight by which rows are sorted.
    fn weight(&self) -> [u128; 4] {
        let of = |part: fn(&Gap) -> u64| self.gaps().into_iter().map(|gap| u128::from(part(gap))).sum();
        [of(|gap| gap.unexplained), of(|gap| gap.possible), of(|gap| gap.packets), self.ebpf.into()]
    }

    /// Returns the row with another form of its site, such as a name.
    pub fn named<N>(self, name: impl FnOnce(K) -> N) -> Row<N> {
        Row {
            site: name(self.site),
            ebpf: self.ebpf,
            net_dm: self.net_dm,
            difference: self.difference,
            not_by_net_dm: self.not_by_net_dm,
            not_by_ebpf: self.not_by_ebpf,
        }
    }
}

impl<K> Comparison<K> {
    /// Returns whether all differences are explained or possible. The command then exits with 0, else with 3.
    pub const fn is_explained(&self) -> bool {
        self.total.verdict.is_explained()
    }

    /// Returns the comparison with another form of its sites, such as names.
    pub fn named<N>(self, mut name: impl FnMut(K) -> N) -> Comparison<N> {
        let sites = self.sites.into_iter().map(|row| row.named(&mut name)).collect();
        Comparison { total: self.total, sites }
    }
}
