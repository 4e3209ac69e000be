//! Reads the kernel program's slots of flows.

use std::io;
use std::os::fd::OwnedFd;

use tracer_common::{CpuState, DropCount, FLOW_TABLES, FlowSet, FlowSlot, FlowTable};
use zerocopy::FromBytes;

use super::sys::RawMap;
use super::totals::{Ticks, Totals};

/// The slots of flows.
pub(super) struct Flows {
    slots: RawMap,
    /// The buffer of one look-up of all CPUs' slots, and as many zeros.
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

impl Flows {
    pub(super) fn open(map: OwnedFd, cpus: usize) -> Self {
        let size = size_of::<FlowTable>() * cpus;
        Self { slots: RawMap::new(map, size_of::<u32>(), size), buffer: vec![0; size], zeros: vec![0; size] }
    }

    /// Reads and clears one generation, which no program uses.
    pub(super) fn drain(
        &mut self,
        generation: u32,
        states: &[CpuState],
        clock: Ticks,
        max_rows: usize,
        totals: &mut Totals,
    ) -> io::Result<()> {
        for table in 0..FLOW_TABLES {
            let key = (generation * FLOW_TABLES + table).to_ne_bytes();
            self.slots.lookup(&key, &mut self.buffer)?;
            if self.buffer == self.zeros {
                continue;
            }
            // Cleared before the sum is made, so that no count is added twice whatever fails below.
            self.slots.update(&key, &self.zeros)?;
            for (bytes, state) in self.buffer.chunks_exact(size_of::<FlowTable>()).zip(states) {
                for set in bytes.chunks_exact(size_of::<FlowSet>()) {
                    let Ok(set) = FlowSet::read_from_bytes(set) else { continue };
                    for (packets, slot) in set.packets.iter().zip(&set.slots) {
                        add(*packets, slot, state, clock, max_rows, totals);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Adds the drops that are certainly the slot's flow's own.
fn add(packets: u64, slot: &FlowSlot, state: &CpuState, clock: Ticks, max_rows: usize, totals: &mut Totals) {
    let packets = packets.saturating_sub(slot.displaced);
    if packets == 0 {
        return;
    }
    let FlowSlot { row, bytes, first_ticks, last_ticks, .. } = *slot;
    let own = clock.dated(&DropCount { packets, bytes, first_ticks, last_ticks }, state.ticks);
    totals.add_flow(row, own, max_rows);
}
