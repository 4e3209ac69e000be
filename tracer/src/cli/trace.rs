//! `droptrace trace`: single drops, one line each.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::interval;

use super::args::TraceArgs;
use super::output::Output;
use super::session::{Session, Stop};
use super::sinks;
use crate::kernel::netns;
use crate::sink::DropSink;
use crate::source::ebpf::{Drained, EventOptions, RingReader};

/// Records between two looks at what ends the run.
const BATCH: u64 = 4096;
/// How often steps of real time are looked for.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);

/// Shows drops until the end, then the account.
pub(super) async fn run(args: &TraceArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let mut sink = sinks::trace(args, output, netns::own().unwrap_or(0));
    let mut stop = Stop::new(args.common.duration)?;
    let events = EventOptions {
        snaplen: args.snaplen,
        rate: args.bound().map_or(0, NonZeroU32::get),
        ring_size: args.ring_size,
    };
    let (session, ring) = Session::start(&args.common, Some(events))?;
    stop.start_clock();
    eprintln!("droptrace: tracing drops ({}); Ctrl-C ends", session.mode());
    sink.start(session.host(), session.started_at())?;
    let ring = ring.context("a source of records has none")?;
    let mut trace = Trace { session, ring, sink, drained: Drained::default(), count: args.count.map(Into::into) };
    trace.until(&mut stop).await?;
    trace.finish()
}

struct Trace {
    session: Session,
    ring: RingReader,
    sink: Box<dyn DropSink>,
    drained: Drained,
    /// Drops to show at most.
    count: Option<u64>,
}

impl Trace {
    async fn until(&mut self, stop: &mut Stop) -> Result<()> {
        let mut more = false;
        let mut clock = interval(CLOCK_INTERVAL);
        while !self.has_enough() {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                _ = clock.tick() => {
                    self.session.names().0.refresh_clock();
                    continue;
                }
                () = tokio::task::yield_now(), if more => {}
                ready = self.ring.ready(), if !more => ready.context("cannot wait for records")?,
            }
            more = self.show_batch()? == BATCH;
            if !more {
                self.sink.flush()?;
            }
        }
        Ok(())
    }

    fn has_enough(&self) -> bool {
        self.count.is_some_and(|count| self.drained.delivered >= count)
    }

    /// Shows the records that are there, up to a batch; how many there were.
    fn show_batch(&mut self) -> io::Result<u64> {
        let limit = self.count.map_or(BATCH, |count| BATCH.min(count - self.drained.delivered));
        let sink = &mut self.sink;
        let (normaliser, source) = self.session.names();
        let (drained, result) = self.ring.drain(limit, |record| {
            let interface = |netns, ifindex| source.interface_name(netns, ifindex);
            normaliser.event(record, interface, |event| sink.event(event))
        });
        self.drained.delivered += drained.delivered;
        self.drained.undecodable += drained.undecodable;
        result.map(|()| drained.delivered + drained.undecodable)
    }

    /// Stops, shows what is still in the ring, and the account.
    fn finish(mut self) -> Result<()> {
        self.session.stop()?;
        while !self.has_enough() && self.show_batch()? > 0 {}
        self.sink.finish(&self.session.source_reports(self.drained)?)?;
        self.session.warn_of_hidden_addresses();
        Ok(())
    }
}
