//! `droptrace stat`: totals by reason and place.

use anyhow::Result;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::args::{StatArgs, Updates};
use super::output::Output;
use super::session::{Session, Stop};
use super::sinks;
use crate::kernel::netns;

/// Counts until the end, showing the totals as asked for.
pub(super) async fn run(args: &StatArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let updates = args.updates(output.is_terminal());
    let mut sink = sinks::stat(args, output, netns::own().unwrap_or(0));
    let mut stop = Stop::new(args.common.duration)?;
    let (mut session, _) = Session::start(&args.common, None)?;
    stop.start_clock();
    eprintln!("droptrace: counting drops ({}); Ctrl-C ends", session.mode());
    match updates {
        Updates::AtEnd => stop.wait().await,
        Updates::Every(interval) => {
            let mut ticks = interval_at(Instant::now() + interval, interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    biased;
                    () = stop.wait() => break,
                    _ = ticks.tick() => sink.report(&session.stat_report()?)?,
                }
            }
        }
    }
    session.stop()?;
    sink.report(&session.stat_report()?)?;
    session.warn_of_hidden_addresses();
    Ok(())
}
