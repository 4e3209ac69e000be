//! Compares the rise of the kernel's counters with the drops that were counted.
//!
//! The counters are read after the backend has started and before it stops, so that each drop between the two readings
//! is among the totals. The totals have further drops, of before and after; the part of a rise that is greater than all
//! of them is certainly outside `kfree_skb`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::backend::counters::beside::{Readings, Rise};
use crate::domain::event::{Kind, NamedKey, Reason, reason_name};
use crate::domain::ledger::Ledger;
use crate::domain::reconciliation::{ReconciledCounter, Reconciliation};
use crate::domain::report::SourceReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::{Class, CountedDrops, Counter, Counters, OF_DRIVERS, Scope};

/// `ETH_P_IP` and `ETH_P_IPV6` (`include/uapi/linux/if_ether.h`).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// How much is known of the drops that are in no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Drops that may have any reason and namespace: lost ones, and where the filter is narrower than a namespace,
    /// filtered ones.
    pub packets: u64,
    /// The backend leaves out drops without counting them, so that a counter of drops at `kfree_skb` cannot be compared.
    pub is_partial: bool,
}

impl Unseen {
    /// What the ledgers say. `is_narrow`: a filter selects the drops that were counted, which is
    /// narrower than a namespace.
    pub fn of(sources: &[SourceReport], is_narrow: bool) -> Self {
        let of = |ledger: &Ledger| match ledger {
            Ledger::Ebpf(ledger) => Self { packets: ledger.lost(), is_partial: false },
            Ledger::NetDm(ledger) => Self { packets: ledger.lost().unwrap_or(u64::MAX), is_partial: true },
            Ledger::Counters(_) => Self { packets: u64::MAX, is_partial: true },
        };
        let filtered = |ledger: &Ledger| if is_narrow { ledger.filtered() } else { 0 };
        // Where two backends ran, the BPF program saw all that the drop monitor saw.
        let ledgers = || sources.iter().map(|source| &source.ledger);
        let best = ledgers().find(|ledger| matches!(ledger, Ledger::Ebpf(_))).or_else(|| ledgers().next());
        best.map_or(Self { packets: u64::MAX, is_partial: true }, |ledger| {
            let unseen = of(ledger);
            Self { packets: unseen.packets.saturating_add(filtered(ledger)), ..unseen }
        })
    }
}

/// Drops that a counter counts as well.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// With a reason, and at a function, of the counter.
    pub(super) certain: u64,
    /// Without a reason or a function, so that the counter may count them.
    pub(super) possible: u64,
    /// The part of `certain` that no other of the counters may count.
    pub(super) alone: u64,
}

/// The drops of each counter, by the counter's name, the namespace and the index of the interface. The numbers are 0 where they
/// are unknown, and where the counter belongs to no namespace or interface.
#[derive(Debug, Default)]
pub(super) struct Sums<'c>(HashMap<(&'c str, u32, u32), Counted>);

impl Sums<'_> {
    /// The drops that a counter counts: those that are known to belong to the same namespace and interface, and those that may
    /// belong to any.
    pub(super) fn of(&self, name: &str, scope: Scope, netns: u32, ifindex: u32) -> (Counted, u64) {
        let of = |netns, ifindex| self.0.get(&(name, netns, ifindex)).copied().unwrap_or_default();
        let wider: &[_] = match scope {
            Scope::Host => &[],
            Scope::Namespace => &[of(0, 0)],
            Scope::Interface => &[of(netns, 0), of(0, ifindex), of(0, 0)],
        };
        let wider = wider.iter().flat_map(|counted| [counted.certain, counted.possible]).fold(0, u64::saturating_add);
        (of(netns, ifindex), wider)
    }
}

