//! Groups totals by some of the dimensions of their keys (`--by`).

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::identity::Identity;
use crate::domain::total::DropTotal;

/// The key of a group. Keys with equal numbers are equal, whatever names they have.
#[derive(Debug)]
pub(crate) struct GroupKey {
    /// The key without its values in other dimensions.
    key: Arc<NamedKey>,
    /// Its numbers.
    pub(crate) identity: Identity,
}

impl PartialEq for GroupKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for GroupKey {}

impl Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

/// A group of totals.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its key.
    #[cfg(feature = "top")]
    pub(crate) of: Arc<GroupKey>,
    /// Its sums, with the same key.
    pub(crate) total: DropTotal,
}

/// Groups totals, one reading after another. The group of a key that is still there is looked up by the key's address.
#[derive(Debug)]
pub(crate) struct Grouper {
    by: Dimensions,
    reduce: fn(&Dimensions, &NamedKey) -> NamedKey,
    /// By the address of a key.
    known: HashMap<usize, Known, RandomState>,
    readings: u64,
}

/// A key whose group is known. While the key is held, no other key has its address.
#[derive(Debug)]
struct Known {
    _key: Arc<NamedKey>,
    group: Arc<GroupKey>,
    /// The last reading that had the key.
    reading: u64,
}

impl Grouper {
    /// Groups by these dimensions and by the kind of what was freed.
    pub(crate) fn new(by: Dimensions) -> Self {
        Self::reducing(by, Dimensions::reduce)
    }

    /// Groups by these dimensions, with this way to take the other ones out of a key.
    pub(crate) fn reducing(by: Dimensions, reduce: fn(&Dimensions, &NamedKey) -> NamedKey) -> Self {
        Self { by, reduce, known: HashMap::default(), readings: 0 }
    }

    /// The dimensions.
    #[cfg(feature = "top")]
    pub(crate) const fn by(&self) -> &Dimensions {
        &self.by
    }

    /// Sums totals, and gives each its number among the groups. The sum of all packets stays the same.
    pub(crate) fn group(&mut self, totals: &[&DropTotal]) -> (Vec<Group>, Vec<usize>) {
        self.readings += 1;
        let (mut groups, mut numbers) = (Vec::<Group>::new(), Vec::with_capacity(totals.len()));
        let mut by_key = HashMap::<Arc<GroupKey>, usize, RandomState>::default();
        for total in totals {
            let of = self.key(&total.key);
            let next = groups.len();
            let number = *by_key.entry(Arc::clone(&of)).or_insert(next);
            match groups.get_mut(number) {
                Some(group) => group.total.add(total),
                None => groups.push(Group {
                    total: total.with_key(Arc::clone(&of.key)),
                    #[cfg(feature = "top")]
                    of,
                }),
            }
            numbers.push(number);
        }
        self.forget(totals.len());
        self.bound(totals, &numbers, &mut groups);
        (groups, numbers)
    }

    fn key(&mut self, key: &Arc<NamedKey>) -> Arc<GroupKey> {
        let Self { by, reduce, known, readings } = self;
        let known = known.entry(Arc::as_ptr(key).addr()).or_insert_with(|| {
            let reduced = reduce(by, key);
            let group = GroupKey { identity: Identity::from(&reduced), key: reduced.into() };
            Known { _key: Arc::clone(key), group: group.into(), reading: 0 }
        });
        known.reading = *readings;
        Arc::clone(&known.group)
    }

    /// Whether a key is one of a group.
    #[cfg(feature = "top")]
    pub(crate) fn is_of(&self, key: &Arc<NamedKey>, group: &GroupKey) -> bool {
        match self.known.get(&Arc::as_ptr(key).addr()) {
            Some(known) => *known.group == *group,
            None => Identity::from(&(self.reduce)(&self.by, key)) == group.identity,
        }
    }

