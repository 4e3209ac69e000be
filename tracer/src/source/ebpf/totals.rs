//! Reads the accounting plane: the counts of all CPUs, merged.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use tracer_common::{Counters, CpuState, DropCount, DropKey, OVERFLOW_SLOTS, OverflowCount, TrapKey, overflow_reason};
use zerocopy::FromBytes;

use super::Error;
use super::hardware::HardwareReader;
use super::sys::MapReader;

/// Counts of one key over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Drops.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// First drop, nanoseconds of `CLOCK_MONOTONIC`.
    pub first_ns: u64,
    /// Last drop, likewise, to one tick of the kernel's timer.
    pub last_ns: u64,
}

impl Count {
    pub(super) fn of_cpu(count: &DropCount, tick_ns: u32) -> Self {
        let ticks = count.last_ticks.saturating_sub(count.first_ticks);
        let last_ns = count.first_ns.saturating_add(ticks.saturating_mul(tick_ns.into()));
        Self { packets: count.packets, bytes: count.bytes, first_ns: count.first_ns, last_ns }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

/// What the kernel program has counted since its start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By key.
    pub counts: HashMap<DropKey, Count>,
    /// Hardware drops by key.
    pub traps: HashMap<TrapKey, Count>,
    /// By reason, of the keys that found no room; none for reasons that the map does not tell apart, and devlink traps.
    pub overflow: Vec<(Option<u32>, OverflowCount)>,
    /// Sums of the counters of all CPUs.
    pub counters: Counters,
    /// Exact reasons of queueing disciplines that were told and not taken up ([`tracer_common::QdiscNote::untaken`]).
    pub qdisc_untaken: u64,
}

impl Totals {
    /// Drops counted by key.
    pub fn accounted(&self) -> u64 {
        self.counts.values().chain(self.traps.values()).map(|count| count.packets).sum()
    }

