//! `droptrace trace`: single drops, one line each.

use std::io;
use std::num::NonZeroU32;

use anyhow::Result;

use super::args::TraceArgs;
use super::stop::Stop;
use super::{listen, sinks};
use crate::backend::ebpf::EventOptions;
use crate::domain::event::DropEvent;
use crate::identity::netns;
use crate::outside::say;
use crate::render::output::Output;
use crate::run::Session;
use crate::sink::DropSink;

/// Drops between two looks at what ends the run.
const BATCH: u64 = 4096;

/// Shows drops until the end, then the account.
pub(super) async fn run(args: &TraceArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let events = EventOptions {
        snaplen: args.snaplen,
        rate: args.bound().map_or(0, NonZeroU32::get),
        ring_size: args.ring_size,
    };
    let mut options = listen::options(&args.common, Some(events))?;
    if args.raw {
        options.join = None;
    }
    let mut session = Session::start(&options).await?;
    stop.start_clock();
    say("droptrace", format_args!("tracing drops ({}); Ctrl-C ends", listen::title(session.backend())));
    let sink = sinks::trace(args, output.clone(), netns::own().unwrap_or(0), session.captured());
    let mut shown = Shown { sink, left: args.count.map_or(u64::MAX, Into::into) };
    shown.sink.start(session.host(), session.started_at())?;
    let ended = follow(&mut session, &mut stop, &mut shown).await;
    shown.sink.reading(session.now(), session.settled());
    let stopped = session.stop(shown.left, |event| shown.show(event)).await;
    shown.sink.finish(&session.source_reports()?, session.union_ledger().as_ref())?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    ended.and(stopped)
}

async fn follow(session: &mut Session, stop: &mut Stop, shown: &mut Shown) -> Result<()> {
    while shown.left > 0 {
        let wake = tokio::select! {
            biased;
            () = stop.wait() => break,
            wake = session.ready() => wake?,
        };
        shown.sink.reading(session.now(), session.settled());
        let has_more = session.follow(wake, BATCH.min(shown.left), |event| shown.show(event)).await?;
        if !has_more {
            shown.sink.flush()?;
        }
    }
    Ok(())
}

/// Where drops are shown, and how many more.
struct Shown {
    sink: Box<dyn DropSink>,
    left: u64,
}

impl Shown {
    /// Shows a drop unless enough were shown; the ledger has it all the same.
    fn show(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        self.sink.event(event)
    }
}
