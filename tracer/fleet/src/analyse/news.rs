//! Findings of drops that are new since the baseline, or far more frequent.

use std::collections::{BTreeMap, HashSet};

use droptrace_base::explain::Usual;

use super::build::{Draft, figure, hosts, severity};
use super::outlier::Found;
use super::view::{ByHost, Cause, View, by_cause, sums, total};
use crate::finding::{Finding, Kind, Severity};
use crate::model::{Fleet, HostId, Key};

/// The least number of drops that the baseline should have had at today's rate. That it has none is then no chance (1
/// in 22,000).
const EXPECTED: f64 = 10.0;

/// The fleet and its baseline.
pub(super) struct Comparison<'v, 'f> {
    view: &'v View<'f>,
    baseline: &'f Fleet,
    /// Drops in the baseline.
    before: BTreeMap<Cause<'f>, f64>,
    /// Sum of the time spans of all hosts.
    seconds: f64,
    seconds_before: f64,
}

impl<'v, 'f> Comparison<'v, 'f> {
    /// Absent without a baseline that has reasons.
    pub(super) fn of(view: &'v View<'f>) -> Option<Self> {
        let baseline = view.fleet.baseline.as_deref()?;
        let causes = by_cause(baseline);
        let ids = |with_reason: bool| -> HashSet<HostId> {
            let rows = causes.iter().filter(|(cause, _)| cause.reason.is_some() == with_reason);
            rows.flat_map(|(_, row)| row.iter().map(|entry| entry.0)).collect()
        };
        let (informative, others) = (ids(true), ids(false));
        // A host without drops is as informative as any other; a host whose backend does not report reasons is not.
        let counts = |id: HostId| informative.contains(&id) || !others.contains(&id);
        let seconds_before = seconds(baseline, counts);
        let before = causes.into_iter().map(|(cause, row)| (cause, total(&row))).collect();
        let it = Self { view, baseline, before, seconds: seconds(view.fleet, |_| true), seconds_before };
        (it.seconds > 0.0 && it.seconds_before > 0.0).then_some(it)
    }

    /// Findings of reasons that the baseline does not have.
    pub(super) fn new_reasons(&self) -> Vec<(Cause<'f>, Finding)> {
        let new = self.reasons().filter(|(_, _, before)| *before == 0.0);
        new.filter_map(|(cause, row, _)| Some((cause, self.new_reason(cause, row)?))).collect()
    }

    /// Findings of reasons that are far more frequent, without the hosts that were found by themselves.
    pub(super) fn grown_reasons(&self, found: &Found<'f>) -> Vec<(Cause<'f>, Finding)> {
        let none = HashSet::new();
        let old = self.reasons().filter(|(_, _, before)| *before > 0.0);
        let grown =
            |(cause, row, before)| Some((cause, self.grown(cause, row, before, found.get(&cause).unwrap_or(&none))?));
        old.filter_map(grown).collect()
    }

    /// The reasons with their drops now, and their sum in the baseline.
    fn reasons(&self) -> impl Iterator<Item = (Cause<'f>, &'v ByHost, f64)> {
        let reasons = self.view.causes.iter().filter(|(cause, _)| cause.reason.is_some());
        reasons.map(|(cause, row)| (*cause, row, self.before.get(cause).copied().unwrap_or_default()))
    }

    /// Returns whether there are enough drops, and too many to be absent from the baseline by chance.
    fn is_new(&self, packets: f64) -> bool {
        packets >= self.view.options.min_packets && packets / self.seconds * self.seconds_before >= EXPECTED
    }

    fn new_reason(&self, cause: Cause<'f>, row: &ByHost) -> Option<Finding> {
        let (view, packets) = (self.view, total(row));
        if !self.is_new(packets) {
            return None;
        }
        let is_a_fault = view.explain(cause).is_some_and(|(_, it)| it.usual == Some(Usual::Never));
        let severity = if is_a_fault { Severity::Critical } else { severity(view, cause) };
        let title = format!("{} is new: on {}", cause.name(), hosts(row.len()));
        let draft = Draft::new(Kind::NewReason, severity, title).cause(view, cause);
        Some(self.evidence(draft.symbol(self.foremost(cause)), row, self.seconds, 0.0).done())
    }

