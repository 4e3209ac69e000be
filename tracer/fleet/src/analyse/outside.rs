//! Findings of hosts that lose packets outside `kfree_skb`, by the kernel's counters.

use std::collections::{BTreeMap, HashSet};

use super::build::{Draft, figure, hosts};
use super::compare::{Basis, Comparisons, Discovery, Series};
use super::outlier::Outliers;
use super::peers::Peers;
use super::view::{ByHost, View, total};
use crate::finding::{Finding, Kind, Severity};
use crate::model::Fleet;

/// Losses by counter and host, and the number of hosts whose counters are known.
pub(crate) struct Losses<'f> {
    pub(crate) by_counter: BTreeMap<&'f str, ByHost>,
    pub(crate) known: usize,
}

impl<'f> Losses<'f> {
    pub(crate) fn of(fleet: &'f Fleet) -> Self {
        let mut losses = Self { by_counter: BTreeMap::new(), known: 0 };
        for (id, host) in fleet.ids().zip(fleet.hosts()) {
            let Some(outside) = &host.outside else { continue };
            losses.known += 1;
            for (counter, packets) in outside.iter().filter(|(_, packets)| packets.float() > 0.0) {
                losses.by_counter.entry(counter).or_default().push((id, packets.float()));
            }
        }
        losses
    }
}

/// A host that may stand out, by a counter.
pub(super) type Probable<'f> = (&'f str, Discovery);

/// The number of tests, and those whose probability is at most `most`.
pub(super) fn tests<'f>(view: &View<'f>, peers: &Peers<'_>, most: f64) -> (usize, Vec<Probable<'f>>) {
    let before = view.fleet.baseline.as_deref().map(|baseline| Losses::of(baseline).by_counter).unwrap_or_default();
    let rows = Losses::of(view.fleet).by_counter.into_iter().filter(|(_, row)| row.len() >= view.options.min_hosts);
    let rows: Vec<_> = rows.collect();
    let series = |at: usize| {
        let (counter, now) = &rows[at];
        Series { now: now.clone(), past: peers.past.row(before.get(counter)), level: false, peers: true }
    };
    let comparisons = Comparisons::of(peers, rows.len(), series);
    let (tests, probable) = comparisons.probable(most);
    (tests, probable.into_iter().map(|discovery| (rows[discovery.of.series].0, discovery)).collect())
}

/// Hosts that stand out among those that lose packets by the same counter, and few hosts that lose packets where others lose none.
pub(super) fn outside(view: &View<'_>, peers: &Peers<'_>, mut discoveries: Vec<Probable<'_>>) -> Vec<Finding> {
    let losses = Losses::of(view.fleet);
    let few_rows = losses.by_counter.iter().filter(|(_, row)| row.len() < view.options.min_hosts);
    let few = few_rows.filter_map(|(counter, row)| few(view, counter, row, losses.known));
    let mut groups: BTreeMap<(&str, Basis, Option<usize>), Vec<Discovery>> = BTreeMap::new();
    let mut seen = HashSet::new();
    discoveries.sort_by_key(|(_, discovery)| discovery.of.basis);
    for (counter, discovery) in discoveries.into_iter().filter(|(counter, it)| seen.insert((*counter, it.of.id))) {
        groups.entry((counter, discovery.of.basis, discovery.of.among.group)).or_default().push(discovery);
    }
    let many = groups.into_iter().map(|((counter, basis, group), hosts)| {
        let group = group.map_or("", |group| peers.groups.names[group].as_str());
        Outliers { group, basis, hosts }.finding_by_counter(view, counter)
    });
    few.chain(many).collect()
}

/// Makes the finding of hosts that are too few to be compared with one another.
fn few(view: &View<'_>, counter: &str, row: &ByHost, known: usize) -> Option<Finding> {
    let many: ByHost = row.iter().filter(|(_, packets)| *packets >= view.options.min_packets).copied().collect();
    if many.is_empty() || known <= row.len() {
        return None;
    }
    let severity = if known < view.options.min_hosts { Severity::Notice } else { Severity::Warning };
    let verb = if many.len() == 1 { "loses" } else { "lose" };
    let title = format!("{} {verb} packets outside kfree_skb, and most others do not: {counter}", hosts(many.len()));
    let rates = many.iter().map(|&(id, packets)| (id, view.rate(id, packets)));
    let draft = Draft::new(Kind::Outside, severity, title)
        .hosts(view, rates, "packets/s")
        .evidence("lost there", total(&many), "packets")
        .evidence("hosts with such losses", figure(row.len()), "hosts")
        .evidence("hosts whose counters are known", figure(known), "hosts");
    Some(draft.counter(view, counter).done())
}
