//! The capture backends in a run: the one file in which they are registered. Each has a file with all that is particular
//! to it; the rest of `run` uses [`CaptureBackend`] and [`Running`], which pass each call on.

mod both;
mod contract;
mod ebpf;
mod net_dm;
mod options;
mod totals;

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use rustix::thread::CapabilitySet;

pub(super) use contract::{BATCH, Counted, Ended, Wake, Way, moment};
pub(crate) use ebpf::{least, try_out};
pub(crate) use net_dm::explained;
pub use options::{EventNeed, Options, WantedOwners};

use super::outlet::Consumer;
use crate::backend::ebpf::{Mode, NamespaceQuestion};
use crate::backend::net_dm::{AlertMode, Error, Found};
use crate::backend::{Selection, TOTALS_BACKENDS, TotalsBackend};
use crate::domain::dedupe::Moment;
use crate::domain::event::Timestamp;
use crate::domain::report::SourceReport;
use crate::domain::unavailable::Unavailable;
use crate::kernel::privileges;
use crate::kernel::running::RunningKernel;
use crate::kernel::support::Facts;
use crate::pipeline::material::Material;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::Union;
use both::Both;
use contract::BackendFacts;
use ebpf::Ebpf;
use net_dm::NetDm;
use totals::Totals;

/// One capture backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureBackend {
    /// The BPF program on `kfree_skb`, attached in this mode.
    Ebpf(Mode),
    /// The kernel's drop monitor, in this mode.
    NetDm(AlertMode),
    /// A backend that reports only totals.
    Totals(&'static TotalsBackend),
    /// The kernel program and the drop monitor at once. It is not in the fallback order: it is used only on request.
    Both(Mode, AlertMode),
}

impl CaptureBackend {
    /// The backends of single drops, in the order in which they are tried before those of totals.
    const OF_DROPS: [Self; 4] = [
        Self::Ebpf(Mode::TpBtf),
        Self::Ebpf(Mode::RawTracepoint),
        Self::NetDm(AlertMode::Packet),
        Self::NetDm(AlertMode::Summary),
    ];

    /// The fallback order, best first.
    pub const FALLBACK_ORDER: [Self; Self::OF_DROPS.len() + TOTALS_BACKENDS.len()] = {
        let mut order = [Self::OF_DROPS[0]; Self::OF_DROPS.len() + TOTALS_BACKENDS.len()];
        let mut at = 0;
        while at < order.len() {
            order[at] = match at.checked_sub(Self::OF_DROPS.len()) {
                None => Self::OF_DROPS[at],
                Some(at) => Self::Totals(TOTALS_BACKENDS[at]),
            };
            at += 1;
        }
        order
    };

    const fn facts(self) -> BackendFacts {
        match self {
            Self::Ebpf(mode) => ebpf::facts(mode),
            Self::NetDm(mode) => net_dm::facts(mode),
            Self::Totals(backend) => totals::facts(backend),
            Self::Both(mode, alerts) => both::facts(mode, alerts),
        }
    }

    /// The source's name in JSON.
    pub const fn source(self) -> &'static str {
        self.facts().source
    }

    /// The mode's name in JSON.
    pub const fn mode(self) -> &'static str {
        self.facts().mode
    }

    /// The backend in one line, for `--help`.
    pub const fn about(self) -> &'static str {
        self.facts().about
    }

    /// The losses that the backend cannot see.
    pub const fn cannot_see(self) -> &'static str {
        self.facts().cannot_see
    }

    /// The facts that the backend lacks, compared with the best one.
    pub const fn loses(self) -> &'static str {
        self.facts().loses
    }

    /// Whether the backend reports single drops, and not only sums.
    pub const fn reports_single_drops(self) -> bool {
        self.facts().reports_single_drops
    }

    /// Whether the backend sees drops, with their drop sites; else it reads counters.
    pub const fn sees_drops(self) -> bool {
        self.facts().sees_drops
    }

    /// Starts the backend for a moment, or says why it is not available. The drop monitor is left as it is: `monitor` is what
    /// [`NetDmSource::probe`](crate::backend::net_dm::NetDmSource::probe) has found, for all of its modes.
    pub(crate) fn try_out(
        self,
        kernel: &RunningKernel,
        facts: &Facts,
        monitor: &Result<Found, Error>,
    ) -> Result<(), Unavailable> {
        match self {
            Self::Ebpf(mode) => try_out(&least(mode, facts), kernel, facts).map(drop),
            Self::NetDm(_) => net_dm::tried(monitor),
            Self::Totals(backend) => (backend.start)(Selection::default()).map(drop),
            Self::Both(mode, _) => {
                try_out(&least(mode, facts), kernel, facts)?;
                net_dm::tried(monitor)
            }
        }
    }
}

