//! The `counters` backend, the last in the fallback order. It reads the kernel's own counters: those of protocols
//! (`/proc/net/snmp`, `snmp6`, `netstat`), of the backlog of each CPU (`softnet_stat`), and of interfaces
//! (`/proc/net/dev`).
//!
//! The files need no capability. They cover a part of all drops, and a packet may raise more than one counter. Beside
//! another backend, [`beside`] reads the counters that can be compared with its drops.

pub(crate) mod beside;
mod files;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{Selection, TotalsBackend, TotalsSource};
use crate::domain::event::{Location, NamedKey, Reason, Timestamp};
use crate::domain::ledger::{CountersLedger, Ledger};
use crate::domain::report::SourceReport;
use crate::domain::total::DropTotal;
use crate::domain::unavailable::Unavailable;
use crate::identity::netns;
use crate::kernel::clock::Clock;

/// This backend.
pub(crate) const BACKEND: TotalsBackend = TotalsBackend {
    source: "counters",
    mode: "procfs",
    about: "The kernel's own counters, such as those of /proc/net/snmp: totals without drop sites and single drops",
    loses: "drop sites, reasons, bytes, single drops, other namespaces, and all drops that no counter counts",
    start,
};

fn start(wanted: Selection) -> Result<Box<dyn TotalsSource>, Unavailable> {
    let own = netns::own().unwrap_or(0);
    if wanted.netns.is_some_and(|netns| netns != own) {
        return Err(Unavailable::new(
            "--netns: the kernel's own counters are those of the namespace that droptrace runs in",
            "run `ip netns exec NAME droptrace`",
        ));
    }
    if wanted.has_filter {
        return Err(Unavailable::because("filters: the kernel's own counters have no packets"));
    }
    if wanted.ifindex != 0 {
        return Err(Unavailable::because("--interface: most of the kernel's own counters have no interface"));
    }
    match Counters::start(own) {
        Ok(counters) => Ok(Box::new(counters)),
        Err(error) => Err(Unavailable::of(&error)),
    }
}

/// A counter of drops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counter {
    /// The file of the counter: `snmp`, `snmp6`, `netstat`, `softnet` or `interface`.
    pub(crate) file: &'static str,
    /// The kernel's name of the counter.
    pub(crate) name: &'static str,
    /// The interface of the counter; absent where the counter belongs to no interface.
    pub(crate) interface: Option<Arc<str>>,
}

/// The rise of a counter since the start.
struct Rise {
    key: Arc<NamedKey>,
    packets: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

/// The running source.
pub(crate) struct Counters {
    netns: u32,
    last: BTreeMap<Counter, u64>,
    rises: BTreeMap<Counter, Rise>,
}

impl Counters {
    /// Takes the present counts as the starting point. `netns` is the inode number of this process's namespace, which
    /// the counters belong to.
    pub(crate) fn start(netns: u32) -> io::Result<Self> {
        Ok(Self { netns, last: files::read()?, rises: BTreeMap::new() })
    }

    /// Adds the rise of each counter. A new interface starts at 0, and so does a counter that is less than it was.
    fn take(&mut self, now: BTreeMap<Counter, u64>, at: Timestamp) {
        for (counter, value) in &now {
            let before = self.last.get(counter).copied().filter(|before| before <= value).unwrap_or(0);
            if *value == before {
                continue;
            }
            let rise = self.rises.entry(counter.clone()).or_insert_with(|| Rise {
                key: Arc::new(key(counter, self.netns)),
                packets: 0,
                first_seen: at,
                last_seen: at,
            });
            rise.packets += value - before;
            rise.last_seen = at;
        }
        self.last = now;
    }
}

impl TotalsSource for Counters {
    /// The times of drops are those of this call.
    fn read(&mut self) -> io::Result<()> {
        self.take(files::read()?, Clock::now());
        Ok(())
    }

    fn totals(&self) -> Vec<DropTotal> {
        let totals = self.rises.values().map(|rise| DropTotal {
            key: Arc::clone(&rise.key),
            packets: rise.packets,
            bytes: None,
            first_seen: rise.first_seen,
            last_seen: rise.last_seen,
            seen_by: &[],
            more: 0,
        });
        totals.collect()
    }

    fn report(&self) -> SourceReport {
        let counted = self.rises.values().map(|rise| rise.packets).sum();
        let ledger = Ledger::Counters(CountersLedger { source: BACKEND.source, counted });
        SourceReport { mode: BACKEND.mode, ledger, held_back: vec![] }
    }
}

fn key(counter: &Counter, netns: u32) -> NamedKey {
    let reason = Reason { value: None, subsystem: counter.file.into(), name: counter.name.into() };
    NamedKey {
        reason: reason.into(),
        location: Location { address: 0, symbol: None, trap_group: None }.into(),
        interface: counter.interface.clone(),
        // The backlog of a CPU belongs to all namespaces.
        netns: if counter.file == files::SOFTNET { 0 } else { netns },
        ..NamedKey::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(interface: Option<&str>) -> Counter {
        Counter { file: "interface", name: "rx_dropped", interface: interface.map(Arc::from) }
    }

    #[test]
    fn rises_are_counted_from_the_start_and_interfaces_that_come_anew_from_zero() {
        let mut counters = Counters { netns: 7, last: [(counter(Some("lo")), 5)].into(), rises: BTreeMap::new() };
        counters.take([(counter(Some("lo")), 5)].into(), Timestamp(1));
        assert!(counters.totals().is_empty());
        counters.take([(counter(Some("lo")), 8), (counter(Some("eth0")), 2)].into(), Timestamp(2));
        // The interface is gone, and another one with its name has come.
        counters.take([(counter(Some("lo")), 9)].into(), Timestamp(3));
        counters.take([(counter(Some("lo")), 9), (counter(Some("eth0")), 1)].into(), Timestamp(4));
        let totals = counters.totals();
        let shown: Vec<_> = totals
            .iter()
            .map(|total| (total.key.interface.as_deref(), total.packets, total.first_seen.0, total.last_seen.0))
            .collect();
        assert_eq!(shown, [(Some("eth0"), 3, 2, 4), (Some("lo"), 4, 2, 3)]);
        assert_eq!(counters.report().ledger, Ledger::Counters(CountersLedger { source: "counters", counted: 7 }));
    }
}
