//! The ledger of the flows of dropped packets.

use serde::Serialize;

use super::total::{DropTotal, OverflowTotal};

/// All counted drops, by what is known of their flows: the sum of the first four numbers is the number of counted drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowLedger {
    /// Drops that are in the row of their flow. A packet whose addresses or ports are unknown, because it is not IP, is a
    /// fragment or is cut, is in a row without them; a packet without a socket is in a row without process and user.
    pub by_flow: u64,
    /// Drops of flows that gave way to others in the kernel's table ([`super::flow::Flow::is_others`]). Each row may have had some of
    /// them ([`super::total::Total::more`]).
    pub others: u64,
    /// Drops of which neither a flow nor a socket is read: XDP's.
    pub no_flow: u64,
    /// Drops that are counted by reason only, because their key found no room.
    pub no_room: u64,
    /// The greatest number of drops that a row may have beside its own. It is not a further part of the sum.
    pub most_more: u64,
}

impl FlowLedger {
    /// The ledger of these totals.
    pub fn of(drops: &[DropTotal], overflow: &[OverflowTotal]) -> Self {
        let mut ledger = Self { no_room: overflow.iter().map(|total| total.packets).sum(), ..Self::default() };
        for total in drops {
            let part = match &total.key.flow {
                None => &mut ledger.no_flow,
                Some(flow) if flow.is_others => &mut ledger.others,
                Some(_) => {
                    ledger.most_more = ledger.most_more.max(total.more);
                    &mut ledger.by_flow
                }
            };
            *part += total.packets;
        }
        ledger
    }
}
