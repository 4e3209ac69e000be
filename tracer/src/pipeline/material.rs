//! What two sources counted, and the evidence about it, put together.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::compare::{Comparison, Counts, Evidence, NetDmMode, SiteEvidence, Uncovered, compare, side_by_side};
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::{DropEvent, DropTotal, HARDWARE, Kind, Location, Place, Reason};
use crate::domain::ledger::{EbpfLedger, NetDmLedger};
use crate::pipeline::union::{Spot, Union, spot as spot_of, tells_reasons, told_name};

/// Drops by place and reason, which one source heard while the other no longer listened.
#[derive(Debug, Default)]
pub struct Late(HashMap<Spot, u64, RandomState>);

impl Late {
    /// Adds a drop.
    pub fn add(&mut self, event: &DropEvent<'_>) {
        let place = event.place;
        *self.0.entry((place.location.address, Some(told_name(&place.reason).into()))).or_default() += 1;
    }
}

/// What two sources counted over the same time.
#[derive(Debug)]
pub struct Material {
    /// What the kernel program counted.
    pub ebpf: Vec<DropTotal>,
    /// What `NET_DM` told.
    pub net_dm: Vec<DropTotal>,
    /// What the kernel program had counted when `NET_DM` was on.
    pub opening: Vec<DropTotal>,
    /// What it had counted when `NET_DM` was about to be stopped.
    pub closing: Vec<DropTotal>,
    /// The kernel program's account.
    pub ebpf_ledger: EbpfLedger,
    /// `NET_DM`'s account.
    pub net_dm_ledger: NetDmLedger,
    /// How `NET_DM` listened.
    pub mode: NetDmMode,
    /// Messages to this program's own netlink sockets that the kernel dropped; none when it cannot be told.
    pub own_netlink_drops: Option<u64>,
}

impl Material {
    /// Compares by place and reason, or by place alone where `NET_DM` tells no reasons. `union` has joined single drops,
    /// where both told them; `late` are those that `NET_DM` told of after the kernel program was stopped.
    pub fn compare(&self, union: Option<&Union>, late: &Late) -> Comparison<Arc<Place>> {
        let by_reason = tells_reasons(&self.net_dm);
        let spot = |pc: u64, name: &str| (pc, by_reason.then(|| Arc::from(name)));
        let of = |total: &DropTotal| spot_of(&total.place, by_reason);
        let sums = |totals: &[DropTotal]| -> Vec<(Spot, u64)> {
            totals.iter().map(|total| (of(total), total.packets)).collect()
        };
        let mut evidence = self.evidence();
        let mut counts = side_by_side(sums(&self.ebpf), sums(&self.net_dm));
        if let Some(union) = union {
            let mut joined: HashMap<Spot, Joined, RandomState> = HashMap::default();
            for (site, hearing) in union.account().sites() {
                let name = site.reason.map_or("", |number| union.reason(number));
                let sum = joined.entry(spot(site.pc, name)).or_default();
                sum.both += hearing.both;
                sum.too_few_bytes += hearing.too_few_bytes;
                sum.no_mac_header += hearing.no_mac_header;
            }
            self.refine(&mut counts, &joined, &union.ledger(), union.account().beyond().packets() == 0);
            for (spot, sum) in joined {
                evidence.sites.entry(spot).or_default().no_mac_header += sum.no_mac_header;
            }
        }
        let mut places: HashMap<Spot, Arc<Place>, RandomState> = HashMap::default();
        for total in self.ebpf.iter().chain(&self.net_dm) {
            let spot = of(total);
            let site = evidence.sites.entry(spot.clone()).or_default();
            self.know(site, &total.place);
            places.entry(spot).or_insert_with(|| Arc::clone(&total.place));
        }
        for (spot, packets) in sums(&self.opening) {
            evidence.sites.entry(spot).or_default().while_net_dm_off += packets;
        }
        for (spot, packets) in since(sums(&self.ebpf), sums(&self.closing)) {
            evidence.sites.entry(spot).or_default().since_last_alert += packets;
        }
        for ((pc, name), packets) in &late.0 {
            evidence.sites.entry(spot(*pc, name.as_deref().unwrap_or(""))).or_default().while_ebpf_off += packets;
        }
        compare(counts, &evidence).named(|spot| places.get(&spot).map_or_else(|| nowhere(spot.0), Arc::clone))
    }

    /// Where all single drops were told and joined, it is known how many both heard.
    fn refine(
        &self,
        counts: &mut [(Spot, Counts)],
        joined: &HashMap<Spot, Joined, RandomState>,
        union: &DedupeLedger,
        is_whole: bool,
    ) {
        let records = self.ebpf_ledger.events.unwrap_or_default();
        let all_records = records.delivered == self.ebpf_ledger.accounted + self.ebpf_ledger.overflow;
        let none_given_up = union.ebpf.alone.evicted == 0 && union.net_dm.alone.evicted == 0;
        if !(all_records && none_given_up && is_whole) {
            return;
        }
        for (spot, counts) in counts {
            let sum = joined.get(spot).copied().unwrap_or_default();
            counts.both = (sum.too_few_bytes == 0).then_some(sum.both);
        }
    }

    fn know(&self, site: &mut SiteEvidence, place: &Place) {
        if &*place.reason.subsystem == HARDWARE
            && self.ebpf.iter().all(|total| &*total.place.reason.subsystem != HARDWARE)
        {
            site.uncovered = Some(Uncovered::ByEbpf);
        }
        if place.kind == Kind::Xdp {
            site.uncovered = Some(Uncovered::ByNetDm);
        }
        if place.is_netlink_message() {
            site.own_netlink = self.own_netlink_drops.unwrap_or(0);
        }
    }

    fn evidence(&self) -> Evidence<Spot> {
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

/// What joining told of one spot.
#[derive(Clone, Copy, Default)]
struct Joined {
    both: u64,
    no_mac_header: u64,
    too_few_bytes: u64,
}

/// What came since an earlier reading.
fn since(now: Vec<(Spot, u64)>, before: Vec<(Spot, u64)>) -> impl Iterator<Item = (Spot, u64)> {
    let counts = side_by_side(now, before);
    counts.into_iter().map(|(spot, counts)| (spot, counts.ebpf.saturating_sub(counts.net_dm)))
}

fn nowhere(address: u64) -> Arc<Place> {
    Arc::new(Place {
        kind: Kind::Packet,
        reason: Reason { value: None, subsystem: "core".into(), name: "NOT_SPECIFIED".into() }.into(),
        location: Location { address, symbol: None, trap_group: None }.into(),
        protocol: 0,
        interface: None,
        ifindex: 0,
        netns: 0,
        netns_cookie: 0,
        netns_name: None,
    })
}

#[cfg(test)]
#[path = "material_tests.rs"]
mod tests;