impl fmt::Display for CaptureBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.source(), self.mode())
    }
}

/// The running backend or backends.
pub(super) enum Running {
    /// The kernel program.
    Ebpf(Box<Ebpf>),
    /// The drop monitor.
    NetDm(Box<NetDm>),
    /// A backend that reports only totals.
    Totals(Totals),
    /// The kernel program and the drop monitor.
    Both(Box<Both>),
}

impl Running {
    /// Starts a backend, or says why it is not available for what the options ask.
    pub(super) async fn start(backend: CaptureBackend, options: &Options, facts: &Facts) -> Result<Self, Unavailable> {
        if options.needs_single_drops() && !backend.reports_single_drops() {
            let cause = "this backend reports counts only, and no single drops";
            return Err(Unavailable::new(cause, "use `droptrace stat`, which shows counts"));
        }
        Ok(match backend {
            CaptureBackend::Ebpf(mode) => Self::Ebpf(Box::new(Ebpf::start(mode, options, facts, true)?)),
            CaptureBackend::NetDm(mode) => Self::NetDm(Box::new(NetDm::start(mode, options).await?)),
            CaptureBackend::Totals(backend) => Self::Totals(Totals::start(backend, options)?),
            CaptureBackend::Both(mode, alerts) => {
                Self::Both(Box::new(Both::start(mode, alerts, options, facts).await?))
            }
        })
    }

    /// The backend; where another process runs the drop monitor, with that process's mode.
    pub(super) fn backend(&self) -> CaptureBackend {
        match self {
            Self::Ebpf(ebpf) => CaptureBackend::Ebpf(ebpf.source.mode()),
            Self::NetDm(net_dm) => CaptureBackend::NetDm(net_dm.source.mode()),
            Self::Totals(totals) => CaptureBackend::Totals(totals.backend),
            Self::Both(both) => CaptureBackend::Both(both.ebpf.source.mode(), both.net_dm.source.mode()),
        }
    }

    /// The capabilities that the backend needs until its end.
    pub(super) const fn capabilities(&self) -> CapabilitySet {
        match self {
            Self::Ebpf(_) => privileges::EBPF,
            Self::NetDm(_) => privileges::NET_DM,
            Self::Totals(_) => CapabilitySet::empty(),
            Self::Both(_) => privileges::EBPF.union(privileges::NET_DM),
        }
    }

    /// Waits for the next event. The future may be dropped at any time.
    pub(super) async fn ready(&mut self) -> Result<Wake> {
        match self {
            Self::Ebpf(ebpf) => ebpf.ready().await,
            Self::NetDm(net_dm) => net_dm.ready().await,
            Self::Totals(_) => pending().await,
            Self::Both(both) => both.ready().await,
        }
    }

    /// Passes a batch of drops to the consumer, at most about `limit` of each backend.
    pub(super) fn read(&mut self, now: Moment, limit: u64, way: &mut Way<'_, '_, impl Consumer>) -> Result<()> {
        match self {
            Self::Ebpf(ebpf) => ebpf.read(now, limit, way),
            Self::NetDm(net_dm) => net_dm.read(now, limit, way)?,
            Self::Totals(_) => {}
            Self::Both(both) => both.read(now, limit, way)?,
        }
        Ok(())
    }

