//! The loop of all runs: each batch of the backends' reports goes through names and the join to the consumer.

use std::future::pending;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::outlet::{Consumer, Outlet};
use super::retransmits::Retransmits;
use super::running::{Block, Ebpf, NetDm, Parts};
use super::{Session, Stop};
use crate::backend::TotalsSource;
use crate::backend::net_dm::{self, AlertMode, Owner};
use crate::domain::dedupe::Moment;
use crate::domain::event::Origin;
use crate::pipeline::normalise::{Normaliser, net_dm_event};

/// Largest number of drops between two checks for the end of the run.
pub(super) const BATCH: u64 = 1024;

/// The event that a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// Records of the kernel program may be there.
    Records,
    /// The drop monitor has an event.
    NetDm(net_dm::Wake),
    /// Dropped segments and retransmissions may be there.
    Segments,
    /// A second has passed.
    Clock,
}

/// Runs until `stop` ends the run, or the consumer has all drops that it wants.
pub async fn follow(session: &mut Session, stop: &mut Stop, consumer: &mut impl Consumer) -> Result<()> {
    let mut interval = consumer.interval();
    let mut ticks = interval.map(every);
    while consumer.wanted() > 0 {
        let wake = tokio::select! {
            biased;
            () = stop.wait() => return Ok(()),
            () = consumer.other() => {
                if interval != consumer.interval() {
                    interval = consumer.interval();
                    ticks = interval.map(every);
                }
                continue;
            }
            () = tick(&mut ticks) => {
                consumer.tick(session)?;
                continue;
            }
            wake = session.ready() => wake?,
        };
        session.answer(wake, consumer).await?;
    }
    Ok(())
}

fn every(interval: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => _ = ticks.tick().await,
        None => pending().await,
    }
}

impl Session {
    /// Waits for the next event. The future may be dropped at any time.
    async fn ready(&mut self) -> Result<Wake> {
        let Self { running, clock, retransmits, .. } = self;
        let Parts { ebpf, net_dm, .. } = running.parts();
        tokio::select! {
            biased;
            _ = clock.tick() => Ok(Wake::Clock),
            () = segments(retransmits.as_mut()) => Ok(Wake::Segments),
            wake = alerts(net_dm) => Ok(Wake::NetDm(wake?)),
            ready = records(ebpf) => ready.context("cannot wait for records").map(|()| Wake::Records),
        }
    }

    /// Handles the event that the session woke up for.
    async fn answer(&mut self, wake: Wake, consumer: &mut impl Consumer) -> Result<()> {
        match wake {
            // Where both backends report, each is read, whichever woke the session.
            Wake::Records | Wake::NetDm(net_dm::Wake::Alerts) => self.read(consumer)?,
            Wake::NetDm(net_dm::Wake::CheckDue) => {
                if let Some(NetDm { source, .. }) = self.running.parts().net_dm {
                    source.check().await?;
                }
            }
            Wake::Segments => self.read_segments(consumer)?,
            Wake::Clock => {
                self.normaliser.refresh();
                self.normaliser.search_processes();
                let Self { running, normaliser, .. } = self;
                let Parts { ebpf, totals: named, .. } = running.parts();
                if let Some(Ebpf { source, .. }) = ebpf {
                    // Frees the kernel program's room for keys, even where no consumer reads the totals before the end.
                    let totals = source.totals()?;
                    normaliser.learn_owners(totals);
                    normaliser.learn_processes(totals, false);
                }
                if let Some(named) = named {
                    named.read()?;
                }
            }
        }
        Ok(())
    }

    /// Reads a batch of each backend and passes it to the consumer.
    fn read(&mut self, consumer: &mut impl Consumer) -> Result<()> {
        consumer.reading(self.now(), self.settled());
        let (now, limit) = (self.now(), BATCH.min(consumer.wanted()));
        let mut outlet = Outlet::new(consumer, self.has_failed);
        let alerts = self.read_alerts(now, limit, &mut outlet);
        self.read_records(now, limit, &mut outlet);
        let more_records = self.running.ebpf().is_some_and(|ebpf| ebpf.has_more);
        let more_alerts = self.running.net_dm().is_some_and(|net_dm| net_dm.source.has_more());
        self.settle(now, [!more_records, !more_alerts], &mut outlet);
        let shown = outlet.result;
        self.has_failed |= shown.is_err();
        alerts?;
        shown?;
        if !more_records {
            consumer.flush().inspect_err(|_| self.has_failed = true)?;
        }
        Ok(())
    }

