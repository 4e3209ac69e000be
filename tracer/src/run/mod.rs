//! One run: its backend, the names of this kernel, and when it started and ended.

mod both;
mod fallback;
mod start;

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{Interval, MissedTickBehavior, interval};

pub use fallback::{CaptureBackend, NoneAvailable, Unavailable, UnavailableBackends};
pub use start::Options;
pub(crate) use start::explained;

use crate::backend::counters::Counters;
use crate::backend::ebpf::{self, Drained, EbpfSource, RingReader};
use crate::backend::net_dm::{self, AlertMode, NetDmSource};
use crate::domain::dedupe::Moment;
use crate::domain::event::{DropEvent, Origin, Timestamp};
use crate::domain::report::{Host, SourceReport, StatReport};
use crate::identity::netns::Watcher;
use crate::kernel::own_netlink;
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::{Union, unite};
use both::heard;

/// How often what moves slowly is looked after: backends of real time, the kernel program's totals, the kernel's own counters.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// Sources that listen, and what their numbers mean.
pub struct Session {
    backend: CaptureBackend,
    /// Those that were tried before.
    unavailable: UnavailableBackends,
    ebpf: Option<EbpfEar>,
    net_dm: Option<NetDmSource>,
    counters: Option<Counters>,
    /// Joins what both sources tell; none where one listens, or where each is to be heard by itself.
    union: Option<Union>,
    /// When the kernel program's records and the drop monitor's alerts were all read last.
    looked: [Moment; 2],
    /// What the kernel program had counted when the drop monitor was on.
    opening: Option<ebpf::Totals>,
    /// What it had counted when the drop monitor was about to be stopped.
    closing: Option<ebpf::Totals>,
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

/// The kernel program, and its records if they were asked for.
struct EbpfEar {
    source: Box<EbpfSource>,
    ring: Option<RingReader>,
    drained: Drained,
    /// Leading bytes of packets that records have; 0 where the kernel does not let them be read.
    captured: usize,
    /// The last batch was a full one.
    has_more: bool,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Records of the kernel program may be there.
    Records,
    /// The drop monitor's source has something to do.
    NetDm(net_dm::Wake),
    /// A second has passed.
    Clock,
}

impl Session {
    /// This machine and its kernel.
    pub const fn host(&self) -> &Host {
        &self.host
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
        match (self.backend, &self.net_dm) {
            (CaptureBackend::Both(mode, _), Some(source)) => CaptureBackend::Both(mode, source.mode()),
            (_, Some(source)) => CaptureBackend::NetDm(source.mode()),
            (backend, None) => backend,
        }
    }

    /// Better ways, and why they were refused.
    pub const fn unavailable(&self) -> &UnavailableBackends {
        &self.unavailable
    }

