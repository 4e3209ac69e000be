//! The parts of a session that only two backends have: their join, and the evidence about their differences.

use anyhow::Result;

use super::Session;
use super::running::{Both, Ebpf};
use crate::backend::net_dm::AlertMode;
use crate::domain::compare::NetDmMode;
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::kernel::own_netlink;
use crate::pipeline::material::Material;
use crate::pipeline::union::Union;

impl Session {
    /// Leading bytes of each packet in the kernel program's records.
    pub fn captured(&self) -> usize {
        self.running.ebpf().map_or(0, |ebpf| ebpf.captured)
    }

    /// The ledger of the join of two sources; absent where one source runs, or the sources are not joined.
    pub fn union_ledger(&self) -> Option<DedupeLedger> {
        self.union().map(Union::ledger)
    }

    /// The join of both sources, if they are joined.
    pub fn union(&self) -> Option<&Union> {
        self.running.both()?.union.as_ref()
    }

    /// The counts of both sources, for a comparison; absent where only one source runs. Called after [`Session::stop`].
    pub fn comparable(&mut self) -> Result<Option<Material>> {
        let Self { running, normaliser, .. } = self;
        let Some(Both { ebpf, net_dm, opening, closing, .. }) = running.both_mut() else { return Ok(None) };
        let (Ebpf { source, drained, .. }, monitor) = (ebpf, &net_dm.source);
        normaliser.refresh();
        let opening = normaliser.totals(opening);
        let closing = closing.as_ref().map_or(vec![], |closing| normaliser.totals(closing));
        let ebpf = normaliser.totals(source.totals()?);
        Ok(Some(Material {
            opening,
            closing,
            ebpf,
            net_dm: normaliser.net_dm_totals(monitor.totals()),
            ebpf_ledger: source.ledger(*drained),
            net_dm_ledger: monitor.ledger(),
            mode: match monitor.mode() {
                AlertMode::Packet => NetDmMode::Packet,
                AlertMode::Summary => NetDmMode::Summary,
            },
            own_netlink_drops: own_netlink::drops().ok(),
        }))
    }

    /// Time up to which the session has passed on all reports of the backends.
    pub(super) fn settled(&self) -> Moment {
        let [records, alerts] = self.read_at;
        records.min(alerts)
    }

    /// The time since the start, by the union's clock.
    pub(super) fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Keeps the kernel program's totals before the drop monitor is stopped.
    pub(super) fn mark_closing(&mut self) {
        if let Some(both) = self.running.both_mut() {
            both.closing = both.ebpf.source.totals().ok().cloned();
        }
    }
}