    /// Passes drops from the kernel program's ring buffer to the consumer: record, names, join, consumer.
    pub(super) fn read_records(&mut self, now: Moment, limit: u64, outlet: &mut Outlet<'_, impl Consumer>) {
        let Self { running, normaliser, .. } = self;
        let Parts { ebpf: Some(ebpf), mut union, .. } = running.parts() else { return };
        if ebpf.block.is_some() {
            return read_block(ebpf, normaliser, limit, outlet);
        }
        ebpf.read(limit);
        normaliser.want_processes(ebpf.batch.iter().map(|(report, _)| report));
        normaliser.search_processes();
        let mut stack = Vec::new();
        for (report, bytes) in ebpf.batch.iter() {
            let (addresses, bytes) = report.split(bytes);
            normaliser.stack(addresses, report.header.key.location, &mut stack);
            let trap = |location| ebpf.source.trap(location);
            let named = normaliser.named_key(&report.header.key, report.names(), trap);
            let process = normaliser.process(report);
            let event = normaliser.event(report, bytes, &named, process.as_ref(), &stack);
            outlet.join(union.as_deref_mut(), now, Origin::Ebpf, &event);
        }
    }

    /// Reads dropped segments and retransmissions, and passes the retransmissions to the consumer.
    fn read_segments(&mut self, consumer: &mut impl Consumer) -> Result<()> {
        let mut outlet = Outlet::new(consumer, self.has_failed);
        self.pass_segments(&mut outlet);
        let shown = outlet.result;
        self.has_failed |= shown.is_err();
        shown?;
        Ok(consumer.flush().inspect_err(|_| self.has_failed = true)?)
    }

    /// Passes the retransmissions that are there to the consumer: record, join, names, consumer.
    fn pass_segments(&mut self, outlet: &mut Outlet<'_, impl Consumer>) {
        let Self { retransmits: Some(retransmits), normaliser, .. } = self else { return };
        while let Some(event) = retransmits.next(normaliser) {
            outlet.give_retransmission(&event);
        }
    }

    /// Passes drops from the drop monitor's messages to the consumer: alert, names, join, consumer.
    pub(super) fn read_alerts(
        &mut self,
        now: Moment,
        limit: u64,
        outlet: &mut Outlet<'_, impl Consumer>,
    ) -> Result<(), net_dm::Error> {
        let Self { running, normaliser, .. } = self;
        let Parts { net_dm: Some(net_dm), mut union, .. } = running.parts() else { return Ok(()) };
        // Before an error, some may have been read.
        let read = net_dm.read(limit);
        for (report, bytes) in net_dm.batch.iter() {
            let named = normaliser.net_dm_key(report.key, net_dm.source.totals(), report.interface());
            let event = net_dm_event(report, bytes, &named);
            outlet.join(union.as_deref_mut(), now, Origin::NetDm, &event);
        }
        read
    }

    /// Passes on the drops that have waited long enough for the other backend, by the time at which both backends were
    /// last read to their end. The first drop of a run waits for the look-up of names, which can take longer than any
    /// drop should wait.
    fn settle(&mut self, now: Moment, are_read: [bool; 2], outlet: &mut Outlet<'_, impl Consumer>) {
        for (read_at, is_read) in self.read_at.iter_mut().zip(are_read) {
            if is_read {
                *read_at = now;
            }
        }
        let settled = self.settled();
        if let Some(union) = self.running.parts().union {
            union.advance(settled);
            outlet.settled(union);
        }
    }

    /// Stops the backends, and passes on the remaining drops. Their totals are final.
    ///
    /// Of two backends, the drop monitor runs for a moment longer than the kernel program, so that it reports all drops
    /// that the kernel program counted. In summary mode it stops first, because that moment is longer than a second and
    /// summaries have no times of drops.
    pub async fn stop(&mut self, consumer: &mut impl Consumer) -> Result<()> {
        consumer.reading(self.now(), self.settled());
        let monitor_first = self.running.net_dm().is_some_and(|it| it.source.mode() == AlertMode::Summary);
        let mut outlet = Outlet::new(consumer, self.has_failed);
        let read_alerts = self.read_counters(&mut outlet).await;
        self.mark_closing();
        let mut stopped = Ok(());
        if monitor_first {
            stopped = self.stop_monitor(&mut outlet).await;
        }
        let detached = self.running.parts().ebpf.map_or(Ok(()), |ebpf| ebpf.source.detach());
        let duration = self.started.elapsed();
        if !monitor_first {
            stopped = self.stop_monitor(&mut outlet).await;
        }
        let read = self.running.parts().totals.map_or(Ok(()), TotalsSource::read);
        self.duration = Some(duration);
        self.finish(&mut outlet);
        let shown = outlet.result;
        self.has_failed |= shown.is_err();
        detached?;
        read_alerts.and(stopped)?;
        read?;
        Ok(shown?)
    }

