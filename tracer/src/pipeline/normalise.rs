//! Gives names to what sources count by number: reasons, places in the kernel, interfaces, namespaces, times.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tracer_common::{DropKey, TrapKey};

use crate::event::{DropEvent, DropTotal, Origin, Place};
use crate::kernel::clock::Clock;
use crate::kernel::interfaces;
use crate::kernel::netns::{self, Namespaces};
use crate::kernel::reasons::ReasonNames;
use crate::kernel::symbols::Symbols;
use crate::report::OverflowTotal;
use crate::source::ebpf::{Count, Record, Totals};
use crate::source::net_dm;

mod hardware;
mod told;

/// Places kept by name; more than a kernel has at work at any time. Beyond it they are looked up anew.
const MAX_PLACES: usize = 1 << 16;

/// The names of this kernel, looked up once each.
pub struct Normaliser {
    reasons: ReasonNames,
    symbols: Symbols,
    namespaces: Namespaces,
    clock: Clock,
    own_netns: u32,
    places: HashMap<DropKey, Arc<Place>, RandomState>,
    trapped: HashMap<TrapKey, Arc<Place>, RandomState>,
    /// Of the drop monitor, whose keys are its own.
    told: HashMap<net_dm::Key, Arc<Place>, RandomState>,
}

impl Normaliser {
    /// With the kernel's names for reasons; all else is read when it is first needed.
    pub fn new(reasons: ReasonNames) -> Self {
        Self {
            reasons,
            symbols: Symbols::new(),
            namespaces: Namespaces::new(),
            clock: Clock::new(),
            // 0, which no namespace has, when it cannot be told.
            own_netns: netns::own().unwrap_or(0),
            places: HashMap::default(),
            trapped: HashMap::default(),
            told: HashMap::default(),
        }
    }

    /// Follows steps of real time. To be called once an interval.
    pub fn refresh_clock(&mut self) {
        self.clock.refresh();
    }

    /// Whether this process may not see the kernel's addresses, so that places have no symbols.
    pub fn hides_addresses(&self) -> bool {
        self.symbols.hidden().unwrap_or(true)
    }

    /// Totals by place. `interface` tells the name that an interface had, by namespace and index.
    pub fn totals(&mut self, totals: &Totals, interface: impl Fn(u32, u32) -> Option<String>) -> Vec<DropTotal> {
        let mut all = Vec::with_capacity(totals.counts.len() + totals.traps.len());
        for (key, count) in &totals.counts {
            let place = self.place(key, || interface(key.netns, key.ifindex));
            all.push(self.total(place, count));
        }
        for (key, count) in &totals.traps {
            let place = self.trapped(key, || interface(key.netns, key.ifindex));
            all.push(self.total(place, count));
        }
        all
    }

    fn total(&self, place: Arc<Place>, count: &Count) -> DropTotal {
        DropTotal {
            place,
            packets: count.packets,
            bytes: Some(count.bytes),
            first_seen: self.clock.real(count.first_ns),
            last_seen: self.clock.real(count.last_ns),
            seen_by: &[Origin::Ebpf],
        }
    }

    /// Totals of what only the reason is known of.
    pub fn overflow(&mut self, totals: &Totals) -> Vec<OverflowTotal> {
        let named = totals.overflow.iter().map(|(reason, count)| OverflowTotal {
            reason: reason.map(|reason| self.reasons.resolve(reason)),
            packets: count.packets,
            bytes: Some(count.bytes),
        });
        named.collect()
    }

    /// One drop, shown to `visit`. `interface` tells what the record does not.
    pub fn event<T>(
        &mut self,
        record: &Record<'_>,
        interface: impl Fn(u32, u32) -> Option<String>,
        visit: impl FnOnce(&DropEvent<'_>) -> T,
    ) -> T {
        let key = &record.header.key;
        let name = record.interface();
        let lookup = || name.map(str::to_owned).or_else(|| interface(key.netns, key.ifindex));
        let mut place = match record.trap_key() {
            None => self.place(key, lookup),
            Some(key) => self.trapped(&key, lookup),
        };
        if record.trap.is_none() && name.is_some() && place.interface.as_deref() != name {
            // Renamed, or another interface with the number of one that is gone.
            self.places.remove(key);
            place = self.place(key, lookup);
        }
        visit(&DropEvent {
            timestamp: self.clock.real(record.header.timestamp_ns),
            place: &place,
            seen_by: &[Origin::Ebpf],
            length: record.header.length,
            start: record.start,
            bytes: record.bytes,
        })
    }

    /// The name that the kernel program saw, else what the interface is called now, if it is one of this namespace.
    fn interface(&self, netns: u32, ifindex: u32, seen: impl FnOnce() -> Option<String>) -> Option<String> {
        if ifindex == 0 {
            return None;
        }
        seen().or_else(|| if netns == self.own_netns { interfaces::name(ifindex) } else { None })
    }

    fn place(&mut self, key: &DropKey, interface: impl FnOnce() -> Option<String>) -> Arc<Place> {
        if let Some(place) = self.places.get(key) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place {
            reason: self.reasons.resolve(key.reason),
            location: self.symbols.resolve(key.location),
            protocol: key.protocol,
            interface: self.interface(key.netns, key.ifindex, interface).map(Arc::from),
            ifindex: key.ifindex,
            netns: key.netns,
            netns_name: self.namespaces.name(key.netns),
        });
        if self.places.len() >= MAX_PLACES {
            self.places.clear();
        }
        self.places.insert(*key, Arc::clone(&place));
        place
    }
}
