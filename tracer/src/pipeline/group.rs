//! Groups totals by some of the dimensions of their keys (`--by`).

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::identity::Identity;
use crate::domain::total::{DropTotal, group};

/// A key without its values in other dimensions. Keys with equal numbers are equal, whatever names they have.
#[derive(Clone)]
struct Reduced {
    key: Arc<NamedKey>,
    identity: Identity,
}

impl PartialEq for Reduced {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Reduced {}

impl Hash for Reduced {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

/// Sums totals by these dimensions and by the kind of what was freed. The sum of all packets stays the same.
pub fn group_by(totals: &[DropTotal], by: &Dimensions) -> Vec<DropTotal> {
    let reduced = |key: &Arc<NamedKey>| {
        let key = by.reduce(key);
        Reduced { identity: Identity::from(&key), key: Arc::new(key) }
    };
    let groups = group(totals, reduced);
    let mut groups: Vec<_> = groups.iter().map(|total| total.with_key(Arc::clone(&total.key.key))).collect();
    if by.flow_facts() != 0 {
        Others::of(totals, &groups, by).widen(&mut groups);
    } else {
        // The drops of other flows are those of their row, too.
        for total in &mut groups {
            total.more = 0;
        }
    }
    groups
}

/// The identity of a key without its flow.
fn without_flow(key: &NamedKey) -> Identity {
    Identity::from(&NamedKey { flow: None, ..key.clone() })
}

fn is_others(total: &DropTotal) -> bool {
    total.key.flow.as_ref().is_some_and(|flow| flow.is_others)
}

/// The drops of other flows, of which each row may have had some.
struct Others {
    /// By the keys of rows without their flows: the drops, and how many of them one row may have that has none of the keys
    /// before the grouping.
    of_rows: HashMap<Identity, (u64, u64), RandomState>,
    /// By the keys of rows: how many of these drops are in [`DropTotal::more`] already.
    counted: HashMap<Identity, u64, RandomState>,
}

impl Others {
    fn of(totals: &[DropTotal], groups: &[DropTotal], by: &Dimensions) -> Self {
        let mut of_keys = HashMap::<Identity, u64, RandomState>::default();
        for total in totals.iter().filter(|total| is_others(total)) {
            // Of two keys with one identity, none is taken for the other.
            of_keys.entry(without_flow(&total.key)).and_modify(|more| *more = 0).or_insert(total.more);
        }
        let mut counted = HashMap::<Identity, u64, RandomState>::default();
        let mut seen = HashSet::<(Identity, Identity), RandomState>::default();
        for total in totals.iter().filter(|total| total.key.flow.is_some() && !is_others(total)) {
            let key = without_flow(&total.key);
            let Some(more) = of_keys.get(&key).copied().filter(|more| *more > 0) else { continue };
            let row = Identity::from(&by.reduce(&total.key));
            if seen.insert((row.clone(), key)) {
                *counted.entry(row).or_default() += more;
            }
        }
        let of_rows = groups.iter().filter(|total| is_others(total));
        Self {
            of_rows: of_rows.map(|total| (without_flow(&total.key), (total.packets, total.more))).collect(),
            counted,
        }
    }

