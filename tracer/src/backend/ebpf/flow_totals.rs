//! The kernel program's counts by flow since its start, and how much each may be too small.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tracer_common::{FLOW_SETS, FLOW_TABLES, FlowRow, KeyNames, flow_hash, flow_set};

use super::count::Count;

/// Sets of one CPU in one generation.
const SETS: usize = FLOW_TABLES as usize * FLOW_SETS;

/// Counts by flow over all CPUs and generations.
///
/// In a set of slots, no flow without a slot has more drops than the slot with the fewest ([`tracer_common::FlowSet`]), and
/// no flow with a slot more than `displaced` beside its own. A flow has the same set on all CPUs and in all generations. So
/// the sum of these numbers bounds what a flow lacks.
#[derive(Clone, Debug)]
pub struct FlowTotals {
    rows: HashMap<FlowRow, FlowCount, RandomState>,
    /// The sum of the fewest drops of a slot of each set; 0 where a slot was free.
    floors: Vec<u64>,
    /// Some flows found no room here, so that their drops are unknown.
    is_cut: bool,
}

/// Counts of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FlowCount {
    /// Drops that are certainly its own.
    own: Count,
    /// Drops of its slots that may be its own.
    displaced: u64,
    /// The floors of the sets in which it had a slot.
    floors: u64,
}

impl Default for FlowTotals {
    fn default() -> Self {
        Self { rows: HashMap::default(), floors: vec![0; SETS], is_cut: false }
    }
}

impl FlowTotals {
    /// The drops that are certainly those of each flow.
    pub fn iter(&self) -> impl Iterator<Item = (&FlowRow, &Count)> {
        self.rows.iter().map(|(row, count)| (row, &count.own))
    }

    /// The number of flows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no drop has a flow.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many drops a flow may have beside those that are certainly its own.
    pub(crate) fn most_more(&self, row: &FlowRow) -> u64 {
        let known = self.rows.get(row).map_or((0, 0), |count| (count.displaced, count.floors));
        (known.0 + self.floors[set_of(row)]).saturating_sub(known.1)
    }

    /// How many drops a flow may have that is none of these; absent if nothing bounds the number.
    pub(crate) fn most_of_others(&self) -> Option<u64> {
        self.floors.iter().max().copied().filter(|_| !self.is_cut)
    }

    /// Adds the fewest drops of a slot in a set of one CPU and generation; 0 if a slot was free.
    pub(super) fn add_floor(&mut self, set: usize, floor: u64) {
        self.floors[set] += floor;
    }

    /// Adds the counts of a slot: the drops that are certainly its flow's own, those that it displaced, and the floor of its
    /// set. Beyond `max_rows` flows, new ones find no room.
    pub(super) fn add(&mut self, row: FlowRow, own: Count, [displaced, floor]: [u64; 2], max_rows: usize) {
        if let Some(sum) = self.rows.get_mut(&row) {
            sum.own.merge(&own, KeyNames::default);
            sum.displaced += displaced;
            sum.floors += floor;
        } else if self.rows.len() < max_rows {
            self.rows.insert(row, FlowCount { own, displaced, floors: floor });
        } else {
            self.is_cut = true;
        }
    }

    /// A flow whose drops are all known.
    #[cfg(test)]
    pub(crate) fn insert(&mut self, row: FlowRow, own: Count) {
        self.add(row, own, [0; 2], usize::MAX);
    }
}

/// The set of a row, counted through all tables.
fn set_of(row: &FlowRow) -> usize {
    let (table, set) = flow_set(flow_hash(&zerocopy::transmute!(FlowRow { hash: 0, ..*row })));
    table as usize * FLOW_SETS + set
}
