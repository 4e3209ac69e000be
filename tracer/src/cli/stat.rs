//! `droptrace stat`: totals by aggregation key.

use std::time::Duration;

use anyhow::Result;
use tracer_common::FLOW_PROCESS;

use super::args::{Format, StatArgs, Updates};
use super::{listen, sinks};
use crate::dimension::Dimensions;
use crate::identity::netns;
use crate::outside::say;
use crate::pipeline::group::group_by;
use crate::render::output::Output;
use crate::run::{Consumer, Options, Session, Stop, WantedOwners, follow};
use crate::sink::StatSink;

/// Counts until the end, and shows the totals at each interval.
pub(super) async fn run(args: &StatArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let interval = match args.updates(output.is_terminal()) {
        Updates::Every(interval) => Some(interval),
        Updates::AtEnd => None,
    };
    let sink = sinks::stat(args, output.clone(), netns::own().unwrap_or(0));
    let mut table = Table { sink, interval, by: args.by.clone() };
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let cgroups = args.by.as_ref().is_some_and(Dimensions::has_attribution);
    let flows = args.by.as_ref().map_or(0, Dimensions::flow_facts);
    let residents = cgroups || (args.by.is_none() && args.common.format == Format::Text);
    let owners = WantedOwners { cgroups, processes: flows & FLOW_PROCESS != 0, residents };
    let options = Options { owners, flows, ..listen::options(&args.common, None)? };
    let mut session = Session::start(&options).await?;
    if flows != 0 && !session.counts_flows() {
        tracing::warn!(
            "--by: only the BPF program reports flows; addresses, ports, marks, processes and users are unknown here"
        );
    }
    stop.start_clock();
    say("droptrace", format_args!("counting drops ({}); Ctrl-C ends", listen::title(session.backend())));
    let ended = follow(&mut session, &mut stop, &mut table).await;
    // The totals are shown however the run ended.
    let stopped = session.stop(&mut table).await;
    table.tick(&mut session)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    session.warn_of_missing_owners();
    session.warn_of_unknown_owners();
    ended.and(stopped)
}

/// The totals, at an interval and at the end.
struct Table {
    sink: Box<dyn StatSink>,
    interval: Option<Duration>,
    by: Option<Dimensions>,
}

impl Consumer for Table {
    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn tick(&mut self, session: &mut Session) -> Result<()> {
        let mut report = session.stat_report()?;
        if let Some(by) = &self.by {
            report.drops = group_by(&report.drops, by);
        }
        Ok(self.sink.report(&report)?)
    }
}