/// Compares the rises with the drops.
pub(crate) fn reconcile(
    counters: &Counters,
    readings: &Readings,
    drops: &[DropTotal],
    overflow: &[OverflowTotal],
    unseen: Unseen,
) -> Reconciliation {
    let risen: BTreeMap<&str, &Counter> =
        readings.rises.iter().filter_map(|rise| counters.get(&rise.counter)).collect();
    let sums = sums(&risen.into_iter().collect::<Vec<_>>(), drops, overflow);
    let compared = readings.rises.iter().filter_map(|rise| {
        let counter = counters.get(&rise.counter)?;
        let others = if counter.1.any_drop { others_of_driver(rise, readings) } else { 0 };
        Some(compare(rise, others, counter, &sums, unseen))
    });
    let gaps = readings.gaps.iter().cloned().chain(not_found(readings, drops)).collect();
    Reconciliation { counters: compared.collect(), namespaces: readings.namespaces, gaps, readings: readings.number }
}

/// The namespaces that have drops, and of which the readings know nothing: a socket or a device holds them, or they ended
/// between two readings.
fn not_found(readings: &Readings, drops: &[DropTotal]) -> Option<String> {
    /// The greatest number of names in the sentence.
    const MOST_NAMES: usize = 3;
    let is_unknown = |key: &&Arc<NamedKey>| key.netns != 0 && !readings.mentioned.contains(&key.netns);
    let unknown = drops.iter().map(|total| &total.key).filter(is_unknown);
    let names: BTreeSet<String> =
        unknown.map(|key| key.netns_name.as_ref().map_or_else(|| key.netns.to_string(), ToString::to_string)).collect();
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more =
        if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
    let why = "no process, and no file that stands for the namespace, was found";
    (!names.is_empty()).then(|| format!("the counters of netns {}{more} are not read: {why}", shown.join(", ")))
}

/// The rise of the other counters that the driver of the same interface names: each drop at a function of the driver is in one of them.
fn others_of_driver(rise: &Rise, readings: &Readings) -> u64 {
    let (_, netns, ifindex) = rise.key();
    let is_other = |other: &&Rise| {
        let (name, netns_of_other, ifindex_of_other) = other.key();
        name.starts_with(OF_DRIVERS) && name != rise.counter && (netns_of_other, ifindex_of_other) == (netns, ifindex)
    };
    readings.rises.iter().filter(is_other).map(|other| other.rise).fold(0, u64::saturating_add)
}

fn compare(
    rise: &Rise,
    others: u64,
    (name, counter): (&str, &Counter),
    sums: &Sums<'_>,
    unseen: Unseen,
) -> ReconciledCounter {
    let ifindex = rise.interface.as_ref().map_or(0, |interface| interface.ifindex);
    let (here, wider) = sums.of(name, counter.scope, rise.netns, ifindex);
    let covered = [here.certain, here.possible, wider, unseen.packets].into_iter().fold(0, u64::saturating_add);
    let is_compared = counter.class.is_compared() && !rise.is_of_others;
    let explained = here.certain.saturating_sub(others);
    let has_outside = is_compared && (!unseen.is_partial || counter.class == Class::NotTraceable);
    let covered = (has_outside && unseen.packets != u64::MAX).then_some(covered);
    ReconciledCounter {
        name: rise.counter.clone(),
        class: counter.class.name(),
        meaning: counter.meaning.as_str().into(),
        netns: rise.netns,
        netns_number: rise.netns_number,
        netns_name: rise.netns_name.clone(),
        interface: rise.interface.clone(),
        cpus: rise.cpus.clone(),
        rise: rise.rise,
        is_compared,
        explained: if is_compared { explained.min(rise.rise) } else { 0 },
        outside: covered.map_or(0, |covered| rise.rise.saturating_sub(covered)),
        covered,
        is_untraceable: is_compared && matches!(counter.class, Class::NotTraceable | Class::PartlyTraceable),
        listeners: rise.listeners.clone(),
    }
}

