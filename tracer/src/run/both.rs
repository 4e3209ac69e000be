//! A session of two sources: what joins them, and what is known of where they differ.

use std::io;

use anyhow::Result;

use super::{EbpfEar, Session};
use crate::backend::ebpf::Totals;
use crate::backend::net_dm::AlertMode;
use crate::domain::compare::NetDmMode;
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::{DropEvent, Origin};
use crate::kernel::own_netlink;
use crate::pipeline::material::Material;
use crate::pipeline::union::Union;

/// What `origin` tells at `now` goes to the union, or straight to `show` where there is none.
pub(super) fn heard<'u>(
    union: &'u mut Option<Union>,
    now: Moment,
    origin: Origin,
    show: &'u mut impl FnMut(&DropEvent<'_>) -> io::Result<()>,
) -> impl FnMut(&DropEvent<'_>) -> io::Result<()> {
    move |event| match union {
        Some(union) => union.hear(now, origin, event, show),
        None => show(event),
    }
}

impl Session {
    /// Leading bytes that the kernel program's records have of each packet.
    pub fn captured(&self) -> usize {
        self.ebpf.as_ref().map_or(0, |ear| ear.captured)
    }

    /// The account of joining two sources; none where one listens, or none are joined.
    pub fn union_ledger(&self) -> Option<DedupeLedger> {
        self.union.as_ref().map(Union::ledger)
    }

    /// What joins both sources, if they are joined.
    pub const fn union(&self) -> Option<&Union> {
        self.union.as_ref()
    }

    /// What both sources counted, to be compared; none where not both listen. To be called after [`Session::stop`].
    pub fn comparable(&mut self) -> Result<Option<Material>> {
        let Self { ebpf, net_dm, normaliser, opening, closing, .. } = self;
        let (Some(EbpfEar { source, drained, .. }), Some(monitor)) = (ebpf, net_dm) else { return Ok(None) };
        normaliser.refresh();
        let mut named = |taken: &Option<Totals>| taken.as_ref().map_or(vec![], |taken| normaliser.totals(taken));
        let (opening, closing) = (named(opening), named(closing));
        let ebpf = normaliser.totals(source.totals()?);
        Ok(Some(Material {
            opening,
            closing,
            ebpf,
            net_dm: normaliser.told_totals(monitor.totals()),
            ebpf_ledger: source.ledger(*drained),
            net_dm_ledger: monitor.ledger(),
            mode: match monitor.mode() {
                AlertMode::Packet => NetDmMode::Packet,
                AlertMode::Summary => NetDmMode::Summary,
            },
            own_netlink_drops: own_netlink::drops().ok(),
        }))
    }

    /// Up to when all that the sources had to tell has been shown.
    pub fn settled(&self) -> Moment {
        let [records, alerts] = self.looked;
        records.min(alerts)
    }

    /// The time since the start, as the union has it.
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Shows what has waited long enough for the other source: by the time at which both were last read to their end.
    /// The first drop of a run waits for names to be looked up, which can take longer than any drop should wait.
    pub(super) fn settle(
        &mut self,
        now: Moment,
        are_read: [bool; 2],
        mut show: impl FnMut(&DropEvent<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for (looked, is_read) in self.looked.iter_mut().zip(are_read) {
            if is_read {
                *looked = now;
            }
        }
        let settled = self.settled();
        self.union.as_mut().map_or(Ok(()), |union| union.advance(settled, &mut show))
    }

    /// Notes what the kernel program has counted before the drop monitor is stopped.
    pub(super) fn mark_closing(&mut self) {
        if let (Some(ear), Some(_)) = (&mut self.ebpf, &self.net_dm) {
            self.closing = ear.source.totals().ok().cloned();
        }
    }
}