    /// Forgets the keys that are gone, when they are as many as the others.
    fn forget(&mut self, keys: usize) {
        let Self { known, readings, .. } = self;
        if known.len() > 2 * keys {
            known.retain(|_, known| known.reading == *readings);
            known.shrink_to(keys);
        }
    }

    /// Gives each group the bound of the drops that it may have beside its own.
    fn bound(&self, totals: &[&DropTotal], numbers: &[usize], groups: &mut [Group]) {
        if self.by.flow_facts() == 0 {
            // The drops of other flows are those of their row, too.
            for Group { total, .. } in groups {
                total.more = 0;
            }
        } else {
            Others::of(totals, numbers, groups).widen(groups);
        }
    }
}

/// Sums totals by these dimensions and by the kind of what was freed. The sum of all packets stays the same.
pub(crate) fn group_by(totals: &[DropTotal], by: &Dimensions) -> Vec<DropTotal> {
    let totals: Vec<_> = totals.iter().collect();
    let (groups, _) = Grouper::new(by.clone()).group(&totals);
    groups.into_iter().map(|group| group.total).collect()
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
    /// By the numbers of rows: how many of these drops are in [`DropTotal::more`] already.
    counted: Vec<u64>,
}

impl Others {
    fn of(totals: &[&DropTotal], numbers: &[usize], groups: &[Group]) -> Self {
        let mut of_keys = HashMap::<Identity, u64, RandomState>::default();
        for total in totals.iter().filter(|total| is_others(total)) {
            // Of two keys with one identity, none is taken for the other.
            of_keys.entry(without_flow(&total.key)).and_modify(|more| *more = 0).or_insert(total.more);
        }
        let mut counted = vec![0; groups.len()];
        let mut seen = HashSet::<(usize, Identity), RandomState>::default();
        for (total, number) in totals.iter().zip(numbers) {
            if total.key.flow.is_none() || is_others(total) {
                continue;
            }
            let key = without_flow(&total.key);
            let Some(more) = of_keys.get(&key).copied().filter(|more| *more > 0) else { continue };
            if seen.insert((*number, key)) {
                counted[*number] += more;
            }
        }
        let of_rows = groups.iter().map(|group| &group.total).filter(|total| is_others(total));
        Self {
            of_rows: of_rows.map(|total| (without_flow(&total.key), (total.packets, total.more))).collect(),
            counted,
        }
    }

    /// Adds what rows may have of keys that they have not.
    fn widen(&self, groups: &mut [Group]) {
        for (Group { total, .. }, counted) in groups.iter_mut().zip(&self.counted) {
            if total.key.flow.is_none() || is_others(total) {
                continue;
            }
            let (others, more) = self.of_rows.get(&without_flow(&total.key)).copied().unwrap_or_default();
            total.more = (total.more + more.saturating_sub(*counted)).min(others);
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
    fn groups_of_one_reading_after_another_are_those_of_each() {
        let totals = totals_of_two_namespaces();
        let by: Dimensions = "reason,netns".parse().unwrap();
        let mut grouper = Grouper::new(by.clone());
        for reading in 0..9 {
            // Each reading has other keys: some stay, some are gone, some are made anew.
            let now = totals.iter().enumerate().filter(|(at, _)| (at + reading) % 3 > 0);
            let now: Vec<DropTotal> = now
                .map(
                    |(at, total)| if at % 2 == 0 { total.clone() } else { total.with_key((*total.key).clone().into()) },
                )
                .collect();
            let (groups, numbers) = grouper.group(&now.iter().collect::<Vec<_>>());
            let sums: Vec<_> = groups.iter().map(|group| group.total.clone()).collect();
            assert_eq!(sums, group_by(&now, &by));
            #[cfg(feature = "top")]
            for (total, number) in now.iter().zip(numbers) {
                assert_eq!(groups[number].of.identity, Identity::from(&by.reduce(&total.key)));
            }
            assert!(grouper.known.len() <= 2 * totals.len(), "{}", grouper.known.len());
        }
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