    fn add(&mut self, key: DropKey, count: &DropCount, tick_ns: u32) {
        if count.packets == 0 {
            return;
        }
        let count = Count::of_cpu(count, tick_ns);
        self.counts.entry(key).and_modify(|sum| sum.merge(&count)).or_insert(count);
    }
}

/// The maps of the accounting plane.
pub(super) struct TotalsReader {
    state: MapReader,
    drops: MapReader,
    overflow: MapReader,
    /// None where no program listens to devices.
    hardware: Option<HardwareReader>,
    cpus: usize,
    tick_ns: u32,
}

impl TotalsReader {
    /// `map` tells the map of a name.
    pub(super) fn open(
        map: impl Fn(&'static str) -> Result<OwnedFd, Error>,
        hears_hardware: bool,
        cpus: usize,
        tick_ns: u32,
    ) -> Result<Self, Error> {
        Ok(Self {
            state: MapReader::new(map("CPU_STATE")?, size_of::<u32>(), size_of::<CpuState>() * cpus),
            drops: MapReader::new(map("DROPS")?, size_of::<DropKey>(), size_of::<DropCount>() * cpus),
            overflow: MapReader::new(map("OVERFLOW")?, size_of::<u32>(), size_of::<OverflowCount>() * cpus),
            hardware: if hears_hardware { Some(HardwareReader::open(map, cpus, tick_ns)?) } else { None },
            cpus,
            tick_ns,
        })
    }

    /// Reads all counts. While the program runs, `hits` is at least the sum of the others, for it is read last, and
    /// `overflow` is what is told by reason.
    pub(super) fn read(&self) -> io::Result<Totals> {
        let mut totals = Totals::default();
        self.drops.for_each(|key, values| {
            if let Ok(key) = DropKey::read_from_bytes(key) {
                per_cpu::<DropCount>(values).for_each(|count| totals.add(key, &count, self.tick_ns));
            }
        })?;
        let mut states = self.states()?;
        if per_cpu::<CpuState>(&states).any(|state| state.counters.overflow > 0) {
            totals.overflow = self.read_overflow()?;
            states = self.states()?;
        }
        self.add_states(&states, &mut totals);
        if let Some(hardware) = &self.hardware {
            hardware.read(&mut totals)?;
        }
        Ok(totals)
    }

    /// The states of all CPUs, as a look-up yields them.
    fn states(&self) -> io::Result<Vec<u8>> {
        let mut states = vec![0; size_of::<CpuState>() * self.cpus];
        self.state.lookup(&0_u32.to_ne_bytes(), &mut states)?;
        Ok(states)
    }

    fn add_states(&self, states: &[u8], totals: &mut Totals) {
        for state in per_cpu::<CpuState>(states) {
            for slot in &state.slots {
                totals.add(slot.key, &slot.count, self.tick_ns);
            }
            add_counters(&mut totals.counters, &state.counters);
            totals.qdisc_untaken += state.qdisc.untaken;
        }
        // What came since is not among those told by reason.
        totals.counters.overflow = totals.overflow.iter().map(|(_, count)| count.packets).sum();
    }

    fn read_overflow(&self) -> io::Result<Vec<(Option<u32>, OverflowCount)>> {
        let mut overflow = Vec::new();
        let mut values = vec![0; size_of::<OverflowCount>() * self.cpus];
        for slot in 0..OVERFLOW_SLOTS {
            self.overflow.lookup(&slot.to_ne_bytes(), &mut values)?;
            let sum = per_cpu::<OverflowCount>(&values).fold(OverflowCount::default(), |sum, count| OverflowCount {
                packets: sum.packets + count.packets,
                bytes: sum.bytes + count.bytes,
            });
            if sum.packets > 0 {
                overflow.push((overflow_reason(slot), sum));
            }
        }
        Ok(overflow)
    }
}

/// The values of all CPUs in what a look-up of a per-CPU map yields.
pub(super) fn per_cpu<T: FromBytes>(values: &[u8]) -> impl Iterator<Item = T> {
    const { assert!(size_of::<T>().is_multiple_of(8), "the kernel pads the values of a per-CPU map to 8 bytes") };
    values.chunks_exact(size_of::<T>()).filter_map(|value| T::read_from_bytes(value).ok())
}

pub(super) fn add_counters(sum: &mut Counters, cpu: &Counters) {
    let Counters { hits, filtered, overflow, offered, submitted, suppressed, ring_full, unreadable } = cpu;
    sum.hits += hits;
    sum.filtered += filtered;
    sum.overflow += overflow;
    sum.offered += offered;
    sum.submitted += submitted;
    sum.suppressed += suppressed;
    sum.ring_full += ring_full;
    sum.unreadable += unreadable;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_cpus_are_merged() {
        let key = DropKey { location: 1, ..DropKey::default() };
        let mut totals = Totals::default();
        totals.add(key, &DropCount { packets: 2, bytes: 20, first_ns: 500, first_ticks: 10, last_ticks: 12 }, 100);
        totals.add(key, &DropCount { packets: 1, bytes: 5, first_ns: 400, first_ticks: 9, last_ticks: 9 }, 100);
        totals.add(key, &DropCount::default(), 100);
        assert_eq!(totals.counts[&key], Count { packets: 3, bytes: 25, first_ns: 400, last_ns: 700 });
        assert_eq!(totals.accounted(), 3);
    }

    #[test]
    fn ticks_that_run_backwards_or_overflow_do_no_harm() {
        let backwards = DropCount { packets: 1, bytes: 0, first_ns: 7, first_ticks: 5, last_ticks: 1 };
        assert_eq!(Count::of_cpu(&backwards, 4_000_000).last_ns, 7);
        let huge = DropCount { packets: 1, bytes: 0, first_ns: 7, first_ticks: 0, last_ticks: u64::MAX };
        assert_eq!(Count::of_cpu(&huge, 4_000_000).last_ns, u64::MAX);
    }
}
