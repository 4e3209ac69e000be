//! The kernel's drop monitor in a run.

use std::time::Instant;

use anyhow::Result;

use super::contract::{BATCH, BackendFacts, Counted, Ended, Wake, Way};
use super::options::Options;
use crate::backend::batch::Batch;
use crate::backend::net_dm::{self as monitor, AlertMode, Error, Found, NetDmSource, Owner, Report};
use crate::domain::dedupe::Moment;
use crate::domain::event::Origin;
use crate::domain::unavailable::Unavailable;
use crate::filter::Filter;
use crate::netlink;
use crate::netlink::absence::{self, Surroundings};
use crate::pipeline::normalise::{Normaliser, net_dm_event};
use crate::run::host;
use crate::run::outlet::Consumer;

/// What the backend is, and what it lacks.
pub(super) const fn facts(mode: AlertMode) -> BackendFacts {
    BackendFacts {
        source: "net_dm",
        mode: mode.name(),
        about: "The kernel's drop monitor, over generic netlink; a host has only one",
        loses: match mode {
            AlertMode::Packet => "namespaces, packets without a MAC header, and under load drops, which it counts",
            AlertMode::Summary => "reasons, interfaces, bytes, single drops, and some drops without a count",
        },
        cannot_see: "as ebpf, and frames that XDP programs fail to pass on",
        reports_single_drops: matches!(mode, AlertMode::Packet),
        sees_drops: true,
    }
}

/// Why the drop monitor is not available, if it is not, by what [`NetDmSource::probe`] has found.
pub(super) fn tried(found: &Result<Found, Error>) -> Result<(), Unavailable> {
    found.as_ref().map(drop).map_err(explained)
}

/// The running drop monitor.
pub(crate) struct NetDm {
    pub(super) source: NetDmSource,
    batch: Batch<Report>,
    /// Time at which the alerts were last read to their end.
    pub(super) read_at: Moment,
}

impl NetDm {
    pub(super) async fn start(mode: AlertMode, options: &Options) -> Result<Self, Unavailable> {
        if options.netns.is_some() {
            let cause = "--netns: the drop monitor does not report network namespaces";
            return Err(Unavailable::new(cause, "use --source ebpf, which does"));
        }
        if options.ifindex != 0 && mode == AlertMode::Summary {
            let cause = "--interface: the drop monitor does not report interfaces in summary mode";
            return Err(Unavailable::new(cause, "use --net-dm-mode packet, which does"));
        }
        if let Some(filter) = &options.filter {
            check_filter(filter, mode)?;
        }
        let source = NetDmSource::start(&monitor::Options {
            mode,
            // 0 would ask for whole packets.
            snaplen: options.events.as_ref().map_or(1, |events| events.snaplen.max(1)),
            keys: usize::try_from(options.map_entries).unwrap_or(usize::MAX),
            ifindex: options.ifindex,
            filter: options.filter.clone(),
            ..monitor::Options::default()
        })
        .await
        .map_err(|error| explained(&error))?;
        let needs_packets = options.needs_single_drops() || options.filter.is_some();
        if needs_packets && source.mode() == AlertMode::Summary {
            let (found, wanted) = (AlertMode::Summary.name(), AlertMode::Packet.name());
            return Err(explained(&Error::OthersMode { found, wanted }));
        }
        Ok(Self { source, batch: Batch::default(), read_at: Moment::default() })
    }

    /// Waits for the next event. The future may be dropped at any time.
    pub(super) async fn ready(&mut self) -> Result<Wake> {
        Ok(match self.source.ready().await? {
            monitor::Wake::Alerts => Wake::Drops,
            monitor::Wake::CheckDue => Wake::Check,
        })
    }

    /// Checks whether another process has changed the monitor.
    pub(super) async fn check(&mut self) -> Result<()> {
        self.source.check().await?;
        Ok(())
    }

