//! Sums unique drops by drop site and drop reason, and by the sources that saw them.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::Serialize;

use super::dedupe::{SeenBy, UniqueDrop};
use crate::domain::compare::Counts;
use crate::domain::dedupe::AloneCause;
use crate::domain::event::Origin;

/// Pairs of drop site and drop reason that [`Account`] counts separately. No kernel uses more at a time.
pub(crate) const MAX_SITES: usize = 1 << 16;

/// A drop site and a drop reason, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Site {
    /// The tracepoint's `location`, or `NET_DM`'s `PC`. In `NET_DM`'s summary mode, 0 hints that a device's own counter
    /// rose (`trace_napi_poll_hit`, `net/core/drop_monitor.c`): the entry is no count of packets, and cannot be
    /// compared.
    pub pc: u64,
    /// The caller's number for the drop reason; absent where a source does not report reasons, as in `NET_DM`'s summary
    /// mode.
    pub reason: Option<u32>,
}

/// Numbers of drops by the source that saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginCounts {
    /// Drops that only the kernel program saw.
    pub ebpf_only: u64,
    /// Drops that only `NET_DM` saw.
    pub net_dm_only: u64,
    /// Drops that both sources saw.
    pub both: u64,
    /// Bytes of all packets, counted from the MAC header.
    pub bytes: u64,
    /// Packets without a MAC header, among the drops that only one source saw.
    pub no_mac_header: u64,
    /// Packets of which too few bytes were captured to identify them, among the drops that only one source saw.
    pub too_few_bytes: u64,
}

impl OriginCounts {
    /// Number of drops.
    pub const fn packets(&self) -> u64 {
        self.ebpf_only + self.net_dm_only + self.both
    }

    /// Drops that each source counted.
    pub const fn counts(&self) -> Counts {
        Counts { ebpf: self.ebpf_only + self.both, net_dm: self.net_dm_only + self.both, both: Some(self.both) }
    }

    fn add<T>(&mut self, drop: &UniqueDrop<T>) {
        let counter = match drop.seen_by {
            SeenBy::Both { .. } => &mut self.both,
            SeenBy::Alone { origin: Origin::Ebpf, .. } => &mut self.ebpf_only,
            SeenBy::Alone { origin: Origin::NetDm, .. } => &mut self.net_dm_only,
        };
        *counter += 1;
        match drop.seen_by {
            SeenBy::Alone { cause: AloneCause::NoMacHeader, .. } => self.no_mac_header += 1,
            SeenBy::Alone { cause: AloneCause::TooFewBytes, .. } => self.too_few_bytes += 1,
            _ => {}
        }
        self.bytes = self.bytes.saturating_add(drop.drop.length.into());
    }
}

/// Sums by drop site and drop reason. The total is exact even when there are more pairs than [`Account`] counts
/// separately.
#[derive(Clone, Debug)]
pub struct Account {
    max_sites: usize,
    sites: HashMap<Site, OriginCounts, RandomState>,
    beyond: OriginCounts,
    total: OriginCounts,
}

impl Default for Account {
    fn default() -> Self {
        Self::new(MAX_SITES)
    }
}

impl Account {
    /// Counts at most `max_sites` pairs of drop site and drop reason separately.
    pub fn new(max_sites: usize) -> Self {
        Self { max_sites, sites: HashMap::default(), beyond: OriginCounts::default(), total: OriginCounts::default() }
    }

    /// Adds one drop.
    pub fn add<T>(&mut self, drop: &UniqueDrop<T>) {
        self.total.add(drop);
        let site = Site { pc: drop.drop.pc, reason: Some(drop.drop.reason) };
        if let Some(counts) = self.sites.get_mut(&site) {
            counts.add(drop);
        } else if self.sites.len() < self.max_sites {
            self.sites.entry(site).or_default().add(drop);
        } else {
            self.beyond.add(drop);
        }
    }

    /// Sums by drop site and drop reason, in any order.
    pub fn sites(&self) -> impl Iterator<Item = (Site, &OriginCounts)> {
        self.sites.iter().map(|(site, counts)| (*site, counts))
    }

    /// Drops whose drop site and drop reason found no room.
    pub const fn beyond(&self) -> &OriginCounts {
        &self.beyond
    }

    /// Sum of all drops.
    pub const fn total(&self) -> &OriginCounts {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Timestamp;
    use crate::pipeline::dedupe::SharedFacts;

    fn drop(pc: u64, seen_by: SeenBy<()>) -> UniqueDrop<()> {
        let drop = SharedFacts { timestamp: Timestamp(0), pc, reason: 6, length: 100, netns: 0, ifindex: 0 };
        UniqueDrop { drop, seen_by }
    }

    const BOTH: SeenBy<()> = SeenBy::Both { ebpf: (), net_dm: () };

    const fn alone(origin: Origin) -> SeenBy<()> {
        SeenBy::Alone { origin, detail: (), cause: AloneCause::Expired }
    }

    #[test]
    fn drops_are_summed_by_origin() {
        let mut account = Account::default();
        for seen_by in [BOTH, BOTH, alone(Origin::Ebpf), alone(Origin::NetDm), BOTH, alone(Origin::NetDm)] {
            account.add(&drop(1, seen_by));
        }
        account.add(&drop(2, BOTH));
        let mut sites: Vec<_> = account.sites().map(|(site, counts)| (site.pc, *counts)).collect();
        sites.sort_by_key(|(pc, _)| *pc);
        let first = OriginCounts { ebpf_only: 1, net_dm_only: 2, both: 3, bytes: 600, ..OriginCounts::default() };
        let second = OriginCounts { both: 1, bytes: 100, ..OriginCounts::default() };
        assert_eq!(sites, [(1, first), (2, second)]);
        assert_eq!(first.counts(), Counts { ebpf: 4, net_dm: 5, both: Some(3) });
        assert_eq!(account.total().packets(), 7);
    }

    #[test]
    fn total_is_exact_beyond_max_sites() {
        let mut account = Account::new(2);
        for pc in [1, 2, 3, 1, 4] {
            account.add(&drop(pc, BOTH));
        }
        assert_eq!(account.sites().count(), 2);
        assert_eq!((account.beyond().packets(), account.total().packets()), (2, 5));
    }
}
