//! Findings of owners to whose sockets most drops of a reason belong.

use std::collections::BTreeMap;

use super::build::{Draft, hosts};
use super::view::{Cause, View, total};
use crate::finding::{Finding, Kind, Severity};
use crate::model::HostId;

/// An owner is named if at least this share of a reason's drops is its own.
const MOST: f64 = 0.5;

/// Drops of an owner by host.
type ByHost = BTreeMap<HostId, f64>;

/// Makes at most one finding for each reason. Drops whose owner is unknown count as those of others.
pub(super) fn owners(view: &View<'_>) -> Vec<Finding> {
    let mut causes: BTreeMap<Cause<'_>, BTreeMap<&str, ByHost>> = BTreeMap::new();
    for owned in view.fleet.owned() {
        let owners = causes.entry(Cause::of(owned.key)).or_default();
        *owners.entry(owned.owner).or_default().entry(owned.host).or_default() += owned.packets.float();
    }
    causes.into_iter().filter_map(|(cause, owners)| of_cause(view, cause, owners)).collect()
}

fn of_cause(view: &View<'_>, cause: Cause<'_>, owners: BTreeMap<&str, ByHost>) -> Option<Finding> {
    let all = total(view.causes.get(&cause)?);
    let sums = owners.into_iter().map(|(owner, row)| (owner, row.values().sum::<f64>(), row));
    let (owner, packets, row) = sums.max_by(|one, other| one.1.total_cmp(&other.1))?;
    if packets < view.options.min_packets || packets < MOST * all {
        return None;
    }
    let share = 100.0 * packets / all;
    let title = format!("{share:.0} % of {} are packets of {owner}, on {}", cause.name(), hosts(row.len()));
    let rates = row.into_iter().map(|(id, packets)| (id, view.rate(id, packets)));
    let draft = Draft::new(Kind::Owner, Severity::Notice, title)
        .cause(view, cause)
        .owner(owner)
        .hosts(view, rates, "packets/s")
        .evidence("dropped", packets, "packets")
        .evidence("share of all drops of this reason", share, "%")
        .means("The owner's processes made the sockets of these packets, as their receivers or senders.");
    Some(draft.done())
}
