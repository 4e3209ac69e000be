//! Joins the totals of two sources.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tracer_common::REASON_ABSENT;

use super::reasons::net_dm_reason_name;
use crate::domain::event::{Kind, NamedKey, Origin, Reason};
use crate::domain::total::DropTotal;

/// Address of the drop site and name of the drop reason, as both sources report them; the name is absent where one
/// source reports no reasons.
pub(in crate::pipeline) type JoinKey = (u64, Option<Arc<str>>);

/// The key by which totals are joined. No drop of XDP joins a row of `NET_DM`, which has other drops without an address.
pub(in crate::pipeline) fn join_key(named: &NamedKey, by_reason: bool) -> JoinKey {
    let name = by_reason || named.kind == Kind::Xdp;
    (named.location.address, name.then(|| net_dm_reason_name(&named.reason).into()))
}

/// Packets that both sources counted with one key.
#[derive(Default)]
struct Sums {
    ebpf: u64,
    net_dm: u64,
}

/// Joins both sources into one table. The kernel program's rows are kept, because it reports more facts and counts all
/// drops that it sees. Packets that `NET_DM` counted beyond them, by drop site and reason, get rows of their own: they
/// are drops that the kernel program missed. Where such a row is a part of `NET_DM`'s row, its bytes are not known.
pub(crate) fn unite(ebpf: Vec<DropTotal>, net_dm: Vec<DropTotal>) -> Vec<DropTotal> {
    let by_reason = reports_reasons(&net_dm);
    let key = |total: &DropTotal| join_key(&total.key, by_reason);
    let mut sums: HashMap<JoinKey, Sums, RandomState> = HashMap::default();
    for total in &ebpf {
        sums.entry(key(total)).or_default().ebpf += total.packets;
    }
    for total in &net_dm {
        sums.entry(key(total)).or_default().net_dm += total.packets;
    }
    let mut rows: Vec<DropTotal> = Vec::with_capacity(ebpf.len());
    for total in ebpf {
        let is_seen_by_both = sums.get(&key(&total)).is_some_and(|sums| sums.net_dm > 0);
        rows.push(DropTotal { seen_by: if is_seen_by_both { &Origin::ALL } else { total.seen_by }, ..total });
    }
    for total in net_dm {
        let Some(sums) = sums.get_mut(&key(&total)) else { continue };
        let packets = total.packets.min(sums.net_dm.saturating_sub(sums.ebpf));
        if packets == 0 {
            continue;
        }
        // Subtracted from the sum, so that all rows of a key together have no more packets than the sum has left.
        sums.net_dm -= packets;
        let bytes = total.bytes.filter(|_| packets == total.packets);
        rows.push(DropTotal { packets, bytes, ..total });
    }
    rows
}

/// Whether each total has a drop reason. Summary mode and old kernels report none.
pub(in crate::pipeline) fn reports_reasons(totals: &[DropTotal]) -> bool {
    totals.iter().all(|total| has_reason(&total.key.reason))
}

fn has_reason(reason: &Reason) -> bool {
    reason.value != Some(REASON_ABSENT)
}
