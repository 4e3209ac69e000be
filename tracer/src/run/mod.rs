//! One run: its backend, the names of this kernel, the loop that passes drops to their consumer, and the end of the
//! run.

mod beside;
mod both;
mod fallback;
mod follow;
mod outlet;
mod retransmits;
mod running;
mod start;
mod stop;

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use fallback::{CaptureBackend, NoneAvailable, UnavailableBackend, UnavailableBackends};
pub use follow::follow;
pub use outlet::{Consumer, TotalsOnly};
pub(crate) use start::explained;
pub use start::{EventNeed, Options, WantedOwners};
pub use stop::Stop;
#[cfg(feature = "top")]
pub(crate) use stop::watched;

use crate::domain::attribution::AttributionLedger;
use crate::domain::dedupe::Moment;
use crate::domain::event::Timestamp;
use crate::domain::flow_ledger::FlowLedger;
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::identity::netns::Watcher;
use crate::kernel::own_netlink;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::unite;
use beside::Beside;
use retransmits::Retransmits;
use running::{Ebpf, NetDm, Parts, Running};

/// Interval of slow tasks: real time for the backends, the kernel program's totals, the kernel's own counters.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// A running backend, and the names of its numbers.
pub struct Session {
    backend: CaptureBackend,
    /// The backends that were tried before.
    unavailable: UnavailableBackends,
    running: Running,
    /// Whose packets were dropped is asked for.
    attribution: bool,
    /// Processes of sockets are asked for.
    names_processes: bool,
    /// Times at which the kernel program's records and the drop monitor's alerts were last read to their end.
    read_at: [Moment; 2],
    /// The consumer failed, and gets no more drops.
    has_failed: bool,
    normaliser: Normaliser,
    /// The kernel's counters, if they are read beside a backend.
    beside: Option<Beside>,
    /// Retransmissions, if they are asked for.
    retransmits: Option<Retransmits>,
    /// The watcher ends with the session.
    _namespaces: Option<Watcher>,
    host: Host,
    started_at: Timestamp,
    started: Instant,
    /// Duration of the run; set when the sources were stopped.
    duration: Option<Duration>,
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

    /// Time at which the sources started.
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Duration of the run so far.
    pub fn duration(&self) -> Duration {
        self.duration.unwrap_or_else(|| self.started.elapsed())
    }

    /// The backend of the session; where another process runs the drop monitor, with that process's mode.
    pub fn backend(&self) -> CaptureBackend {
        match (self.backend, self.running.net_dm()) {
            (CaptureBackend::Both(mode, _), Some(net_dm)) => CaptureBackend::Both(mode, net_dm.source.mode()),
            (_, Some(net_dm)) => CaptureBackend::NetDm(net_dm.source.mode()),
            (backend, None) => backend,
        }
    }

    /// Whether this kernel has the core reason with this name.
    pub fn has_reason(&mut self, name: &str) -> bool {
        self.normaliser.has_reason(name)
    }

    /// The better backends that are not available, with their causes.
    pub const fn unavailable(&self) -> &UnavailableBackends {
        &self.unavailable
    }

    /// Whether drops are counted by flow.
    pub fn counts_flows(&self) -> bool {
        self.running.ebpf().is_some_and(|ebpf| ebpf.source.flow_facts() != 0)
    }

    /// The totals so far.
    pub fn stat_report(&mut self) -> Result<StatReport> {
        let (mut sources, mut drops, mut overflow) = (vec![], vec![], vec![]);
        self.normaliser.refresh();
        // Before the drops, so that each drop that the counters count is among them.
        let readings = self.beside.as_ref().map(Beside::latest);
        let Self { running, normaliser, retransmits, .. } = self;
        let Parts { ebpf, net_dm, totals: named, .. } = running.parts();
        let mut retransmissions = None;
        let has_ebpf = ebpf.is_some();
        if let Some(Ebpf { source, drained, .. }) = ebpf {
            let flows = source.flow_facts();
            let totals = source.totals()?;
            normaliser.learn_processes(totals, self.duration.is_some());
            drops.extend(if flows == 0 { normaliser.totals(totals) } else { normaliser.flows(totals, flows) });
            overflow.extend(normaliser.overflow(totals));
            sources.push(source.report(*drained));
            retransmissions = retransmits.as_ref().map(|found| found.report(source.segments(), &drops));
        }
        if let Some(NetDm { source, .. }) = net_dm {
            sources.push(source.report());
            let reported = normaliser.net_dm_totals(source.totals());
            if has_ebpf {
                // Drops that the kernel program counted without their key would count twice.
                drops = unite(drops, if overflow.is_empty() { reported } else { vec![] });
            } else {
                drops = reported;
                overflow = normaliser.net_dm_overflow(source.totals());
            }
        }
        if let Some(named) = named {
            sources.push(named.report());
            drops.extend(named.totals());
        }
        let outside = self.beside.as_ref().zip(readings.as_deref());
        let outside = outside.map(|(beside, readings)| beside.reconcile(readings, &sources, &drops, &overflow));
        let attribution = (has_ebpf && self.attribution).then(|| AttributionLedger::of(&drops, &overflow));
        let flows = self.counts_flows().then(|| FlowLedger::of(&drops, &overflow));
        Ok(StatReport {
            host: self.host.clone(),
            started_at: self.started_at,
            duration: self.duration(),
            is_final: self.duration.is_some(),
            sources,
            drops,
            overflow,
            own_netlink_drops: own_netlink::drops().ok(),
            stacks: None,
            attribution,
            flows,
            retransmissions,
            outside,
        })
    }

    /// The ledgers of the sources.
    pub fn source_reports(&mut self) -> Result<Vec<SourceReport>> {
        let mut reports = vec![];
        let Self { running, normaliser, .. } = self;
        let Parts { ebpf, net_dm, totals, .. } = running.parts();
        if let Some(Ebpf { source, drained, .. }) = ebpf {
            source.totals()?;
            let held_back = normaliser.held_back(source.held_back()?, |location| source.trap(location));
            reports.push(SourceReport { held_back, ..source.report(*drained) });
        }
        reports.extend(net_dm.map(|net_dm| net_dm.source.report()));
        reports.extend(totals.map(|totals| totals.report()));
        Ok(reports)
    }

    /// Warns, where owners are asked for, that this backend does not report them.
    pub fn warn_of_missing_owners(&self) {
        if self.attribution && self.running.ebpf().is_none() {
            tracing::warn!("{}: whose packets were dropped is unknown; the BPF program reports it", self.backend());
        }
    }

    /// Warns why some owners have no names.
    pub fn warn_of_unknown_owners(&self) {
        if !(self.attribution || self.names_processes) || self.running.ebpf().is_none() {
            return;
        }
        for limit in self.normaliser.limits_of_owners() {
            tracing::warn!("some owners may have no name: {limit}");
        }
    }

    /// Warns once that drop sites have no names, with the cause.
    pub fn warn_of_hidden_addresses(&self) {
        if !matches!(self.running, Running::Totals(_)) && self.normaliser.hides_addresses() {
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
