//! Drops told once, summed up by place and reason, with who heard them.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use serde::Serialize;

use super::dedupe::{Heard, UniqueDrop};
use crate::domain::compare::Counts;
use crate::domain::dedupe::AloneCause;
use crate::domain::event::Origin;

/// Places and reasons that are told apart; more than a kernel has at work at any time.
pub const MAX_SITES: usize = 1 << 16;

/// Where and why, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Site {
    /// The tracepoint's `location`, `NET_DM`'s `PC`. Of its summary mode, 0 is a hint that a device's own counter rose
    /// (`trace_napi_poll_hit`, `net/core/drop_monitor.c`): no count of packets, and not to be compared.
    pub pc: u64,
    /// The caller's number for the reason; none where a source does not tell it, as `NET_DM`'s summary mode.
    pub reason: Option<u32>,
}

/// How many drops were heard, by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// By the kernel program only.
    pub ebpf_only: u64,
    /// By `NET_DM` only.
    pub net_dm_only: u64,
    /// By both.
    pub both: u64,
    /// Bytes of them all, counted from the MAC header.
    pub bytes: u64,
    /// Packets without a MAC header, among those that one source heard.
    pub no_mac_header: u64,
    /// Packets of which too few bytes were captured to know them again, among those that one source heard.
    pub too_few_bytes: u64,
}

impl Hearing {
    /// Drops.
    pub const fn packets(&self) -> u64 {
        self.ebpf_only + self.net_dm_only + self.both
    }

    /// As each source counted them.
    pub const fn counts(&self) -> Counts {
        Counts { ebpf: self.ebpf_only + self.both, net_dm: self.net_dm_only + self.both, both: Some(self.both) }
    }

    fn add<T>(&mut self, drop: &UniqueDrop<T>) {
        let counter = match drop.heard {
            Heard::Both { .. } => &mut self.both,
            Heard::Alone { origin: Origin::Ebpf, .. } => &mut self.ebpf_only,
            Heard::Alone { origin: Origin::NetDm, .. } => &mut self.net_dm_only,
        };
        *counter += 1;
        match drop.heard {
            Heard::Alone { cause: AloneCause::NoMacHeader, .. } => self.no_mac_header += 1,
            Heard::Alone { cause: AloneCause::TooFewBytes, .. } => self.too_few_bytes += 1,
            _ => {}
        }
        self.bytes = self.bytes.saturating_add(drop.drop.length.into());
    }
}

/// Sums by place and reason. The total is exact also when there are more of them than are told apart.
#[derive(Clone, Debug)]
pub struct Account {
    max_sites: usize,
    sites: HashMap<Site, Hearing, RandomState>,
    beyond: Hearing,
    total: Hearing,
}

impl Default for Account {
    fn default() -> Self {
        Self::new(MAX_SITES)
    }
}

impl Account {
    /// Tells at most `max_sites` places and reasons apart.
    pub fn new(max_sites: usize) -> Self {
        Self { max_sites, sites: HashMap::default(), beyond: Hearing::default(), total: Hearing::default() }
    }

    /// Adds one drop.
    pub fn add<T>(&mut self, drop: &UniqueDrop<T>) {
        self.total.add(drop);
        let site = Site { pc: drop.drop.pc, reason: Some(drop.drop.reason) };
        if let Some(hearing) = self.sites.get_mut(&site) {
            hearing.add(drop);
        } else if self.sites.len() < self.max_sites {
            self.sites.entry(site).or_default().add(drop);
        } else {
            self.beyond.add(drop);
        }
    }

    /// By place and reason, in any order.
    pub fn sites(&self) -> impl Iterator<Item = (Site, &Hearing)> {
        self.sites.iter().map(|(site, hearing)| (*site, hearing))
    }

    /// Drops at places and for reasons that found no room.
    pub const fn beyond(&self) -> &Hearing {
        &self.beyond
    }

    /// All drops.
    pub const fn total(&self) -> &Hearing {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Timestamp;
    use crate::pipeline::dedupe::Facts;

    fn drop(pc: u64, heard: Heard<()>) -> UniqueDrop<()> {
        let drop = Facts { timestamp: Timestamp(0), pc, reason: 6, length: 100, netns: 0, ifindex: 0 };
        UniqueDrop { drop, heard }
    }

    const BOTH: Heard<()> = Heard::Both { ebpf: (), net_dm: () };

    const fn alone(origin: Origin) -> Heard<()> {
        Heard::Alone { origin, detail: (), cause: AloneCause::Expired }
    }

    #[test]
    fn drops_are_summed_by_who_heard_them() {
        let mut account = Account::default();
        for heard in [BOTH, BOTH, alone(Origin::Ebpf), alone(Origin::NetDm), BOTH, alone(Origin::NetDm)] {
            account.add(&drop(1, heard));
        }
        account.add(&drop(2, BOTH));
        let mut sites: Vec<_> = account.sites().map(|(site, hearing)| (site.pc, *hearing)).collect();
        sites.sort_by_key(|(pc, _)| *pc);
        let first = Hearing { ebpf_only: 1, net_dm_only: 2, both: 3, bytes: 600, ..Hearing::default() };
        let second = Hearing { both: 1, bytes: 100, ..Hearing::default() };
        assert_eq!(sites, [(1, first), (2, second)]);
        assert_eq!(first.counts(), Counts { ebpf: 4, net_dm: 5, both: Some(3) });
        assert_eq!(account.total().packets(), 7);
    }

    #[test]
    fn the_total_holds_beyond_the_bound() {
        let mut account = Account::new(2);
        for pc in [1, 2, 3, 1, 4] {
            account.add(&drop(pc, BOTH));
        }
        assert_eq!(account.sites().count(), 2);
        assert_eq!((account.beyond().packets(), account.total().packets()), (2, 5));
    }
}
