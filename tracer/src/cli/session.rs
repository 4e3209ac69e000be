//! One run: the source, the names of this kernel, and when it started and ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{CommonArgs, Mode as ModeArg};
use super::target::{self, Target};
use crate::event::Timestamp;
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::ReasonNames;
use crate::kernel::support::{Facts, Lockdown};
use crate::kernel::{clock::Clock, own_netlink, privileges};
use crate::pipeline::normalise::Normaliser;
use crate::report::{Host, SourceReport, StatReport};
use crate::source::ebpf::{Drained, EbpfSource, EventOptions, Mode, Options, RingReader};

/// A source that listens, and what its numbers mean.
pub(super) struct Session {
    source: EbpfSource,
    normaliser: Normaliser,
    host: Host,
    started_at: Timestamp,
    started: Instant,
    /// Set when the source was detached.
    listened: Option<Duration>,
}

impl Session {
    /// Starts to listen, drops the rights that are needed no more, and says so on stderr.
    pub(super) fn start(args: &CommonArgs, events: Option<EventOptions>) -> Result<(Self, Option<RingReader>)> {
        let Target { netns, ifindex } = target::resolve(args)?;
        let facts = Facts::read();
        if let Some(obstacle) = facts.obstacles().into_iter().next() {
            return Err(obstacle.into());
        }
        let btf = KernelBtf::load()?;
        let options = Options {
            mode: match args.mode {
                ModeArg::Auto => None,
                ModeArg::TpBtf => Some(Mode::TpBtf),
                ModeArg::RawTracepoint => Some(Mode::RawTracepoint),
            },
            map_entries: args.map_entries,
            events,
            netns,
            ifindex,
            kernel_log: args.verbose >= 2,
            by_address: facts.lockdown != Lockdown::Confidentiality,
        };
        if !options.by_address && options.events.as_ref().is_some_and(|events| events.snaplen > 0) {
            tracing::warn!(
                "the kernel is locked down (confidentiality): packets are shown without their addresses and ports"
            );
        }
        let (source, ring) = EbpfSource::start(&options, &btf).map_err(|error| error.explained(&facts))?;
        let (started_at, started) = (Clock::now(), Instant::now());
        if let Err(error) = privileges::drop_unneeded(privileges::EBPF) {
            tracing::warn!("cannot drop rights that are needed no more: {error}");
        }
        let session = Self {
            source,
            normaliser: Normaliser::new(ReasonNames::load(&btf)),
            host: host(),
            started_at,
            started,
            listened: None,
        };
        Ok((session, ring))
    }

    pub(super) const fn host(&self) -> &Host {
        &self.host
    }

    pub(super) const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    pub(super) fn mode(&self) -> &'static str {
        self.source.mode().name()
    }

    /// The names for records, and what knows the interfaces that a record does not name.
    pub(super) fn names(&mut self) -> (&mut Normaliser, &EbpfSource) {
        (&mut self.normaliser, &self.source)
    }

    /// Stops to listen: what is read from now on is final.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.source.detach()?;
        self.listened = Some(self.started.elapsed());
        Ok(())
    }

    /// The totals so far.
    pub(super) fn stat_report(&mut self) -> Result<StatReport> {
        let totals = self.source.totals()?;
        self.normaliser.refresh_clock();
        let source = &self.source;
        Ok(StatReport {
            host: self.host.clone(),
            started_at: self.started_at,
            duration: self.listened.unwrap_or_else(|| self.started.elapsed()),
            is_final: self.listened.is_some(),
            sources: vec![self.source.report(&totals, Drained::default())],
            drops: self.normaliser.totals(&totals, |netns, ifindex| source.interface_name(netns, ifindex)),
            overflow: self.normaliser.overflow(&totals),
            own_netlink_drops: own_netlink::drops().ok(),
        })
    }

    /// The accounts of the sources, given what was read of the records.
    pub(super) fn source_reports(&self, drained: Drained) -> Result<Vec<SourceReport>> {
        Ok(vec![self.source.report(&self.source.totals()?, drained)])
    }

    /// As [`warn_of_hidden_addresses`].
    pub(super) fn warn_of_hidden_addresses(&self) {
        warn_of_hidden_addresses(&self.normaliser);
    }
}

/// Says once that places have no names, and why.
pub(super) fn warn_of_hidden_addresses(names: &Normaliser) {
    if names.hides_addresses() {
        tracing::warn!(
            "the kernel hides its addresses from this process, so places are shown without the names of functions; \
             grant CAP_SYSLOG, or set kernel.kptr_restrict to 0 or 1"
        );
    }
}

/// This machine and its kernel.
pub(super) fn host() -> Host {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Host { name: text(uname.nodename()), kernel: text(uname.release()) }
}

/// What ends a run: Ctrl-C, a request to terminate, or the time that it was given.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<tokio::time::Instant>,
    duration: Option<Duration>,
}

impl Stop {
    /// Catches the signals from now on; the time runs from [`Stop::start_clock`] on.
    pub(super) fn new(duration: Option<Duration>) -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            deadline: None,
            duration,
        })
    }

    pub(super) fn start_clock(&mut self) {
        // A time beyond what the clock can tell is no end at all.
        self.deadline = self.duration.and_then(|duration| tokio::time::Instant::now().checked_add(duration));
    }

    /// Waits for the end.
    pub(super) async fn wait(&mut self) {
        let deadline = self.deadline;
        let elapsed = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = elapsed => {}
        }
    }
}
