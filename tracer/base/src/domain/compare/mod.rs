//! Where two sources differ, and what of it the evidence explains.
//!
//! Every drop that one heard and the other did not is explained by a cause that was counted, possible by causes that
//! happened but were not counted, or unexplained. No cause explains more than it counted.

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

/// Drops of one place, as each source counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By the kernel program.
    pub ebpf: u64,
    /// By `NET_DM`.
    pub net_dm: u64,
    /// By both, where single drops were joined. From totals it cannot be told, so none stands for as many as can be:
    /// then drops that only one source heard hide as many that only the other did.
    pub both: Option<u64>,
}

impl Counts {
    fn both(&self) -> u64 {
        let most = self.ebpf.min(self.net_dm);
        self.both.map_or(most, |both| both.min(most))
    }
}

/// Sums up what each source counted by place, and puts it side by side, in order of place.
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

/// One place, and what the sources differ by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row<K> {
    /// Where and why.
    #[serde(flatten)]
    pub site: K,
    /// Drops that the kernel program counted.
    pub ebpf: u64,
    /// Drops that `NET_DM` counted.
    pub net_dm: u64,
    /// The former less the latter.
    pub difference: i128,
    /// Drops that only the kernel program heard.
    pub not_by_net_dm: Gap,
    /// Drops that only `NET_DM` heard.
    pub not_by_ebpf: Gap,
}

/// Two sources over the same interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison<K> {
    /// The sums of all sites.
    pub total: Sums,
    /// By place, those with the greatest unexplained, then possible, then explained gap first.
    pub sites: Vec<Row<K>>,
}

/// Sums of all sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Drops that the kernel program counted.
    pub ebpf: u64,
    /// Drops that `NET_DM` counted.
    pub net_dm: u64,
    /// Drops that only one of them heard: the sum of the next three.
    pub only_one: u64,
    /// Those explained by causes that were counted.
    pub explained: u64,
    /// Those that causes may explain which were not counted.
    pub possible: u64,
    /// Those that nothing explains.
    pub unexplained: u64,
    /// The judgement.
    pub verdict: Verdict,
}

/// How far two sources agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Both heard the same.
    #[default]
    Agree,
    /// They differ by no more than what was counted as lost.
    Explained,
    /// They differ by more, but something was lost that nobody counts.
    PossiblyExplained,
    /// They differ by drops that nothing explains.
    Unexplained,
}

impl Verdict {
    /// Whether nothing is left without a cause. A possible cause counts as one.
    pub const fn is_explained(self) -> bool {
        !matches!(self, Self::Unexplained)
    }
}

/// Compares what two sources counted by place.
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
    /// Both directions.
    pub const fn gaps(&self) -> [&Gap; 2] {
        [&self.not_by_net_dm, &self.not_by_ebpf]
    }

    /// What puts a row before others.
    fn weight(&self) -> [u128; 4] {
        let of = |part: fn(&Gap) -> u64| self.gaps().into_iter().map(|gap| u128::from(part(gap))).sum();
        [of(|gap| gap.unexplained), of(|gap| gap.possible), of(|gap| gap.packets), self.ebpf.into()]
    }

    /// The same row with its place shown otherwise, such as by name.
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
    /// Whether all differences are explained, or possibly so: the command then exits with 0, else with 3.
    pub const fn is_explained(&self) -> bool {
        self.total.verdict.is_explained()
    }

    /// The same comparison with its sites shown otherwise, such as by name.
    pub fn named<N>(self, mut name: impl FnMut(K) -> N) -> Comparison<N> {
        let sites = self.sites.into_iter().map(|row| row.named(&mut name)).collect();
        Comparison { total: self.total, sites }
    }
}
