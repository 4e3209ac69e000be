//! `droptrace trace`: shows each drop on one line.

use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::Result;

use super::args::TraceArgs;
use super::hide::Hide;
use super::record_filter::RecordFilter;
use super::{listen, sinks};
use crate::backend::dtr::Records;
use crate::backend::ebpf::EventOptions;
use crate::domain::dedupe::Moment;
use crate::domain::event::DropEvent;
use crate::domain::report::{HiddenDrops, SourceReport, StatReport};
use crate::domain::retransmit::RetransmitEvent;
use crate::domain::total::DropTotal;
use crate::explained::{Above, Explained};
use crate::filter::Filter;
use crate::identity::netns;
use crate::identity::owners::Search;
use crate::kernel::running::RunningKernel;
use crate::outside::say;
use crate::pipeline::normalise::BlockNames;
use crate::pipeline::tally::Tally;
use crate::render::number::Grouped;
use crate::render::output::Output;
use crate::run::{CaptureBackend, Consumer, Options, Session, Stop, WantedOwners, follow};
use crate::sink::{DropSink, RunEnd, ledger_lines};

/// Shows drops until the end, then the ledger.
pub(super) async fn run(args: &TraceArgs, kernel: &Arc<RunningKernel>) -> Result<()> {
    let output = Output::open(args.output())?;
    sinks::refuse_terminal(args.format(), &output)?;
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let events = EventOptions {
        snaplen: args.snaplen,
        rate: args.bound().map_or(0, NonZeroU32::get),
        ring_size: args.ring_size.unwrap_or(TraceArgs::DEFAULT_RING_SIZE),
        stacks: args.stack,
        one_in: 1,
    };
    let has_owners = !args.no_owners;
    let split = args.common.filter.as_ref().map(Filter::split).transpose()?;
    let of_processes = split.and_then(|split| split.processes);
    let filter = of_processes.map(|filter| RecordFilter::new(&filter, 0)).transpose()?;
    let processes = filter.as_ref().map(|_| Search::AtOnce).or_else(|| has_owners.then_some(Search::Sparing));
    let owners = WantedOwners { cgroups: has_owners, processes, residents: has_owners };
    let mut options = Options { owners, ..listen::options(&args.common, Some(events), kernel)? };
    if args.retransmits {
        options.retransmits = true;
        options.backends.retain(|backend| matches!(backend, CaptureBackend::Ebpf(_)));
    }
    if args.records() {
        options.blocks = args.is_dtr();
        options.join = None;
        options.counters = None;
    }
    let mut session = Session::start(&options).await?;
    stop.start_clock();
    if matches!(session.backend(), CaptureBackend::NetDm(_)) {
        if args.rate.is_some() {
            tracing::warn!("--rate has no effect here: the drop monitor reports every drop");
        }
        if args.stack {
            tracing::warn!("--stack has no effect here: the drop monitor does not report call stacks");
        }
        if args.ring_size.is_some() {
            tracing::warn!("--ring-size has no effect here: the drop monitor reports over a netlink socket");
        }
    }
    let doing = match (args.raw, args.is_dtr()) {
        (true, _) => "recording drops as lines of JSON",
        (_, true) => "recording drops",
        _ if args.format().is_binary() => "capturing drops",
        _ => "tracing drops",
    };
    say("droptrace", format_args!("{doing} ({}); Ctrl-C ends", listen::title(session.backend())));
    let sink = sinks::trace(args, output.clone(), netns::own().unwrap_or(0), session.captured());
    let explained = args.explain.then(Explained::new).transpose()?;
    let hide = Hide::of(&args.hide, netns::own().unwrap_or(0))?;
    let mut shown = Shown::new(sink, args.count.map_or(u64::MAX, Into::into)).filtered(filter).explaining(explained);
    shown.hide = hide;
    shown.sink.start(session.host(), session.started_at())?;
    let ended = follow(&mut session, &mut stop, &mut shown).await;
    let stopped = session.stop(&mut shown).await;
    if !session.has_failed() {
        // Without the flush, drops would be missing before the ledger.
        let report = session.stat_report()?;
        let (mut sources, union) = (session.source_reports()?, session.union_ledger());
        // The owners are those of all drops that the kernel program counted.
        let attribution = report.attribution.as_ref().filter(|_| shown.filter.is_none());
        shown.filter_ledgers(&mut sources);
        let (union, outside) = (union.as_ref(), report.outside.as_ref());
        let duration = Some(session.duration());
        let retransmissions = report.retransmissions.as_ref().map(|report| &report.ledger);
        let hidden = shown.hidden();
        let end = RunEnd { sources: &sources, attribution, union, hidden: &hidden, retransmissions, outside, duration };
        shown.sink.finish(&end)?;
        shown.explain(&report, args.common.netns.as_deref(), &output)?;
        output.finish()?;
        if args.raw || args.format().is_binary() {
            // The results are not for people; these lines are for who waits for them.
            ledger_lines(&end).for_each(|line| say("droptrace", format_args!("{}", line.text)));
        }
    }
    session.warn_of_hidden_addresses();
    session.warn_of_unknown_owners();
    shown.filter.iter().for_each(RecordFilter::warn_of_unknown_processes);
    ended.and(stopped)
}

