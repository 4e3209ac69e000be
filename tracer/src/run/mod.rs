//! One run: its backend, the names of this kernel, the loop in which drops go to their consumer, and what ends it.

mod both;
mod fallback;
mod follow;
mod running;
mod start;
mod stop;

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use fallback::{CaptureBackend, NoneAvailable, Unavailable, UnavailableBackends};
pub use follow::{Consumer, TotalsOnly, follow};
pub use start::Options;
pub(crate) use start::explained;
pub use stop::Stop;

use crate::domain::dedupe::Moment;
use crate::domain::event::Timestamp;
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::identity::netns::Watcher;
use crate::kernel::own_netlink;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::unite;
use running::{Ebpf, NetDm, Parts, Running};

/// How often what moves slowly is looked after: backends of real time, the kernel program's totals, the kernel's own counters.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// A backend that runs, and what its numbers mean.
pub struct Session {
    backend: CaptureBackend,
    /// Those that were tried before.
    unavailable: UnavailableBackends,
    running: Running,
    /// When the kernel program's records and the drop monitor's alerts were all read last.
    read_at: [Moment; 2],
    /// The consumer failed, and gets no more drops.
    has_failed: bool,
    normaliser: Normaliser,
    /// Ends with the session.
    _namespaces: Option<Watcher>,
    host: Host,
    started_at: Timestamp,
    started: Instant,
    /// Set when the sources were stopped.
    listened: Option<Duration>,
    clock: Interval,
}

impl Session {
    /// This machine and its kernel.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Whether the consumer failed: drops that came later were counted and not given to it.
    pub const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// When the sources began to listen.
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// How long they have listened.
    pub fn duration(&self) -> Duration {
        self.listened.unwrap_or_else(|| self.started.elapsed())
    }

    /// The way that was taken: where others run the drop monitor, in their mode.
    pub fn backend(&self) -> CaptureBackend {
        match (self.backend, self.running.net_dm()) {
            (CaptureBackend::Both(mode, _), Some(net_dm)) => CaptureBackend::Both(mode, net_dm.source.mode()),
            (_, Some(net_dm)) => CaptureBackend::NetDm(net_dm.source.mode()),
            (backend, None) => backend,
        }
    }

    /// Better ways, and why they were refused.
    pub const fn unavailable(&self) -> &UnavailableBackends {
        &self.unavailable
    }

    /// The totals so far.
    pub fn stat_report(&mut self) -> Result<StatReport> {
        let (mut sources, mut drops, mut overflow) = (vec![], vec![], vec![]);
        self.normaliser.refresh();
        let Self { running, normaliser, .. } = self;
        let Parts { ebpf, net_dm, counters, .. } = running.parts();
        let has_ebpf = ebpf.is_some();
        if let Some(Ebpf { source, drained, .. }) = ebpf {
            let totals = source.totals()?;
            drops.extend(normaliser.totals(totals));
            overflow.extend(normaliser.overflow(totals));
            sources.push(source.report(*drained));
        }
        if let Some(NetDm { source, .. }) = net_dm {
            sources.push(source.report());
            let reported = normaliser.net_dm_totals(source.totals());
            if has_ebpf {
                // What the kernel program counted without its place would count twice.
                drops = unite(drops, if overflow.is_empty() { reported } else { vec![] });
            } else {
                drops = reported;
                overflow = normaliser.net_dm_overflow(source.totals());
            }
        }
        if let Some(counters) = counters {
            sources.push(counters.report());
            drops.extend(counters.totals());
        }
        Ok(StatReport {
            host: self.host.clone(),
            started_at: self.started_at,
            duration: self.duration(),
            is_final: self.listened.is_some(),
            sources,
            drops,
            overflow,
            own_netlink_drops: own_netlink::drops().ok(),
        })
    }

    /// The accounts of the sources.
    pub fn source_reports(&mut self) -> Result<Vec<SourceReport>> {
        let mut reports = vec![];
        let Self { running, normaliser, .. } = self;
        let Parts { ebpf, net_dm, counters, .. } = running.parts();
        if let Some(Ebpf { source, drained, .. }) = ebpf {
            source.totals()?;
            let held_back = normaliser.held_back(source.held_back()?, |location| source.trap(location));
            reports.push(SourceReport { held_back, ..source.report(*drained) });
        }
        reports.extend(net_dm.map(|net_dm| net_dm.source.report()));
        reports.extend(counters.map(|counters| counters.report()));
        Ok(reports)
    }

    /// Says once that places have no names, and why.
    pub fn warn_of_hidden_addresses(&self) {
        if !matches!(self.running, Running::Counters(_)) && self.normaliser.hides_addresses() {
            tracing::warn!(
                "the kernel hides its addresses from this process, so drop sites are shown as addresses; grant \
                 CAP_SYSLOG; where kernel.kptr_restrict is 2, set it to 1 as well"
            );
        }
    }
}

fn clock_ticks() -> Interval {
    let mut ticks = interval(CLOCK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// This machine and its kernel.
pub fn host() -> Host {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Host { name: text(uname.nodename()), kernel: text(uname.release()) }
}
