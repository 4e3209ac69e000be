//! The loop of all runs: each batch of the backend's reports goes through names and the join to the consumer.

use std::future::pending;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::backend::{BATCH, Wake, Way};
use super::outlet::{Consumer, Outlet};
use super::{Session, Stop};

/// Runs until `stop` ends the run, or the consumer has all drops that it wants.
pub async fn follow(session: &mut Session, stop: &mut Stop, consumer: &mut impl Consumer) -> Result<()> {
    let mut interval = consumer.interval();
    let mut ticks = interval.map(every);
    while consumer.wanted() > 0 {
        tokio::select! {
            biased;
            () = stop.wait() => return Ok(()),
            () = consumer.other() => {
                if interval != consumer.interval() {
                    interval = consumer.interval();
                    ticks = interval.map(every);
                }
            }
            () = tick(&mut ticks) => consumer.tick(session)?,
            _ = session.clock.tick() => session.second()?,
            wake = session.running.ready() => session.answer(wake?, consumer).await?,
        }
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
    /// Does what is due each second.
    fn second(&mut self) -> Result<()> {
        self.normaliser.refresh();
        self.normaliser.search_processes();
        self.running.second(&mut self.normaliser)
    }

    /// Handles the event that the backend woke up for.
    async fn answer(&mut self, wake: Wake, consumer: &mut impl Consumer) -> Result<()> {
        match wake {
            Wake::Drops => self.read(consumer),
            Wake::Segments => self.read_segments(consumer),
            Wake::Check => self.running.check().await,
        }
    }

    /// Reads a batch of drops and passes it to the consumer.
    fn read(&mut self, consumer: &mut impl Consumer) -> Result<()> {
        let (now, limit) = (self.now(), BATCH.min(consumer.wanted()));
        consumer.reading(now, self.running.settled());
        let mut outlet = Outlet::new(consumer, self.has_failed);
        let Self { running, normaliser, started, .. } = self;
        let read =
            running.read(now, limit, &mut Way { normaliser, union: None, outlet: &mut outlet, started: *started });
        let shown = outlet.result;
        self.has_failed |= shown.is_err();
        read?;
        shown?;
        if !self.running.has_more() {
            consumer.flush().inspect_err(|_| self.has_failed = true)?;
        }
        Ok(())
    }

    /// Reads dropped segments and retransmissions, and passes the retransmissions to the consumer.
    fn read_segments(&mut self, consumer: &mut impl Consumer) -> Result<()> {
        let mut outlet = Outlet::new(consumer, self.has_failed);
        let Self { running, normaliser, started, .. } = self;
        running.read_segments(&mut Way { normaliser, union: None, outlet: &mut outlet, started: *started });
        let shown = outlet.result;
        self.has_failed |= shown.is_err();
        shown?;
        Ok(consumer.flush().inspect_err(|_| self.has_failed = true)?)
    }

    /// Stops the backend, and passes on the remaining drops. Its totals are final.
    pub async fn stop(&mut self, consumer: &mut impl Consumer) -> Result<()> {
        consumer.reading(self.now(), self.running.settled());
        let mut outlet = Outlet::new(consumer, self.has_failed);
        let read = self.read_counters(&mut outlet).await;
        let Self { running, normaliser, started, .. } = self;
        let mut way = Way { normaliser, union: None, outlet: &mut outlet, started: *started };
        let ended = running.stop(&mut way).await;
        self.duration = Some(ended.at.duration_since(self.started));
        let shown = outlet.result;
        self.has_failed |= shown.is_err();
        read.and(ended.result)?;
        Ok(shown?)
    }
}