    /// Passes a batch of drops to the consumer while the run waits for something else: of records, as many as the consumer
    /// wants. With two backends, drops wait on for the other one.
    pub(super) fn keep_up(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Result<()> {
        let (now, limit) = (way.now(), BATCH.min(way.outlet.consumer.wanted()));
        match self {
            Self::Ebpf(ebpf) if limit > 0 => ebpf.read(now, limit, way),
            Self::NetDm(net_dm) => net_dm.read(now, BATCH, way)?,
            Self::Both(both) => both.pass(now, [BATCH, limit], way)?,
            Self::Ebpf(_) | Self::Totals(_) => {}
        }
        Ok(())
    }

    /// Whether more records wait, so that the consumer need not write yet what it has.
    pub(super) fn has_more(&self) -> bool {
        self.ebpf().is_some_and(|ebpf| ebpf.has_more)
    }

    /// Time up to which all reports were passed on.
    pub(super) fn settled(&self) -> Moment {
        match self {
            Self::Ebpf(ebpf) => ebpf.read_at,
            Self::NetDm(net_dm) => net_dm.read_at,
            Self::Totals(_) => Moment::default(),
            Self::Both(both) => both.settled(),
        }
    }

    /// Passes the retransmissions that are there to the consumer.
    pub(super) fn read_segments(&mut self, way: &mut Way<'_, '_, impl Consumer>) {
        if let Some(ebpf) = self.ebpf_mut() {
            ebpf.read_segments(way);
        }
    }

    /// Checks whether another process has changed what the backend started.
    pub(super) async fn check(&mut self) -> Result<()> {
        match self {
            Self::NetDm(net_dm) => net_dm.check().await,
            Self::Both(both) => both.net_dm.check().await,
            Self::Ebpf(_) | Self::Totals(_) => Ok(()),
        }
    }

    /// Does what is due each second.
    pub(super) fn second(&mut self, normaliser: &mut Normaliser) -> Result<()> {
        match self {
            Self::Ebpf(ebpf) => ebpf.second(normaliser),
            Self::NetDm(_) => Ok(()),
            Self::Totals(totals) => totals.second(),
            Self::Both(both) => both.ebpf.second(normaliser),
        }
    }

    /// Stops the backends, and passes on the remaining drops. Their totals are final.
    pub(super) async fn stop(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Ended {
        match self {
            Self::Ebpf(ebpf) => ebpf.stop(way),
            Self::NetDm(net_dm) => net_dm.stop(way).await,
            Self::Totals(totals) => totals.stop(),
            Self::Both(both) => both.stop(way).await,
        }
    }

    /// The totals so far. `is_final`: no more drops are counted.
    pub(super) fn counted(&mut self, is_final: bool, normaliser: &mut Normaliser) -> Result<Counted> {
        match self {
            Self::Ebpf(ebpf) => ebpf.counted(is_final, normaliser),
            Self::NetDm(net_dm) => Ok(net_dm.counted(normaliser)),
            Self::Totals(totals) => Ok(totals.counted()),
            Self::Both(both) => both.counted(is_final, normaliser),
        }
    }

    /// The ledgers.
    pub(super) fn reports(&mut self, normaliser: &mut Normaliser) -> Result<Vec<SourceReport>> {
        match self {
            Self::Ebpf(ebpf) => Ok(vec![ebpf.report(normaliser)?]),
            Self::NetDm(net_dm) => Ok(vec![net_dm.source.report()]),
            Self::Totals(totals) => Ok(vec![totals.report()]),
            Self::Both(both) => both.reports(normaliser),
        }
    }

    /// The join of two backends, if they are joined.
    pub(super) const fn union(&self) -> Option<&Union> {
        match self {
            Self::Both(both) => both.union.as_ref(),
            _ => None,
        }
    }

    /// The counts of two backends, for a comparison. Called after [`Running::stop`].
    pub(super) fn material(&mut self, normaliser: &mut Normaliser) -> Result<Option<Material>> {
        match self {
            Self::Both(both) => both.material(normaliser).map(Some),
            _ => Ok(None),
        }
    }

    /// Time from which on drops are counted, if the backend knows.
    pub(super) fn counted_since(&self) -> Option<(Timestamp, Instant)> {
        self.ebpf().map(|ebpf| ebpf.source.attached_at())
    }

    /// Whether the backend reports whose packets were dropped.
    pub(super) fn reports_owners(&self) -> bool {
        self.ebpf().is_some()
    }

    /// The facts of flows that are counted: bits of [`tracer_common::Config::flows`].
    pub(super) fn flow_facts(&self) -> u32 {
        self.ebpf().map_or(0, |ebpf| ebpf.source.flow_facts())
    }

    /// Leading bytes of packets in records; 0 where there are no records.
    pub(super) fn captured(&self) -> usize {
        self.ebpf().map_or(0, |ebpf| ebpf.captured)
    }

    /// Identifies namespaces by their cookies, if the backend reports cookies.
    pub(super) fn namespace_question(&self) -> Option<Arc<NamespaceQuestion>> {
        let ebpf = self.ebpf().filter(|ebpf| ebpf.source.has_cookies());
        ebpf.map(|ebpf| ebpf.source.namespace_question())
    }

    fn ebpf(&self) -> Option<&Ebpf> {
        match self {
            Self::Ebpf(ebpf) => Some(ebpf),
            Self::Both(both) => Some(&both.ebpf),
            _ => None,
        }
    }

    fn ebpf_mut(&mut self) -> Option<&mut Ebpf> {
        match self {
            Self::Ebpf(ebpf) => Some(ebpf),
            Self::Both(both) => Some(&mut both.ebpf),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_three_backends_report_single_drops() {
        let reports = CaptureBackend::FALLBACK_ORDER.map(CaptureBackend::reports_single_drops);
        assert_eq!(reports[..4], [true, true, true, false]);
        assert!(reports[4..].iter().all(|reports| !reports));
    }
}
