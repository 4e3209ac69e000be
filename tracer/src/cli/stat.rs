//! `droptrace stat`: totals by reason and place.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::args::{StatArgs, Updates};
use super::stop::Stop;
use super::{listen, sinks};
use crate::identity::netns;
use crate::outside::say;
use crate::render::output::Output;
use crate::run::Session;
use crate::sink::StatSink;

/// Alerts between two looks at what ends the run.
const BATCH: u64 = 4096;
/// Far beyond any run.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// Counts until the end, showing the totals as asked for.
pub(super) async fn run(args: &StatArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let interval = match args.updates(output.is_terminal()) {
        Updates::Every(interval) => interval,
        // The end shows the totals.
        Updates::AtEnd => NEVER,
    };
    let mut sink = sinks::stat(args, output.clone(), netns::own().unwrap_or(0));
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let mut session = Session::start(&listen::options(&args.common, None)?).await?;
    stop.start_clock();
    say("droptrace", format_args!("counting drops ({}); Ctrl-C ends", listen::title(session.backend())));
    let ended = count(&mut session, &mut stop, interval, &mut *sink).await;
    // What was counted is shown however the run ended.
    let stopped = session.stop(0, |_| Ok(())).await;
    sink.report(&session.stat_report()?)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    ended.and(stopped)
}

async fn count(session: &mut Session, stop: &mut Stop, interval: Duration, sink: &mut dyn StatSink) -> Result<()> {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let wake = tokio::select! {
            biased;
            () = stop.wait() => return Ok(()),
            _ = ticks.tick() => {
                sink.report(&session.stat_report()?)?;
                continue;
            }
            wake = session.ready() => wake?,
        };
        session.follow(wake, BATCH, |_| Ok(())).await?;
    }
}
