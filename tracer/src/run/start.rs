//! Starts a session with the first available backend, and warns of the better ones that are not available.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::backend::{CaptureBackend, Options, Running};
use super::beside::Beside;
use super::fallback::{NoneAvailable, UnavailableBackend, UnavailableBackends};
use super::{Session, clock_ticks, host};
use crate::backend::counters::beside::{Pace, Which};
use crate::backend::ebpf::NamespaceQuestion;
use crate::identity::netns::{Names, Watcher};
use crate::identity::owners::Owners;
use crate::kernel::clock::Clock;
use crate::kernel::privileges;
use crate::kernel::support::Facts;
use crate::pipeline::normalise::Normaliser;

impl Session {
    /// Starts the first available backend, drops the capabilities that are no longer needed, and warns of the backends
    /// above it with their causes. The caller must be within a tokio runtime.
    pub async fn start(options: &Options) -> Result<Self> {
        let facts = Facts::read();
        let mut unavailable = UnavailableBackends::default();
        for backend in options.backends.iter().copied() {
            match Running::start(backend, options, &facts).await {
                Ok(running) => {
                    let mut session = Self::of(running, options);
                    if let Some(beside) = &session.beside {
                        beside.first_reading().await;
                    }
                    warn_of(&unavailable, backend);
                    session.unavailable = unavailable;
                    return Ok(session);
                }
                Err(why) => unavailable.0.push(UnavailableBackend { backend, why }),
            }
        }
        Err(NoneAvailable(unavailable).into())
    }

    fn of(running: Running, options: &Options) -> Self {
        let (reports_owners, names_processes) = (running.reports_owners(), options.owners.processes.is_some());
        let residents = options.owners.residents && reports_owners;
        let owners = (options.owners.cgroups || names_processes || residents).then(Owners::new);
        let owners = owners.map(|owners| owners.naming(residents, options.owners.processes));
        let (started_at, started) = running.counted_since().unwrap_or_else(|| (Clock::now(), Instant::now()));
        let sees_drops = running.backend().sees_drops();
        let beside = options.counters.filter(|_| sees_drops).and_then(|pace| beside(options, pace));
        let of_owners = privileges::needed([
            (reports_owners && owners.is_some(), privileges::OWNERS),
            (reports_owners && (residents || names_processes), privileges::PROCESSES),
        ]);
        if let Err(error) = privileges::drop_unneeded(running.capabilities() | of_owners) {
            tracing::warn!("cannot give up capabilities that are no longer needed: {error}");
        }
        let reasons = options.kernel.reasons();
        let names = Arc::new(Names::new());
        let question = running.namespace_question();
        let namespaces = question.as_ref().and_then(|question| watch(&names, Arc::clone(question)));
        Self {
            unavailable: UnavailableBackends::default(),
            running,
            attribution: options.owners.cgroups,
            names_processes,
            has_failed: false,
            normaliser: Normaliser::new(reasons, names, question, owners),
            beside,
            _namespaces: namespaces,
            host: host(),
            started_at,
            started,
            duration: None,
            clock: clock_ticks(),
        }
    }
}

fn beside(options: &Options, pace: Pace) -> Option<Beside> {
    let only = options.netns.as_ref().map(|netns| netns.inum);
    let which = if options.all_counters { Which::All } else { Which::Compared };
    Beside::start(which, only, pace, options.ifindex != 0 || options.filter.is_some())
}

/// Learns the names of namespaces while they exist. Called when capabilities are given up: the thread has those of its
/// maker.
fn watch(names: &Arc<Names>, question: Arc<NamespaceQuestion>) -> Option<Watcher> {
    let watcher = Watcher::start(Arc::clone(names), question);
    watcher.inspect_err(|error| tracing::warn!("network namespaces are shown without names: {error}")).ok()
}

fn warn_of(unavailable: &UnavailableBackends, taken: CaptureBackend) {
    if !unavailable.0.is_empty() {
        tracing::warn!("{unavailable}");
        tracing::warn!("droptrace uses {taken} instead, which loses {}", taken.loses());
    }
}
