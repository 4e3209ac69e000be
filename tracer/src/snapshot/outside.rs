//! Losses outside `kfree_skb` in a snapshot.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use droptrace_base::snapshot::{Outside, OutsideCounter};

use super::facts::Facts;
use crate::domain::reconciliation::{ReconciledCounter, Reconciliation};
use crate::identity::devices;

/// The counters that rose. Those that differ only in facts of this host, as the number of a namespace, become one row.
pub(super) fn outside(found: &Reconciliation, facts: &Facts<'_>) -> Outside {
    let mut rows: BTreeMap<_, OutsideCounter> = BTreeMap::new();
    for counter in &found.counters {
        let row = row(counter, facts);
        let key = (row.counter.clone(), row.interface.clone(), row.netns_name.clone(), row.own_netns);
        rows.entry(key).and_modify(|sum| add(sum, &row)).or_insert(row);
    }
    let mut counters: Vec<_> = rows.into_values().collect();
    counters.sort_by_key(|row| Reverse((row.outside, row.at_most_outside, row.rise)));
    let gaps = u32::try_from(found.gaps.len()).unwrap_or(u32::MAX);
    Outside { namespaces: found.namespaces, gaps, counters }
}

fn row(counter: &ReconciledCounter, facts: &Facts<'_>) -> OutsideCounter {
    let is_own_netns = (counter.netns != 0 && facts.own_netns != 0).then_some(counter.netns == facts.own_netns);
    let name = counter.interface.as_ref().and_then(|interface| interface.name.as_deref());
    let class = counter.interface.as_ref().zip(name).and_then(|(interface, name)| {
        devices::class_of(facts.devices, name, interface.ifindex, is_own_netns == Some(true))
    });
    let compared = |packets| counter.is_compared.then_some(packets);
    OutsideCounter {
        counter: counter.name.to_string(),
        interface: name.map(str::to_owned),
        class,
        netns_name: counter.netns_name.as_deref().map(str::to_owned),
        own_netns: is_own_netns,
        rise: counter.rise,
        outside: compared(counter.outside),
        at_most_outside: compared(counter.at_most_outside()),
    }
}

/// Adds a row of the same key. The certain part is that of the rows where it is known; the greatest part is unknown if one is.
fn add(sum: &mut OutsideCounter, row: &OutsideCounter) {
    sum.rise = sum.rise.saturating_add(row.rise);
    sum.outside = match (sum.outside, row.outside) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    sum.at_most_outside = sum.at_most_outside.zip(row.at_most_outside).map(|(one, other)| one.saturating_add(other));
    sum.class = sum.class.take().filter(|class| row.class.as_ref() == Some(class));
}
