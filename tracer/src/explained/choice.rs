//! The rows that matter most: one for each kind of drops, the unusual ones first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::dimension::Dimensions;
use crate::domain::event::{NamedKey, reason_name};
use crate::domain::identity::Identity;
use crate::domain::reconciliation::ReconciledCounter;
use crate::domain::report::StatReport;
use crate::domain::total::DropTotal;
use crate::explain::{Library, Topic, Usual};

/// The results that stand above the explanations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Above<'d> {
    /// A table with a row for each value of these dimensions; absent for a row for each aggregation key.
    Table(Option<&'d Dimensions>),
    /// A line for each drop.
    Lines,
}

/// A kind of drops, and the part of a row with the most of them.
pub(super) struct Chosen<'r> {
    pub(super) topic: Topic<'r>,
    /// Of all rows of the kind.
    pub(super) packets: u64,
    pub(super) origin: Found<'r>,
    /// The packets of `origin`.
    pub(super) of_origin: u64,
    /// How many other rows have drops of the kind; absent where the rest of the packets is not in other rows alone.
    pub(super) other_rows: Option<usize>,
}

/// The largest part of a kind.
pub(super) enum Found<'r> {
    /// Drops in one network namespace where that is known, by their keys; and how many functions drop others of the kind.
    Drops(Vec<&'r NamedKey>, usize),
    /// The rise of a counter outside `kfree_skb`.
    Outside(&'r ReconciledCounter),
}

/// The kinds that a report has, those that matter most first, and the packets of which nothing can be explained.
pub(super) fn choose<'r>(report: &'r StatReport, above: Above<'_>, library: &'r Library) -> (Vec<Chosen<'r>>, u64) {
    let (drops, unexplained) = of_drops(report, above, library);
    let mut chosen: Vec<_> = drops.into_iter().chain(of_counters(report, library)).collect();
    chosen.sort_by_key(|kind| (rank(&kind.topic), Reverse(kind.packets), kind.topic.name()));
    (chosen, unexplained)
}

/// Losses that `kfree_skb` does not show are as unusual as drops that healthy hosts never have.
const fn rank(topic: &Topic<'_>) -> u8 {
    match topic.usual() {
        None | Some(Usual::Never) => 0,
        Some(Usual::Sometimes) => 1,
        Some(Usual::Often) => 2,
    }
}

/// The parts of the rows of one kind, by row and network namespace: the packets of each with its keys.
type Parts<'r> = BTreeMap<(Identity, Identity), (u64, Vec<&'r NamedKey>)>;

fn of_drops<'r>(report: &'r StatReport, above: Above<'_>, library: &'r Library) -> (Vec<Chosen<'r>>, u64) {
    let of_lines = Dimensions::named(&["reason", "site", "interface", "netns"]);
    let by = match above {
        Above::Table(by) => by,
        Above::Lines => Some(&of_lines),
    };
    let netns = by.map(|by| by.and(&Dimensions::named(&["netns"])));
    let reduced = |by: Option<&Dimensions>, key| by.map_or_else(|| Identity::from(key), |by| (&by.reduce(key)).into());
    let mut kinds: BTreeMap<(&str, Option<&str>), (Topic<'r>, Parts<'r>)> = BTreeMap::new();
    let mut unexplained = report.overflow.iter().map(|total| total.packets).sum();
    for DropTotal { key, packets, .. } in report.drops.iter().filter(|total| total.key.kind.is_packet()) {
        let Some(topic) = library.of_drop(reason_name(&key.reason), function(key)) else {
            unexplained += packets;
            continue;
        };
        let site = if let Topic::Reason(_, _, Some((site, _))) = topic { Some(site) } else { None };
        let (_, parts) = kinds.entry((topic.name(), site)).or_insert_with(|| (topic, Parts::new()));
        let (sum, keys) = parts.entry((reduced(by, key), reduced(netns.as_ref(), key))).or_default();
        *sum += packets;
        keys.push(key);
    }
    let largest = |(topic, parts)| largest(topic, parts, above);
    (kinds.into_values().filter_map(largest).collect(), unexplained)
}

/// The name of the function that dropped.
pub(super) fn function(key: &NamedKey) -> Option<&str> {
    key.location.function()
}

