//! One run: its backend, the names of this kernel, the loop that passes drops to their consumer, and the end of the
//! run.

mod backend;
mod beside;
mod fallback;
mod follow;
mod outlet;
mod retransmits;
mod start;
mod stop;
mod workload;

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use backend::{CaptureBackend, EventNeed, Options, WantedOwners};
pub(crate) use backend::{explained, least, try_out};
pub use fallback::{NoneAvailable, UnavailableBackend, UnavailableBackends};
pub use follow::follow;
pub use outlet::{Consumer, TotalsOnly};
pub use stop::Stop;
#[cfg(feature = "top")]
pub(crate) use stop::watched;
pub use workload::{Workload, become_workload, exit_code_of, raise_open_files};

use crate::domain::attribution::AttributionLedger;
use crate::domain::dedupe::{DedupeLedger, Moment};
use crate::domain::event::Timestamp;
use crate::domain::flow_ledger::FlowLedger;
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::identity::netns::Watcher;
use crate::kernel::own_netlink;
use crate::pipeline::material::Material;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::refused::explain;
use crate::pipeline::union::Union;
use backend::{Counted, Running, moment};
use beside::Beside;

/// Interval of slow tasks: real time for the backends, the kernel program's totals, the kernel's own counters.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// A running backend, and the names of its numbers.
pub struct Session {
    /// The backends that were tried before.
    unavailable: UnavailableBackends,
    running: Running,
    /// Whose packets were dropped is asked for.
    attribution: bool,
    /// Processes of sockets are asked for.
    names_processes: bool,
    /// The consumer failed, and gets no more drops.
    has_failed: bool,
    normaliser: Normaliser,
    /// The kernel's counters, if they are read beside a backend.
    beside: Option<Beside>,
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
        self.running.backend()
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
        self.running.flow_facts() != 0
    }

    /// The totals so far.
    pub fn stat_report(&mut self) -> Result<StatReport> {
        self.normaliser.refresh();
        // Before the drops, so that each drop that the counters count is among them.
        let readings = self.beside.as_ref().map(Beside::latest);
        let counted = self.running.counted(self.duration.is_some(), &mut self.normaliser)?;
        let Counted { sources, drops, overflow, retransmissions, mut refused } = counted;
        let outside = self.beside.as_ref().zip(readings.as_deref());
        let mut outside = outside.map(|(beside, readings)| beside.reconcile(readings, &sources, &drops, &overflow));
        if let (Some(refused), Some(outside)) = (&mut refused, &mut outside) {
            explain(refused, outside);
        }
        let attribution =
            (self.attribution && self.running.reports_owners()).then(|| AttributionLedger::of(&drops, &overflow));
        let flows = self.counts_flows().then(|| FlowLedger::of(&drops, &overflow));
        Ok(StatReport {
            host: self.host.clone(),
            started_at: self.started_at,
            duration: self.duration(),
            is_final: self.duration.is_some(),
            sources,
            drops,
            overflow,
            hidden: vec![],
            own_netlink_drops: own_netlink::drops().ok(),
            stacks: None,
            attribution,
            flows,
            retransmissions,
            refused,
            outside,
            past: None,
        })
    }

    /// The ledgers of the sources.
    pub fn source_reports(&mut self) -> Result<Vec<SourceReport>> {
        self.running.reports(&mut self.normaliser)
    }

    /// Leading bytes of each packet in the kernel program's records.
    pub fn captured(&self) -> usize {
        self.running.captured()
    }

    /// The ledger of the join of two sources; absent where one source runs, or the sources are not joined.
    pub fn union_ledger(&self) -> Option<DedupeLedger> {
        self.union().map(Union::ledger)
    }

    /// The join of both sources, if they are joined.
    pub const fn union(&self) -> Option<&Union> {
        self.running.union()
    }

    /// The counts of both sources, for a comparison; absent where only one source runs. Called after [`Session::stop`].
    pub fn comparable(&mut self) -> Result<Option<Material>> {
        self.running.material(&mut self.normaliser)
    }

    /// The time since the start, by the union's clock.
    fn now(&self) -> Moment {
        moment(self.started)
    }

    /// Warns, where owners are asked for, that this backend does not report them.
    pub fn warn_of_missing_owners(&self) {
        if self.attribution && !self.running.reports_owners() {
            tracing::warn!("{}: whose packets were dropped is unknown; the BPF program reports it", self.backend());
        }
    }

    /// Warns why some owners have no names.
    pub fn warn_of_unknown_owners(&self) {
        if !(self.attribution || self.names_processes) || !self.running.reports_owners() {
            return;
        }
        for limit in self.normaliser.limits_of_owners() {
            tracing::warn!("some owners may have no name: {limit}");
        }
    }

    /// Warns once that drop sites have no names, with the cause.
    pub fn warn_of_hidden_addresses(&self) {
        if self.backend().sees_drops() && self.normaliser.hides_addresses() {
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