/// Adds up the drops of each counter.
pub(super) fn sums<'c>(counters: &[(&'c str, &Counter)], drops: &[DropTotal], overflow: &[OverflowTotal]) -> Sums<'c> {
    let mut sums = Sums::default();
    for total in drops {
        let counting = |(name, counter): &(&'c str, &Counter)| (*name, counter.scope, counted(name, counter, total));
        let is_counted = |counted: &Counted| counted.certain + counted.possible > 0;
        let counting: Vec<_> = counters.iter().map(counting).filter(|(.., counted)| is_counted(counted)).collect();
        for (name, scope, counted) in &counting {
            let key = &total.key;
            let (netns, ifindex) = match scope {
                Scope::Host => (0, 0),
                Scope::Namespace => (key.netns, 0),
                Scope::Interface => (key.netns, key.ifindex),
            };
            // One drop may raise a counter of each scope.
            let is_alone = counting.iter().filter(|(_, other, _)| other == scope).count() == 1;
            let sum = sums.0.entry((name, netns, ifindex)).or_default();
            sum.certain += counted.certain;
            sum.possible += counted.possible;
            sum.alone += if is_alone { counted.certain } else { 0 };
        }
    }
    for (name, counter) in counters {
        let possible = overflow.iter().filter(|total| {
            total
                .reason
                .as_deref()
                .is_none_or(|reason| counter.any_drop || is_general(reason) || has_reason(counter, reason))
        });
        sums.0.entry((*name, 0, 0)).or_default().possible += possible.map(|total| total.packets).sum::<u64>();
    }
    sums
}

/// The drops of one row that a counter counts.
fn counted(name: &str, counter: &Counter, total: &DropTotal) -> Counted {
    let key = &total.key;
    let is_foreign = is_of_other_family(name, key.protocol);
    if !matches!(key.kind, Kind::Packet | Kind::Copy | Kind::Empty) || (is_foreign && !counts_both_families(name)) {
        return Counted::default();
    }
    let function = key.location.function();
    let reason = reason_name(&key.reason).unwrap_or_default();
    if counter.any_drop {
        let is_the_drivers = |drops: &CountedDrops| drops.reason == reason && drops.may_be_at(function);
        return if function.is_some() && counter.drops.iter().any(is_the_drivers) {
            Counted { certain: total.packets, ..Counted::default() }
        } else {
            Counted { possible: total.packets, ..Counted::default() }
        };
    }
    let (mut has_reason, mut has_site) = (false, false);
    for drops in &counter.drops {
        let is_site = drops.may_be_at(function);
        has_site |= is_site;
        has_reason |= drops.reason == reason && (is_site || drops.unique);
    }
    let is_certain = has_reason && function.is_some() && !is_foreign && !is_general(&key.reason);
    match (is_certain, has_reason || (has_site && is_general(&key.reason))) {
        (true, _) => Counted { certain: total.packets, ..Counted::default() },
        (false, true) => Counted { possible: total.packets, ..Counted::default() },
        (false, false) => Counted::default(),
    }
}

/// Whether the counter of one version of IP may count packets of the other: a datagram of a socket of IPv6 whose checksum is
/// found to be wrong late counts as one of IPv4 (`__first_packet_length`, `net/ipv4/udp.c`).
fn counts_both_families(name: &str) -> bool {
    name.ends_with("InCsumErrors")
}

fn has_reason(counter: &Counter, reason: &Reason) -> bool {
    counter.drops.iter().any(|drops| *drops.reason == *reason.name)
}

/// Whether the reason may stand for any other: the kernel gave none, or one without a name.
fn is_general(reason: &Reason) -> bool {
    let Some(name) = reason_name(reason) else { return true };
    matches!(name, "NOT_SPECIFIED" | "NOT_DROPPED_YET") || name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the packets of this `EtherType` cannot raise the counter, which is one of the other version of IP.
fn is_of_other_family(name: &str, protocol: u16) -> bool {
    let is_ipv6 = name.starts_with("Udp6") || name.starts_with("Ip6");
    let is_ipv4 = !is_ipv6 && (name.starts_with("Udp") || name.starts_with("Ip"));
    (is_ipv6 && protocol == IPV4) || (is_ipv4 && protocol == IPV6)
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
pub(super) mod tests;