    /// Waits until there is something to do for [`Session::follow`]. May be given up at any time.
    pub async fn ready(&mut self) -> Result<Wake> {
        let Self { ebpf, net_dm, clock, .. } = self;
        let records = async {
            match ebpf {
                Some(EbpfEar { ring: Some(_), has_more: true, .. }) => {
                    tokio::task::yield_now().await;
                    Ok(())
                }
                Some(EbpfEar { ring: Some(ring), .. }) => ring.ready().await,
                _ => pending().await,
            }
        };
        let alerts = async {
            match net_dm {
                Some(source) => source.ready().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = clock.tick() => Ok(Wake::Clock),
            wake = alerts => Ok(Wake::NetDm(wake?)),
            ready = records => ready.context("cannot wait for records").map(|()| Wake::Records),
        }
    }

    /// Does what the session woke up for. Drops are shown to `show`, which ends the batch by an error: at most `limit`
    /// records of the kernel program, about as many of the drop monitor. Whether as much more may be there already.
    pub async fn follow(
        &mut self,
        wake: Wake,
        limit: u64,
        mut show: impl FnMut(&DropEvent<'_>) -> io::Result<()>,
    ) -> Result<bool> {
        let mut has_more = false;
        match wake {
            // Where both listen, each has its turn whoever woke.
            Wake::Records | Wake::NetDm(net_dm::Wake::Alerts) => {
                let now = self.now();
                let alerts = self.drain_alerts(now, limit, &mut show)?;
                has_more = self.drain_records(now, limit, &mut show)? > 0 && self.has_more_records();
                self.settle(now, [!self.has_more_records(), alerts < limit], &mut show)?;
            }
            Wake::NetDm(net_dm::Wake::CheckDue) => {
                if let Some(source) = &mut self.net_dm {
                    source.check().await?;
                }
            }
            Wake::Clock => {
                self.normaliser.refresh();
                if let Some(EbpfEar { source, .. }) = &mut self.ebpf {
                    // Frees the kernel program's room for keys, also where nobody looks at the totals before the end.
                    source.totals()?;
                }
                if let Some(counters) = &mut self.counters {
                    counters.read()?;
                }
            }
        }
        Ok(has_more)
    }

    fn has_more_records(&self) -> bool {
        self.ebpf.as_ref().is_some_and(|ear| ear.has_more)
    }

    /// Shows the alerts that are there, about `limit`; how many there were.
    fn drain_alerts(
        &mut self,
        now: Moment,
        limit: u64,
        mut show: impl FnMut(&DropEvent<'_>) -> io::Result<()>,
    ) -> Result<u64> {
        let Self { net_dm, normaliser, union, .. } = self;
        let Some(source) = net_dm else { return Ok(0) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut hear = heard(union, now, Origin::NetDm, &mut show);
        Ok(source.drain(limit, |heard| normaliser.told_event(heard, &mut hear))?? as u64)
    }

    /// Shows the records that are there, up to `limit`; how many there were.
    fn drain_records(
        &mut self,
        now: Moment,
        limit: u64,
        mut show: impl FnMut(&DropEvent<'_>) -> io::Result<()>,
    ) -> io::Result<u64> {
        let Self { ebpf, normaliser, union, .. } = self;
        let Some(EbpfEar { source, ring: Some(ring), drained, has_more, .. }) = ebpf else { return Ok(0) };
        let mut hear = heard(union, now, Origin::Ebpf, &mut show);
        let (batch, result) =
            ring.drain(limit, |record| normaliser.event(record, |location| source.trap(location), &mut hear));
        let taken = batch.delivered + batch.undecodable;
        *has_more = taken == limit;
        drained.delivered += batch.delivered;
        drained.undecodable += batch.undecodable;
        result.map(|()| taken)
    }

    /// Stops to listen, and shows what is still there, up to `limit` records: what is read from now on is final.
    ///
    /// Of two, the drop monitor goes on for a moment after the kernel program, so that all which the latter heard is
    /// told; in summary mode it goes first, for that moment is longer than a second and has no times of drops.
    pub async fn stop(&mut self, limit: u64, mut show: impl FnMut(&DropEvent<'_>) -> io::Result<()>) -> Result<()> {
        let monitor_first = self.net_dm.as_ref().is_some_and(|source| source.mode() == AlertMode::Summary);
        self.mark_closing();
        let mut stopped = Ok(());
        if monitor_first {
            stopped = self.stop_monitor(&mut show).await;
        }
        let detached = self.ebpf.as_mut().map_or(Ok(()), |ear| ear.source.detach());
        let listened = self.started.elapsed();
        if !monitor_first {
            stopped = self.stop_monitor(&mut show).await;
        }
        let read = self.counters.as_mut().map_or(Ok(()), Counters::read);
        self.listened = Some(listened);
        let drained = self.drain_records(self.now(), limit, &mut show);
        let flushed = self.union.as_mut().map_or(Ok(()), |union| union.flush(&mut show));
        detached?;
        stopped?;
        read?;
        Ok(drained.and(flushed)?)
    }

    async fn stop_monitor(&mut self, mut show: impl FnMut(&DropEvent<'_>) -> io::Result<()>) -> Result<()> {
        let now = self.now();
        let Self { net_dm, normaliser, union, .. } = self;
        let Some(source) = net_dm else { return Ok(()) };
        let mut hear = heard(union, now, Origin::NetDm, &mut show);
        Ok(source.stop(|heard| normaliser.told_event(heard, &mut hear)).await??)
    }

    /// The totals so far.
    pub fn stat_report(&mut self) -> Result<StatReport> {
        let (mut sources, mut drops, mut overflow) = (vec![], vec![], vec![]);
        self.normaliser.refresh();
        let Self { ebpf, net_dm, counters, normaliser, .. } = self;
        if let Some(EbpfEar { source, drained, .. }) = ebpf {
            let totals = source.totals()?;
            drops.extend(normaliser.totals(totals));
            overflow.extend(normaliser.overflow(totals));
            sources.push(source.report(*drained));
        }
        if let Some(source) = net_dm {
            sources.push(source.report());
            let told = normaliser.told_totals(source.totals());
            if ebpf.is_some() {
                // What the kernel program counted without its place would count twice.
                drops = unite(drops, if overflow.is_empty() { told } else { vec![] });
            } else {
                drops = told;
                overflow = normaliser.told_overflow(source.totals());
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
        if let Some(EbpfEar { source, drained, .. }) = &mut self.ebpf {
            source.totals()?;
            let held_back = self.normaliser.held_back(source.held_back()?, |location| source.trap(location));
            reports.push(SourceReport { held_back, ..source.report(*drained) });
        }
        reports.extend(self.net_dm.as_ref().map(NetDmSource::report));
        reports.extend(self.counters.as_ref().map(Counters::report));
        Ok(reports)
    }

    /// Says once that places have no names, and why.
    pub fn warn_of_hidden_addresses(&self) {
        if self.counters.is_none() && self.normaliser.hides_addresses() {
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
