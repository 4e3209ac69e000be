//! Findings of hosts that lose packets outside `kfree_skb`, by the kernel's counters.

use std::collections::BTreeMap;

use super::build::{Draft, figure, hosts};
use super::outlier::Groups;
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

/// Hosts that stand out among those that lose packets by the same counter, and few hosts that lose packets where others lose none.
pub(super) fn outside(view: &View<'_>) -> Vec<Finding> {
    let (losses, groups) = (Losses::of(view.fleet), Groups::of(view));
    let of_counter = |(counter, row): (&&str, &ByHost)| {
        if row.len() < view.options.min_hosts {
            return few(view, counter, row, losses.known).into_iter().collect();
        }
        let stand_out = groups.compare(view, row);
        stand_out.iter().map(|group| group.finding_by_counter(view, counter)).collect::<Vec<_>>()
    };
    losses.by_counter.iter().flat_map(of_counter).collect()
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