    /// Hosts that stand out by themselves are reported by another finding: here only the others count.
    fn grown(&self, cause: Cause<'f>, row: &ByHost, before: f64, without: &HashSet<HostId>) -> Option<Finding> {
        let view = self.view;
        let row: ByHost = row.iter().filter(|entry| !without.contains(&entry.0)).copied().collect();
        let packets = total(&row);
        let seconds = seconds(view.fleet, |id| !without.contains(&id));
        let rate = packets / seconds;
        // The most drops that the baseline may lack by chance.
        let at_most = (before + 3.0 * before.sqrt()) / self.seconds_before;
        let has_grown = packets >= view.options.min_packets && rate >= view.options.growth * at_most;
        has_grown.then(|| {
            let times = rate / (before / self.seconds_before);
            let title = format!("{} is {times:.0} times the baseline's, on {}", cause.name(), hosts(row.len()));
            let draft = Draft::new(Kind::Grown, severity(view, cause), title).cause(view, cause);
            self.evidence(draft.symbol(self.foremost(cause)), &row, seconds, before).done()
        })
    }

    /// `seconds` is the time span of the hosts that are compared.
    fn evidence(&self, draft: Draft, row: &ByHost, seconds: f64, before: f64) -> Draft {
        let packets = total(row);
        let rates = row.iter().map(|&(id, packets)| (id, self.view.rate(id, packets)));
        draft
            .hosts(self.view, rates, "packets/s")
            .evidence("dropped", packets, "packets")
            .evidence("dropped in the baseline", before, "packets")
            .evidence("rate of all hosts together, each host's second", packets / seconds, "packets/s")
            .evidence("the same in the baseline", before / self.seconds_before, "packets/s")
            .evidence("hosts of the fleet", figure(self.view.fleet.hosts().len()), "hosts")
    }

    /// The function with the most of these drops.
    fn foremost(&self, cause: Cause<'f>) -> Option<&'f str> {
        let sites = sums(self.view.fleet, |key| (Cause::of(key) == cause).then_some(key.symbol?));
        let most = sites.iter().max_by(|one, other| total(one.1).total_cmp(&total(other.1)));
        most.map(|(symbol, _)| *symbol)
    }

    /// Makes one finding for each reason that has new drop sites.
    pub(super) fn new_sites(&self) -> Vec<Finding> {
        let known: HashSet<_> = sums(self.baseline, Site::of).into_keys().collect();
        let knows_sites: HashSet<_> = known.iter().map(|site| site.cause).collect();
        let mut new: BTreeMap<Cause<'f>, Vec<(Site<'f>, ByHost)>> = BTreeMap::new();
        for (site, row) in sums(self.view.fleet, Site::of) {
            if knows_sites.contains(&site.cause) && !known.contains(&site) && self.is_new(total(&row)) {
                new.entry(site.cause).or_default().push((site, row));
            }
        }
        new.into_iter().filter_map(|(cause, sites)| self.new_site(cause, &sites)).collect()
    }

    fn new_site(&self, cause: Cause<'f>, sites: &[(Site<'f>, ByHost)]) -> Option<Finding> {
        let (foremost, row) = sites.iter().max_by(|one, other| total(&one.1).total_cmp(&total(&other.1)))?;
        let at = foremost.symbol.or(foremost.trap_group).unwrap_or("an unknown drop site");
        let more = if sites.len() > 1 { format!(" and at {} more", sites.len() - 1) } else { String::new() };
        let title = format!("{} at {at}{more} is new: on {}", cause.name(), hosts(row.len()));
        let draft =
            Draft::new(Kind::NewSite, Severity::Notice, title).cause(self.view, cause).symbol(foremost.symbol).means(
                "The reason is known, this drop site is not: new traffic, a new kernel, or a function of another name.",
            );
        let draft = draft.evidence("new sites", figure(sites.len()), "sites");
        Some(self.evidence(draft, row, self.seconds, 0.0).done())
    }
}

/// A drop site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Site<'f> {
    cause: Cause<'f>,
    symbol: Option<&'f str>,
    module: Option<&'f str>,
    trap_group: Option<&'f str>,
}

impl<'f> Site<'f> {
    fn of(key: Key<'f>) -> Option<Self> {
        let Key { symbol, module, trap_group, .. } = key;
        let is_known = symbol.is_some() || trap_group.is_some();
        is_known.then(|| Self { cause: Cause::of(key), symbol: symbol.map(plain), module, trap_group })
    }
}

/// The name without the suffixes of compilers (`.constprop.0`, `.isra.0`, `.cold`), which differ between builds.
fn plain(symbol: &str) -> &str {
    symbol.split_once('.').map_or(symbol, |(name, _)| if name.is_empty() { symbol } else { name })
}

fn seconds(fleet: &Fleet, counts: impl Fn(HostId) -> bool) -> f64 {
    let hosts = fleet.ids().zip(fleet.hosts());
    let seconds = hosts.filter(|(id, _)| counts(*id)).map(|(_, host)| host.seconds);
    seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0).sum()
}
