//! Compares the counts of two sources, with the evidence about their differences.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::compare::{Comparison, Counts, Evidence, NetDmMode, SiteEvidence, Uncovered, compare, side_by_side};
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::{DropEvent, HARDWARE, Kind, Location, NamedKey, Reason};
use crate::domain::ledger::{EbpfLedger, NetDmLedger};
use crate::domain::total::DropTotal;
use crate::pipeline::union::{JoinKey, Union, join_key, net_dm_reason_name, reports_reasons};

/// Drops by drop site and drop reason, which one source saw after the other had stopped.
#[derive(Debug, Default)]
pub struct Late(HashMap<JoinKey, u64, RandomState>);

impl Late {
    /// Adds a drop.
    pub fn add(&mut self, event: &DropEvent<'_>) {
        let named = event.key;
        *self.0.entry((named.location.address, Some(net_dm_reason_name(&named.reason).into()))).or_default() += 1;
    }
}

/// The counts of two sources over the same time.
#[derive(Debug)]
pub struct Material {
    /// Totals of the kernel program.
    pub ebpf: Vec<DropTotal>,
    /// Totals of `NET_DM`.
    pub net_dm: Vec<DropTotal>,
    /// Totals of the kernel program when `NET_DM` started.
    pub opening: Vec<DropTotal>,
    /// Totals of the kernel program just before `NET_DM` stopped.
    pub closing: Vec<DropTotal>,
    /// The kernel program's ledger.
    pub ebpf_ledger: EbpfLedger,
    /// `NET_DM`'s ledger.
    pub net_dm_ledger: NetDmLedger,
    /// `NET_DM`'s alert mode.
    pub mode: NetDmMode,
    /// Messages to this program's own netlink sockets that the kernel dropped; absent when the number is unknown.
    pub own_netlink_drops: Option<u64>,
}

impl Material {
    /// Compares by drop site and drop reason, or by drop site alone where `NET_DM` reports no reasons. `union` has
    /// joined events where both sources reported them; `late` holds the drops that `NET_DM` reported after the kernel
    /// program had stopped.
    pub fn compare(&self, union: Option<&Union>, late: &Late) -> Comparison<Arc<NamedKey>> {
        let by_reason = reports_reasons(&self.net_dm);
        let key = |pc: u64, name: &str| (pc, by_reason.then(|| Arc::from(name)));
        let of = |total: &DropTotal| join_key(&total.key, by_reason);
        let sums = |totals: &[DropTotal]| -> Vec<(JoinKey, u64)> {
            totals.iter().map(|total| (of(total), total.packets)).collect()
        };
        let mut evidence = self.evidence();
        let mut counts = side_by_side(sums(&self.ebpf), sums(&self.net_dm));
        if let Some(union) = union {
            let mut joined: HashMap<JoinKey, Joined, RandomState> = HashMap::default();
            for (site, counts) in union.account().sites() {
                let name = site.reason.map_or("", |number| union.reason(number));
                let sum = joined.entry(key(site.pc, name)).or_default();
                sum.both += counts.both;
                sum.too_few_bytes += counts.too_few_bytes;
                sum.no_mac_header += counts.no_mac_header;
            }
            self.refine(&mut counts, &joined, &union.ledger(), union.account().beyond().packets() == 0);
            for (key, sum) in joined {
                evidence.sites.entry(key).or_default().no_mac_header += sum.no_mac_header;
            }
        }
        let mut named_keys: HashMap<JoinKey, Arc<NamedKey>, RandomState> = HashMap::default();
        for total in self.ebpf.iter().chain(&self.net_dm) {
            let key = of(total);
            let site = evidence.sites.entry(key.clone()).or_default();
            self.know(site, &total.key);
            named_keys.entry(key).or_insert_with(|| Arc::clone(&total.key));
        }
        for (key, packets) in sums(&self.opening) {
            evidence.sites.entry(key).or_default().while_net_dm_off += packets;
        }
        for (key, packets) in since(sums(&self.ebpf), sums(&self.closing)) {
            evidence.sites.entry(key).or_default().since_last_alert += packets;
        }
        for ((pc, name), packets) in &late.0 {
            evidence.sites.entry(key(*pc, name.as_deref().unwrap_or(""))).or_default().while_ebpf_off += packets;
        }
        compare(counts, &evidence).named(|key| named_keys.get(&key).map_or_else(|| nowhere(key.0), Arc::clone))
    }

    /// Sets the number of drops that both sources saw. The number is known where all events were reported and joined.
    fn refine(
        &self,
        counts: &mut [(JoinKey, Counts)],
        joined: &HashMap<JoinKey, Joined, RandomState>,
        union: &DedupeLedger,
        is_whole: bool,
    ) {
        let records = self.ebpf_ledger.events.unwrap_or_default();
        let all_records = records.delivered == self.ebpf_ledger.accounted + self.ebpf_ledger.overflow;
        let none_given_up = union.ebpf.alone.evicted == 0 && union.net_dm.alone.evicted == 0;
        if !(all_records && none_given_up && is_whole) {
            return;
        }
        for (key, counts) in counts {
            let sum = joined.get(key).copied().unwrap_or_default();
            counts.both = (sum.too_few_bytes == 0).then_some(sum.both);
        }
    }

    fn know(&self, site: &mut SiteEvidence, named: &NamedKey) {
        if &*named.reason.subsystem == HARDWARE
            && self.ebpf.iter().all(|total| &*total.key.reason.subsystem != HARDWARE)
        {
            site.uncovered = Some(Uncovered::ByEbpf);
        }
        if named.kind == Kind::Xdp {
            site.uncovered = Some(Uncovered::ByNetDm);
        }
        if named.is_netlink_message() {
            site.own_netlink = self.own_netlink_drops.unwrap_or(0);
        }
    }

    fn evidence(&self) -> Evidence<JoinKey> {
        let Self { ebpf_ledger, net_dm_ledger, mode, .. } = self;
        Evidence {
            mode: *mode,
            queue_tail_drops: net_dm_ledger.tail_drops,
            socket_overruns: net_dm_ledger.overruns,
            socket_drops: net_dm_ledger.socket_drops,
            undecodable: net_dm_ledger.undecodable,
            interruptions: net_dm_ledger.interruptions,
            full_alerts: net_dm_ledger.at_limit,
            alerts: net_dm_ledger.received,
            net_dm_overflow: net_dm_ledger.overflow,
            ebpf_overflow: ebpf_ledger.overflow,
            ebpf_missed: ebpf_ledger.lost(),
            ..Evidence::default()
        }
    }
}

/// Sums of the joined drops with one key.
#[derive(Clone, Copy, Default)]
struct Joined {
    both: u64,
    no_mac_header: u64,
    too_few_bytes: u64,
}

/// Counts that came since an earlier reading.
fn since(now: Vec<(JoinKey, u64)>, before: Vec<(JoinKey, u64)>) -> impl Iterator<Item = (JoinKey, u64)> {
    let counts = side_by_side(now, before);
    counts.into_iter().map(|(key, counts)| (key, counts.ebpf.saturating_sub(counts.net_dm)))
}

fn nowhere(address: u64) -> Arc<NamedKey> {
    Arc::new(NamedKey {
        reason: Reason { value: None, subsystem: "core".into(), name: "NOT_SPECIFIED".into() }.into(),
        location: Location { address, symbol: None, trap_group: None }.into(),
        ..NamedKey::default()
    })
}

#[cfg(test)]
#[path = "material_tests.rs"]
mod tests;
