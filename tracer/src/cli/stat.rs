//! `droptrace stat`: totals by aggregation key.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tracer_common::FLOW_PROCESS;

use super::args::{StatArgs, Updates};
use super::{listen, sinks};
use crate::backend::ebpf::EventOptions;
use crate::dimension::Dimensions;
use crate::domain::event::DropEvent;
use crate::domain::flow_ledger::FlowLedger;
use crate::identity::netns;
use crate::identity::owners::Search;
use crate::kernel::running::RunningKernel;
use crate::outside::say;
use crate::pipeline::group::group_by;
use crate::pipeline::stacks::Stacks;
use crate::render::output::Output;
use crate::run::{CaptureBackend, Consumer, Options, Session, Stop, WantedOwners, follow};
use crate::sink::{StatFormat, StatSink};

/// The records that `--stack` needs: call stacks of a sample, without bytes of packets.
const SAMPLED_STACKS: EventOptions =
    EventOptions { snaplen: 0, rate: 0, ring_size: 4 << 20, stacks: true, one_in: 1_024 };

/// Counts until the end, and shows the totals at each interval.
pub(super) async fn run(args: &StatArgs, kernel: &Arc<RunningKernel>) -> Result<()> {
    let output = Output::open(args.common.destination.file.output.as_deref())?;
    let interval = match args.updates(output.is_terminal()) {
        Updates::Every(interval) => Some(interval),
        Updates::AtEnd => None,
    };
    let sink = sinks::stat(args, output.clone(), netns::own().unwrap_or(0));
    let stacks = args.stack.then(Stacks::default);
    let mut table = Table { sink, interval, by: args.by.clone(), stacks };
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let cgroups = args.by.as_ref().is_some_and(Dimensions::has_attribution);
    let flows = args.by.as_ref().map_or(0, Dimensions::flow_facts);
    let residents = cgroups || (args.by.is_none() && args.format == StatFormat::Text);
    let owners = WantedOwners { cgroups, processes: (flows & FLOW_PROCESS != 0).then_some(Search::Sparing), residents };
    let events = args.stack.then_some(SAMPLED_STACKS);
    let retransmits = args.retransmits;
    let mut options = Options { owners, flows, retransmits, ..listen::options(&args.common, events, kernel)? };
    if args.stack || retransmits {
        options.backends.retain(|backend| matches!(backend, CaptureBackend::Ebpf(_)));
    }
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
    /// The stacks of sampled drops; absent where they are not asked for.
    stacks: Option<Stacks>,
}

impl Consumer for Table {
    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        if let Some(stacks) = &mut self.stacks {
            stacks.add(event);
        }
        Ok(())
    }

    fn tick(&mut self, session: &mut Session) -> Result<()> {
        let mut report = session.stat_report()?;
        report.stacks = self.stacks.as_ref().map(|stacks| stacks.report(&report.drops));
        if let Some(by) = &self.by {
            report.drops = group_by(&report.drops, by);
            // A row of several keys may have more drops of other flows.
            report.flows = report.flows.map(|_| FlowLedger::of(&report.drops, &report.overflow));
        }
        Ok(self.sink.report(&report)?)
    }
}
