//! Reads the kernel program's slots of flows.

use std::io;
use std::os::fd::OwnedFd;

use tracer_common::{CpuState, DropCount, FLOW_SETS, FLOW_TABLES, FlowSet, FlowSlot, FlowTable, GENERATIONS};
use zerocopy::FromBytes;

use super::count::Count;
use super::flow_totals::FlowTotals;
use super::sys::RawMap;
use super::totals::{Ticks, Totals};

/// The slots of flows.
pub(super) struct Flows {
    slots: RawMap,
    /// The buffer of one look-up of all CPUs' slots, and as many zeros.
    buffer: Vec<u8>,
    zeros: Vec<u8>,
    /// Runs of the programs in each generation up to its last reading ([`CpuState::hits`]).
    hits: [u64; GENERATIONS as usize],
}

impl Flows {
    pub(super) fn open(map: OwnedFd, cpus: usize) -> Self {
        let size = size_of::<FlowTable>() * cpus;
        Self {
            slots: RawMap::new(map, size_of::<u32>(), size),
            buffer: vec![0; size],
            zeros: vec![0; size],
            hits: [0; 2],
        }
    }

    /// Reads and clears one generation, which no program uses; reads nothing if no program ran in it since the last reading.
    pub(super) fn drain(
        &mut self,
        generation: u32,
        states: &[CpuState],
        clock: Ticks,
        max_rows: usize,
        totals: &mut Totals,
    ) -> io::Result<()> {
        let at = usize::from(generation != 0);
        let hits = states.iter().map(|state| state.hits[at]).sum();
        if hits == self.hits[at] {
            return Ok(());
        }
        for table in 0..FLOW_TABLES {
            let key = (generation * FLOW_TABLES + table).to_ne_bytes();
            self.slots.lookup(&key, &mut self.buffer)?;
            if self.buffer == self.zeros {
                continue;
            }
            // Cleared before the sum is made, so that no count is added twice whatever fails below.
            self.slots.update(&key, &self.zeros)?;
            for (bytes, state) in self.buffer.chunks_exact(size_of::<FlowTable>()).zip(states) {
                for (at, set) in bytes.chunks_exact(size_of::<FlowSet>()).enumerate() {
                    let Ok(set) = FlowSet::read_from_bytes(set) else { continue };
                    let dated = |count: &DropCount| clock.dated(count, state.ticks);
                    add(table as usize * FLOW_SETS + at, &set, dated, max_rows, &mut totals.flows);
                }
            }
        }
        self.hits[at] = hits;
        Ok(())
    }
}

/// Adds the slots of a set of one CPU in one generation. `at` counts the sets through all tables; `dated` adds the times to
/// a count.
fn add(at: usize, set: &FlowSet, dated: impl Fn(&DropCount) -> Count, max_rows: usize, totals: &mut FlowTotals) {
    let floor = set.packets.into_iter().min().unwrap_or_default();
    totals.add_floor(at, floor);
    for (packets, slot) in set.packets.iter().zip(&set.slots) {
        let FlowSlot { row, displaced, bytes, first_ticks, last_ticks, .. } = *slot;
        let packets = packets.saturating_sub(displaced);
        if packets > 0 {
            let own = dated(&DropCount { packets, bytes, first_ticks, last_ticks });
            totals.add(row, own, [displaced, floor], max_rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use tracer_common::{FLOW_WAYS, FlowFacts, FlowRow, KeyNames, flow_hash, flow_set};
    use zerocopy::FromZeros;

    use super::*;

    fn row(port: u16) -> FlowRow {
        FlowRow { facts: FlowFacts { source_port: port, ..FlowFacts::default() }, ..FlowRow::default() }
    }

    fn set_of(row: &FlowRow) -> usize {
        let (table, set) = flow_set(flow_hash(&zerocopy::transmute!(*row)));
        table as usize * FLOW_SETS + set
    }

    /// What the kernel program does with a drop.
    fn drop_one(set: &mut FlowSet, row: FlowRow) {
        let own = (0..FLOW_WAYS).find(|way| set.packets[*way] > 0 && set.slots[*way].row == row);
        let way = own.unwrap_or_else(|| (0..FLOW_WAYS).min_by_key(|way| set.packets[*way]).unwrap());
        if own.is_none() {
            set.slots[way] = FlowSlot { row, displaced: set.packets[way], ..FlowSlot::default() };
        }
        set.packets[way] += 1;
    }

    /// Flows that share a set.
    fn crowded(count: usize) -> Vec<FlowRow> {
        (0..u16::MAX).map(row).filter(|row| set_of(row) == set_of(&self::row(0))).take(count).collect()
    }

    fn count(of: &DropCount) -> Count {
        Count { packets: of.packets, bytes: 0, first_ns: 1, last_ns: 2, names: KeyNames::default() }
    }

    proptest! {
        /// Each reading has the drops of one CPU in one generation.
        #[test]
        fn each_flow_is_within_its_bounds(
            readings in prop::collection::vec(prop::collection::vec(0..12_usize, 0..60), 1..6),
            max_rows in 1..16_usize,
        ) {
            let (flows, at) = (crowded(12), set_of(&row(0)));
            let (mut totals, mut truth) = (FlowTotals::default(), HashMap::<usize, u64>::new());
            for drops in &readings {
                let mut set = FlowSet::new_zeroed();
                for flow in drops {
                    drop_one(&mut set, flows[*flow]);
                    *truth.entry(*flow).or_default() += 1;
                }
                prop_assert_eq!(set.packets.iter().sum::<u64>(), drops.len() as u64);
                add(at, &set, count, max_rows, &mut totals);
            }
            let own: HashMap<_, _> = totals.iter().map(|(row, count)| (*row, count.packets)).collect();
            prop_assert!(own.len() <= max_rows);
            for (flow, row) in flows.iter().enumerate() {
                let sent = truth.get(&flow).copied().unwrap_or_default();
                let Some(own) = own.get(row) else {
                    prop_assert!(totals.most_of_others().is_none_or(|most| sent <= most));
                    continue;
                };
                prop_assert!(*own <= sent && sent <= own + totals.most_more(row), "{own} of {sent}");
                prop_assert!(totals.most_of_others().is_none_or(|most| totals.most_more(row) <= most));
            }
        }
    }

    #[test]
    fn flows_with_room_are_exact() {
        let (flows, mut totals, mut set) = (crowded(FLOW_WAYS), FlowTotals::default(), FlowSet::new_zeroed());
        for flow in &flows {
            drop_one(&mut set, *flow);
        }
        set.packets[0] = 1000;
        add(set_of(&flows[0]), &set, count, 10, &mut totals);
        // Nothing gave way, but a fifth flow would have had no more than the least of these.
        assert!(flows[1..].iter().all(|row| totals.most_more(row) == 0));
        assert_eq!(totals.most_of_others(), Some(1));
    }
}