fn largest<'r>(topic: Topic<'r>, parts: Parts<'r>, above: Above<'_>) -> Option<Chosen<'r>> {
    let packets = parts.values().map(|(packets, _)| packets).sum();
    let rows: BTreeSet<_> = parts.keys().map(|(row, _)| row.clone()).collect();
    let functions: BTreeSet<_> = parts.values().flat_map(|(_, keys)| keys).map(|key| function(key)).collect();
    let ((row, _), _) = parts.iter().max_by_key(|(_, (packets, _))| *packets)?;
    let is_whole = parts.keys().filter(|(other, _)| other == row).count() == 1;
    let other_rows = (is_whole && matches!(above, Above::Table(_))).then(|| rows.len() - 1);
    let (of_origin, keys) = parts.into_values().max_by_key(|(packets, _)| *packets)?;
    let origin = Found::Drops(keys, functions.len() - 1);
    Some(Chosen { topic, packets, origin, of_origin, other_rows })
}

fn of_counters<'r>(report: &'r StatReport, library: &'r Library) -> Vec<Chosen<'r>> {
    let mut kinds: BTreeMap<&str, Chosen<'r>> = BTreeMap::new();
    // The greatest rise of a counter comes first.
    for counter in report.outside.iter().flat_map(|found| found.outside()) {
        let Some(topic @ Topic::Counter(name, _)) = library.named(&counter.name) else { continue };
        let packets = counter.at_most_outside();
        let of_origin = packets;
        let new = || Chosen { topic, packets: 0, origin: Found::Outside(counter), of_origin, other_rows: None };
        kinds.entry(name).or_insert_with(new).packets += packets;
    }
    kinds.into_values().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::reconciliation::Reconciliation;
    use crate::sink::samples::{overflow, report, totals_of_two_namespaces};

    pub(in crate::explained) fn refused(netns: u32, outside: u64) -> ReconciledCounter {
        ReconciledCounter {
            name: "TcpExtListenDrops".into(),
            class: "not-traceable",
            meaning: "".into(),
            netns,
            netns_number: netns,
            netns_name: None,
            interface: None,
            cpus: vec![],
            rise: outside,
            is_compared: true,
            explained: 0,
            outside,
            covered: Some(0),
            is_untraceable: true,
            listeners: vec![],
        }
    }

    #[test]
    fn each_kind_has_its_largest_row_and_all_packets() {
        let library = Library::built_in().unwrap();
        let (drops, overflow) = (totals_of_two_namespaces(), overflow());
        let all: u64 = drops.iter().map(|total| total.packets).chain(overflow.iter().map(|total| total.packets)).sum();
        let report = report(drops, overflow);
        let by = |name: &str| name.parse::<Dimensions>().unwrap();
        let (netns, reason) = (by("netns"), by("reason"));
        let parts = |above| {
            let (kinds, unexplained) = choose(&report, above, &library);
            assert_eq!(kinds.iter().map(|kind| kind.packets).sum::<u64>() + unexplained, all);
            let kind = kinds.into_iter().find(|kind| kind.topic.name() == "NO_SOCKET").unwrap();
            let Found::Drops(keys, _) = &kind.origin else { panic!("a counter") };
            assert!(keys.iter().all(|key| key.netns_name.as_deref() == Some("blue")), "{keys:?}");
            (kind.packets, kind.of_origin, kind.other_rows)
        };
        assert_eq!(parts(Above::Table(None)), (57, 40, Some(1)));
        assert_eq!(parts(Above::Table(Some(&netns))), (57, 40, Some(1)));
        assert_eq!(parts(Above::Table(Some(&reason))), (57, 40, None), "both are in one row");
        assert_eq!(parts(Above::Lines), (57, 40, None));
    }

    #[test]
    fn unusual_kinds_come_first_and_then_those_with_more_packets() {
        let library = Library::built_in().unwrap();
        let counters = vec![refused(1, 3), refused(2, 7)];
        let outside = Some(Reconciliation { counters, namespaces: 2, gaps: vec![], readings: 2 });
        let report = StatReport { outside, ..report(totals_of_two_namespaces(), vec![]) };
        let (kinds, _) = choose(&report, Above::Lines, &library);
        assert!(kinds.is_sorted_by_key(|kind| (rank(&kind.topic), Reverse(kind.packets))));
        let refused = kinds.iter().position(|kind| kind.topic.name() == "TcpExtListenDrops").unwrap();
        assert_eq!((kinds[refused].packets, kinds[refused].of_origin), (10, 7));
        let Found::Outside(counter) = kinds[refused].origin else { panic!("drops") };
        assert_eq!(counter.netns, 2);
        let usual = kinds.iter().position(|kind| kind.topic.name() == "NO_SOCKET").unwrap();
        assert!(refused < usual);
    }
}
