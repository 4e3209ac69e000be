//! Totals of two sources as one.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tracer_common::REASON_ABSENT;

use super::reasons::told_name;
use crate::domain::event::{DropTotal, Kind, Origin, Place, Reason};

/// Where and why, as both sources tell it; no reason where one of them tells none.
pub(in crate::pipeline) type Spot = (u64, Option<Arc<str>>);

/// The spot of a place. What XDP drops is at none of `NET_DM`'s, which has other drops without an address.
pub(in crate::pipeline) fn spot(place: &Place, by_reason: bool) -> Spot {
    let name = by_reason || place.kind == Kind::Xdp;
    (place.location.address, name.then(|| told_name(&place.reason).into()))
}

/// What both counted at one spot.
#[derive(Default)]
struct Sums {
    ebpf: u64,
    net_dm: u64,
}

/// One table of both sources. The kernel program's rows stand, for it tells more and counts all that it sees; what
/// `NET_DM` counted beyond them, by place and reason, makes rows of its own: they fill what the kernel program missed.
/// Where that is a part of what `NET_DM` counted, the bytes of the part are not known.
pub fn unite(ebpf: Vec<DropTotal>, net_dm: Vec<DropTotal>) -> Vec<DropTotal> {
    let by_reason = tells_reasons(&net_dm);
    let spot = |total: &DropTotal| spot(&total.place, by_reason);
    let mut sums: HashMap<Spot, Sums, RandomState> = HashMap::default();
    for total in &ebpf {
        sums.entry(spot(total)).or_default().ebpf += total.packets;
    }
    for total in &net_dm {
        sums.entry(spot(total)).or_default().net_dm += total.packets;
    }
    let mut rows: Vec<DropTotal> = Vec::with_capacity(ebpf.len());
    for total in ebpf {
        let is_heard_by_both = sums.get(&spot(&total)).is_some_and(|sums| sums.net_dm > 0);
        rows.push(DropTotal { seen_by: if is_heard_by_both { &Origin::ALL } else { total.seen_by }, ..total });
    }
    for total in net_dm {
        let Some(sums) = sums.get_mut(&spot(&total)) else { continue };
        let packets = total.packets.min(sums.net_dm.saturating_sub(sums.ebpf));
        if packets == 0 {
            continue;
        }
        // Taken from the sum, so that all rows of a spot together have no more than it has left.
        sums.net_dm -= packets;
        let bytes = total.bytes.filter(|_| packets == total.packets);
        rows.push(DropTotal { packets, bytes, ..total });
    }
    rows
}

/// Whether each total has a reason: summary mode and old kernels tell none.
pub(in crate::pipeline) fn tells_reasons(totals: &[DropTotal]) -> bool {
    totals.iter().all(|total| is_told(&total.place.reason))
}

fn is_told(reason: &Reason) -> bool {
    reason.value != Some(REASON_ABSENT)
}