    /// Passes about `limit` drops from the drop monitor's messages to the consumer: alert, names, join, consumer.
    pub(super) fn read(&mut self, now: Moment, limit: u64, way: &mut Way<'_, '_, impl Consumer>) -> Result<(), Error> {
        self.batch.clear();
        // Before an error, some may have been read.
        let read = self.source.read(&mut self.batch, usize::try_from(limit).unwrap_or(usize::MAX));
        for (report, bytes) in self.batch.iter() {
            let named = way.normaliser.net_dm_key(report.key, self.source.totals(), report.interface());
            let event = net_dm_event(report, bytes, &named);
            way.outlet.join(way.union.as_deref_mut(), now, Origin::NetDm, &event);
        }
        if !self.source.has_more() {
            self.read_at = now;
        }
        read
    }

    /// Stops the monitor, and passes on the remaining drops. Those of the last summary were dropped during the second
    /// before it: with summaries, the run ends there.
    pub(super) async fn stop(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Ended {
        let is_summary = self.source.mode() == AlertMode::Summary;
        let before = Instant::now();
        let stopped = self.stop_monitor(way).await;
        let at = if is_summary { Instant::now() } else { before };
        Ended { at, result: stopped.map_err(Into::into) }
    }

    /// Each step is taken also after another one has failed, so that the monitor is put right and all is counted.
    pub(super) async fn stop_monitor(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Result<(), Error> {
        let settled = self.read_until_settled(way).await;
        let is_ours = self.source.owner() == Owner::Ours;
        let stopped = self.source.stop().await;
        let read = self.read_rest(way, is_ours);
        let finished = self.source.finish().await;
        settled.and(stopped).and(read).and(finished)
    }

    /// Reads alerts until all that was dropped by now has been reported.
    async fn read_until_settled(&mut self, way: &mut Way<'_, '_, impl Consumer>) -> Result<(), Error> {
        let deadline = self.source.settled_at();
        while self.source.ready_before(deadline).await? {
            self.read(way.now(), BATCH, way)?;
        }
        Ok(())
    }

    /// Reads the remaining alerts. If other processes keep the monitor running, further alerts arrive without end: then
    /// one more batch is read.
    fn read_rest(&mut self, way: &mut Way<'_, '_, impl Consumer>, is_ours: bool) -> Result<(), Error> {
        loop {
            self.read(way.now(), BATCH, way)?;
            if !self.source.has_more() || !is_ours {
                return Ok(());
            }
        }
    }

    /// The totals so far.
    pub(super) fn counted(&self, normaliser: &mut Normaliser) -> Counted {
        let totals = self.source.totals();
        Counted {
            sources: vec![self.source.report()],
            drops: normaliser.net_dm_totals(totals),
            overflow: normaliser.net_dm_overflow(totals),
            ..Counted::default()
        }
    }
}

/// Fails if the drop monitor cannot answer what the filter asks.
pub(super) fn check_filter(filter: &Filter, mode: AlertMode) -> Result<(), Unavailable> {
    if mode == AlertMode::Summary {
        let cause = "filters: in summary mode the drop monitor reports neither packets nor drop reasons";
        return Err(Unavailable::new(cause, "use --net-dm-mode packet, which does"));
    }
    match monitor::unanswered(filter) {
        Some("iface NAME") => Err(Unavailable::new(
            "filters: the drop monitor reports interfaces by their index",
            "write `iface INDEX`, or use --interface NAME",
        )),
        Some(word) => Err(Unavailable::because(format!("filters: the drop monitor cannot answer `{word}`"))),
        None => Ok(()),
    }
}

/// The cause and the remedy; if the kernel has no drop monitor, why.
pub(crate) fn explained(error: &Error) -> Unavailable {
    match error {
        Error::Netlink(netlink::Error::NoFamily { name }) => {
            absence::explain(name, &Surroundings::look(name, &host().kernel))
        }
        error => Unavailable { remedy: error.remedy().map(Into::into), ..Unavailable::of(error) },
    }
}