    /// Passes on the remaining records, as many as the consumer wants, and the drops that wait for the other backend.
    fn finish(&mut self, outlet: &mut Outlet<'_, impl Consumer>) {
        let now = self.now();
        loop {
            let limit = BATCH.min(outlet.consumer.wanted());
            if limit == 0 {
                break;
            }
            self.read_records(now, limit, outlet);
            if self.running.ebpf().is_none_or(|ebpf| !ebpf.has_more) {
                break;
            }
        }
        self.pass_segments(outlet);
        if let Some(union) = self.running.parts().union {
            union.finish();
            outlet.settled(union);
        }
    }

    /// Each step is taken also after another one has failed, so that the monitor is put right and all is counted.
    async fn stop_monitor(&mut self, outlet: &mut Outlet<'_, impl Consumer>) -> Result<(), net_dm::Error> {
        let settled = self.read_until_settled(outlet).await;
        let Some(net_dm) = self.running.parts().net_dm else { return Ok(()) };
        let is_ours = net_dm.source.owner() == Owner::Ours;
        let stopped = net_dm.source.stop().await;
        let read = self.read_rest(outlet, is_ours);
        let Some(net_dm) = self.running.parts().net_dm else { return Ok(()) };
        let finished = net_dm.source.finish().await;
        settled.and(stopped).and(read).and(finished)
    }

    /// Reads alerts until all that was dropped by now has been reported.
    async fn read_until_settled(&mut self, outlet: &mut Outlet<'_, impl Consumer>) -> Result<(), net_dm::Error> {
        let Some(net_dm) = self.running.net_dm() else { return Ok(()) };
        let deadline = net_dm.source.settled_at();
        while let Some(net_dm) = self.running.net_dm()
            && net_dm.source.ready_before(deadline).await?
        {
            self.read_alerts(self.now(), BATCH, outlet)?;
        }
        Ok(())
    }

    /// Reads the remaining alerts. If other processes keep the monitor running, further alerts arrive without end: then
    /// one more batch is read.
    fn read_rest(&mut self, outlet: &mut Outlet<'_, impl Consumer>, is_ours: bool) -> Result<(), net_dm::Error> {
        loop {
            self.read_alerts(self.now(), BATCH, outlet)?;
            let has_more = self.running.net_dm().is_some_and(|net_dm| net_dm.source.has_more());
            if !has_more || !is_ours {
                return Ok(());
            }
        }
    }
}

/// Passes a block of records to the consumer: copied, names, consumer.
fn read_block(ebpf: &mut Ebpf, normaliser: &mut Normaliser, limit: u64, outlet: &mut Outlet<'_, impl Consumer>) {
    ebpf.read_block(limit);
    let Ebpf { source, block: Some(block), has_more, .. } = ebpf else { return };
    let Block { records, names } = &mut **block;
    if records.count() > 0 {
        normaliser.block_names(records, names, |location| source.trap(location), !*has_more);
        outlet.give_block(records, names);
    }
}

/// Waits for records, if the kernel program sends any.
async fn records(ebpf: Option<&mut Ebpf>) -> io::Result<()> {
    match ebpf {
        Some(Ebpf { ring: Some(_), has_more: true, .. }) => {
            tokio::task::yield_now().await;
            Ok(())
        }
        Some(Ebpf { ring: Some(ring), .. }) => ring.ready().await,
        _ => pending().await,
    }
}

/// Waits until it is time to read dropped segments and retransmissions, if they are asked for.
async fn segments(retransmits: Option<&mut Retransmits>) {
    match retransmits {
        Some(retransmits) => retransmits.ready().await,
        None => pending().await,
    }
}

/// Waits for the drop monitor, if it runs.
async fn alerts(net_dm: Option<&mut NetDm>) -> Result<net_dm::Wake, net_dm::Error> {
    match net_dm {
        Some(NetDm { source, .. }) => source.ready().await,
        None => pending().await,
    }
}