/// The sink of drops, and the number that it still wants.
pub(super) struct Shown {
    pub(super) sink: Box<dyn DropSink>,
    left: u64,
    /// The conditions that the backend does not apply.
    filter: Option<RecordFilter>,
    /// Number of drops to which the filter was applied.
    decided: u64,
    /// The packets of the drops that were shown, and their totals; absent where explanations are not asked for.
    explained: Option<Explained>,
    counted: Option<Tally>,
    /// Which drops are not to be shown; absent where all are.
    pub(super) hide: Option<Hide>,
}

impl Shown {
    pub(super) const fn new(sink: Box<dyn DropSink>, left: u64) -> Self {
        Self { sink, left, filter: None, decided: 0, explained: None, counted: None, hide: None }
    }

    /// Shows only the drops that a filter takes; absent for all.
    pub(super) fn filtered(self, filter: Option<RecordFilter>) -> Self {
        Self { filter, ..self }
    }

    /// Explains the drops at the end; absent for no explanations.
    pub(super) fn explaining(self, explained: Option<Explained>) -> Self {
        let counted = explained.as_ref().map(|_| Tally::default());
        Self { explained, counted, ..self }
    }

    /// The drops that were hidden.
    pub(super) fn hidden(&self) -> Vec<HiddenDrops> {
        self.hide.as_ref().map(Hide::hidden_events).unwrap_or_default()
    }

    /// Explains the drops that were shown, and the counters.
    pub(super) fn explain(&mut self, report: &StatReport, netns: Option<&str>, output: &Output) -> io::Result<()> {
        let (Some(explained), Some(counted)) = (&self.explained, self.counted.take()) else { return Ok(()) };
        let (drops, overflow) = counted.into_totals();
        let hidden: u64 = self.hidden().iter().map(|hidden| hidden.packets).sum();
        let (shown, counted) = (packets(&drops), packets(&report.drops).saturating_sub(hidden));
        let mut out = output.clone();
        // Without a rest that this process decides on, all others are drops that the run did not show.
        if shown < counted && self.filter.is_none() {
            let (shown, counted) = (Grouped(shown), Grouped(counted));
            writeln!(out, "\nThe explanations are of the drops that were shown: {shown} of {counted}.")?;
        }
        let report = StatReport { drops, overflow, ..report.clone() };
        explained.write(&mut out, &report, Above::Lines, netns, output.size()().width)
    }

    /// Counts the drops that do not match as filtered.
    fn filter_ledgers(&self, sources: &mut [SourceReport]) {
        let Some(filter) = &self.filter else { return };
        for source in sources {
            filter.add_to(&mut source.ledger, self.decided);
        }
    }
}

/// The packets of networks among some totals.
fn packets(totals: &[DropTotal]) -> u64 {
    totals.iter().filter(|total| total.key.kind.is_packet()).map(|total| total.packets).sum()
}

impl Consumer for Shown {
    fn wanted(&self) -> u64 {
        self.left
    }

    /// Shows a drop unless enough were shown; the ledger counts it in either case.
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        if let Some(filter) = &mut self.filter {
            self.decided += 1;
            if !filter.takes(event) {
                return Ok(());
            }
        }
        if self.left == 0 || self.hide.as_mut().is_some_and(|hide| !hide.shows(event.key)) {
            return Ok(());
        }
        self.left -= 1;
        self.explained.iter_mut().for_each(|explained| explained.add(event));
        self.counted.iter_mut().for_each(|counted| counted.add(event));
        self.sink.event(event)
    }

    fn retransmission(&mut self, event: &RetransmitEvent) -> io::Result<()> {
        self.sink.retransmission(event)
    }

    fn block(&mut self, records: &Records, names: &BlockNames) -> io::Result<()> {
        self.sink.block(records, names)
    }

    fn reading(&mut self, now: Moment, settled: Moment) {
        self.sink.reading(now, settled);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