    /// Adds what rows may have of keys that they have not.
    fn widen(&self, groups: &mut [DropTotal]) {
        for total in groups.iter_mut().filter(|total| total.key.flow.is_some() && !is_others(total)) {
            let (others, more) = self.of_rows.get(&without_flow(&total.key)).copied().unwrap_or_default();
            let counted = self.counted.get(&Identity::from(&*total.key)).copied().unwrap_or_default();
            total.more = (total.more + more.saturating_sub(counted)).min(others);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::event::{Location, Residence};
    use crate::domain::flow::Flow;
    use crate::domain::owner::Owner;
    use crate::sink::samples::totals_of_two_namespaces;

    #[test]
    fn groups_differ_in_their_dimensions_only_and_keep_the_sum() {
        let totals = totals_of_two_namespaces();
        let sum = |totals: &[DropTotal]| totals.iter().map(|total| total.packets).sum::<u64>();
        for (by, rows) in [("netns", 2), ("reason", 6), ("protocol,netns", 5), ("site,reason", 6)] {
            let groups = group_by(&totals, &by.parse().unwrap());
            assert_eq!((groups.len(), sum(&groups)), (rows, sum(&totals)), "{by}");
        }
        let all = group_by(&totals, &Dimensions::all());
        assert_eq!(all, totals, "all dimensions change nothing");
    }

    #[test]
    fn containers_at_the_ends_of_links_are_groups() {
        let total = totals_of_two_namespaces().remove(0);
        let at = |ifindex, container: &str| {
            let owner = Owner { container: Some(container.into()), ..Owner::default() }.into();
            let key = NamedKey { ifindex, owner, residence: Some(Residence::Peer), ..(*total.key).clone() };
            total.with_key(Arc::new(key))
        };
        let totals = [at(5, "db"), at(6, "web"), at(7, "web")];
        assert_eq!(group_by(&totals, &"netns,container".parse().unwrap()).len(), 2);
        assert_eq!(group_by(&totals, &"netns,interface,container".parse().unwrap()).len(), 3);
        assert_eq!(group_by(&totals, &"netns".parse().unwrap()).len(), 1);
    }

    #[test]
    fn groups_without_flows_are_exact() {
        let totals = [row(1, Some(80), 5, 3), row(1, Some(81), 2, 3), row(1, None, 4, 4), row(2, None, 9, 9)];
        let groups = group_by(&totals, &"site".parse().unwrap());
        let counts: Vec<_> = groups.iter().map(|total| (total.packets, total.more)).collect();
        assert_eq!(counts, [(11, 0), (9, 0)]);
    }

    /// A row of a drop site with drops of a port, or of other flows without one.
    fn row(site: u64, port: Option<u16>, packets: u64, more: u64) -> DropTotal {
        let flow = Flow { destination_port: port, is_others: port.is_none(), ..Flow::default() };
        let location = Location { address: site, symbol: None, trap_group: None };
        let key = NamedKey { location: location.into(), flow: Some(flow.into()), ..NamedKey::default() };
        let total = totals_of_two_namespaces().remove(0);
        DropTotal { packets, more, ..total.with_key(Arc::new(key)) }
    }

    proptest! {
        /// `drops` are those of two ports at three sites: of each, some are certain, and at most `slack` others are.
        #[test]
        fn rows_of_groups_are_within_their_bounds(
            drops in prop::array::uniform3(prop::array::uniform2((0..9_u64, 0..9_u64))), slack in 0..20_u64,
        ) {
            let mut totals = Vec::new();
            for (site, ports) in (1..).zip(drops) {
                let others: u64 = ports.iter().map(|(_, lacking)| lacking).sum();
                let unseen = ports.iter().filter(|(certain, _)| *certain == 0).map(|(_, lacking)| *lacking).max();
                let certain = (80..).zip(ports).filter(|(_, (certain, _))| *certain > 0);
                totals.extend(certain.map(|(port, (certain, lacking))| {
                    row(site, Some(port), certain, (lacking + slack).min(others))
                }));
                if others > 0 {
                    let most = ports.iter().map(|(_, lacking)| lacking + slack).max().unwrap().max(unseen.unwrap_or(0));
                    totals.push(row(site, None, others, most.min(others)));
                }
            }
            for by in ["dport", "site,dport"] {
                let groups = group_by(&totals, &by.parse().unwrap());
                for total in groups.iter().filter(|total| !is_others(total)) {
                    let port = total.key.flow.as_ref().unwrap().destination_port.unwrap();
                    let at = usize::from(port - 80);
                    let site = usize::try_from(total.key.location.address).unwrap();
                    let sites = if site == 0 { &drops[..] } else { &drops[site - 1..site] };
                    let truth: u64 = sites.iter().map(|ports| ports[at].0 + ports[at].1).sum();
                    let others: u64 = sites.iter().flatten().map(|(_, lacking)| lacking).sum();
                    prop_assert!(total.packets <= truth && truth <= total.packets + total.more, "{truth}: {total:?}");
                    prop_assert!(total.more <= others);
                }
            }
        }
    }

    #[test]
    fn a_new_name_is_not_a_new_group() {
        let total = totals_of_two_namespaces().remove(0);
        let renamed =
            NamedKey { interface: Some("wan".into()), netns_name: Some("red".into()), ..(*total.key).clone() };
        let totals = [total.clone(), total.with_key(Arc::new(renamed))];
        assert_eq!(group_by(&totals, &"interface,netns".parse().unwrap()).len(), 1);
    }
}
