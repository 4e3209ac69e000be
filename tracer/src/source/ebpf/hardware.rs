//! Reads the account of hardware drops, which is kept apart from that of `kfree_skb`, and adds it to the totals.

use std::io;
use std::os::fd::OwnedFd;

use tracer_common::{DropCount, HardwareState, OverflowCount, TrapKey};
use zerocopy::FromBytes;

use super::Error;
use super::sys::MapReader;
use super::totals::{Count, Totals, add_counters, per_cpu};

/// Room for keys: traps, interfaces and protocols of one host.
pub(super) const ENTRIES: u32 = 1024;

/// The maps of hardware drops.
pub(super) struct HardwareReader {
    state: MapReader,
    traps: MapReader,
    cpus: usize,
    tick_ns: u32,
}

impl HardwareReader {
    /// `map` tells the map of a name.
    pub(super) fn open(
        map: impl Fn(&'static str) -> Result<OwnedFd, Error>,
        cpus: usize,
        tick_ns: u32,
    ) -> Result<Self, Error> {
        Ok(Self {
            state: MapReader::new(map("HARDWARE")?, size_of::<u32>(), size_of::<HardwareState>() * cpus),
            traps: MapReader::new(map("TRAPS")?, size_of::<TrapKey>(), size_of::<DropCount>() * cpus),
            cpus,
            tick_ns,
        })
    }

    /// Adds the counts of all CPUs. As in [`super::totals::TotalsReader::read`], `hits` is read last.
    pub(super) fn read(&self, totals: &mut Totals) -> io::Result<()> {
        self.traps.for_each(|key, values| {
            if let Ok(key) = TrapKey::read_from_bytes(key) {
                let counts = per_cpu::<DropCount>(values).filter(|count| count.packets > 0);
                for count in counts.map(|count| Count::of_cpu(&count, self.tick_ns)) {
                    totals.traps.entry(key).and_modify(|sum| sum.merge(&count)).or_insert(count);
                }
            }
        })?;
        let mut states = vec![0; size_of::<HardwareState>() * self.cpus];
        self.state.lookup(&0_u32.to_ne_bytes(), &mut states)?;
        let mut overflow = OverflowCount::default();
        for state in per_cpu::<HardwareState>(&states) {
            add_counters(&mut totals.counters, &state.counters);
            overflow.packets += state.overflow.packets;
            overflow.bytes += state.overflow.bytes;
        }
        if overflow.packets > 0 {
            totals.overflow.push((None, overflow));
        }
        Ok(())
    }
}
