//! `droptrace stat`: totals by aggregation key.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tracer_common::FLOW_PROCESS;

use super::args::{Counted, FailIf, Source, StatArgs, Updates};
use super::hide::Hide;
use super::verdict::{self, Scope};
use super::{listen, sinks};
use crate::backend::ebpf::EventOptions;
use crate::dimension::Dimensions;
use crate::domain::event::DropEvent;
use crate::domain::flow_ledger::FlowLedger;
use crate::domain::report::StatReport;
use crate::explained::{Above, Explained, SAMPLED_PACKETS};
use crate::filter::Filter;
use crate::identity::netns;
use crate::identity::owners::Search;
use crate::kernel::running::RunningKernel;
use crate::outside::say;
use crate::pipeline::group::group_by;
use crate::pipeline::stacks::Stacks;
use crate::render::output::Output;
use crate::run::{
    CaptureBackend, Consumer, EventNeed, Options, Session, Stop, WantedOwners, Workload, exit_code_of, follow,
};
use crate::sink::{StatFormat, StatSink};

/// The records that `--stack` needs: call stacks of a sample, without bytes of packets.
const SAMPLED_STACKS: EventOptions =
    EventOptions { snaplen: 0, rate: 0, ring_size: 4 << 20, stacks: true, one_in: 1_024 };

/// The exit status of a run in which a condition of `--fail-if` was true, or could not be ruled out.
const FAILED_CONDITION: u8 = 4;

/// Counts until the end, or while a command (`workload`) runs, and shows the totals at each interval.
pub(super) async fn run(args: &StatArgs, workload: &[OsString], kernel: &Arc<RunningKernel>) -> Result<ExitCode> {
    let path = args.common.destination.file.output.as_deref();
    // The command writes to stdout.
    let output = if workload.is_empty() { Output::open(path)? } else { Output::open_beside(path)? };
    let mut table = Table::new(args, &output, !workload.is_empty())?;
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let options = options(args, kernel)?;
    let prepared = workload.first().map(|program| (program, Workload::prepare(workload)));
    let workload = match prepared {
        Some((program, Err(error))) => {
            say("droptrace", format_args!("cannot run {}: {error}", program.display()));
            return Ok(exit_code_of(&error).into());
        }
        Some((_, Ok(prepared))) => Some(prepared),
        None => None,
    };
    let mut session = Session::start(&options).await?;
    if options.flows != 0 && !session.counts_flows() {
        tracing::warn!(
            "--by: only the BPF program reports flows; addresses, ports, marks, processes and users are unknown here"
        );
    }
    stop.start_clock();
    say("droptrace", format_args!("counting drops ({}); Ctrl-C ends", listen::title(session.backend())));
    if let Some(workload) = workload {
        workload.start();
        stop.with_workload(workload);
    }
    let ended = follow(&mut session, &mut stop, &mut table).await;
    let workload = stop.finished().await;
    // The totals are shown however the run ended.
    let stopped = session.stop(&mut table).await;
    table.tick(&mut session)?;
    if let (Some(explained), Some(report)) = (&table.explained, &table.ungrouped) {
        let (above, netns) = (Above::Table(table.by.as_ref()), args.common.netns.as_deref());
        explained.write(&mut output.clone(), report, above, netns, output.size()().width)?;
    }
    output.finish()?;
    session.warn_of_hidden_addresses();
    session.warn_of_missing_owners();
    session.warn_of_unknown_owners();
    ended.and(stopped)?;
    let of_workload = workload.map_or(Ok(0), Workload::exit_code).context("the end of the command is unknown")?;
    Ok(match (of_workload, table.fails) {
        (0, true) => FAILED_CONDITION.into(),
        (status, _) => status.into(),
    })
}

/// Whether an expression about rows asks for the owners of packets.
fn asks_owner(args: &StatArgs) -> bool {
    let conditions = args.fail_if.iter().filter_map(|condition| match &condition.counted {
        Counted::Rows(filter) => Some(&**filter),
        Counted::Total | Counted::Lost | Counted::Outside => None,
    });
    conditions.chain(&args.hide.hide).any(Filter::asks_owner)
}

/// The run that the options ask for.
fn options(args: &StatArgs, kernel: &Arc<RunningKernel>) -> Result<Options> {
    let cgroups = args.by.as_ref().is_some_and(Dimensions::has_attribution) || asks_owner(args);
    let flows = args.by.as_ref().map_or(0, Dimensions::flow_facts);
    let residents = cgroups || args.explain || (args.by.is_none() && args.format() == StatFormat::Text);
    let owners = WantedOwners { cgroups, processes: (flows & FLOW_PROCESS != 0).then_some(Search::Sparing), residents };
    // A sample cannot be joined with the drop monitor's records, of which the join has all packets.
    let samples = args.explain && !args.stack && args.common.source != Source::Both;
    let snaplen = if args.explain { SAMPLED_PACKETS.snaplen } else { 0 };
    let with_stacks = args.stack.then_some(EventOptions { snaplen, ..SAMPLED_STACKS });
    let events = with_stacks.or_else(|| samples.then_some(SAMPLED_PACKETS));
    let retransmits = args.retransmits;
    // A filter for packets or an interface says nothing about SYNs and sockets.
    let refused = args.common.filter.is_none() && args.common.interface.is_none();
    let mut options = Options { owners, flows, retransmits, refused, ..listen::options(&args.common, events, kernel)? };
    if args.stack || retransmits {
        options.backends.retain(|backend| matches!(backend, CaptureBackend::Ebpf(_)));
    }
    if samples {
        // Without packets there are explanations as well.
        (options.need, options.join) = (EventNeed::Welcome, None);
    }
    Ok(options)
}

/// The totals, at an interval and at the end.
struct Table {
    sink: Box<dyn StatSink>,
    interval: Option<Duration>,
    by: Option<Dimensions>,
    /// The stacks of sampled drops; absent where they are not asked for.
    stacks: Option<Stacks>,
    /// The packets of the rows; absent where explanations are not asked for.
    explained: Option<Explained>,
    /// The last report before its rows were grouped, for the explanations.
    ungrouped: Option<StatReport>,
    /// Absent where all drops have a row.
    hide: Option<Hide>,
    /// Conditions on the counts of the whole run.
    fail_if: Vec<FailIf>,
    scope: Scope,
    /// A condition was true at the end, or could not be ruled out.
    fails: bool,
}

impl Table {
    /// The table of these options. Beside a command that writes to the same terminal, no table is drawn over another one, and
    /// only `--interval` asks for several.
    fn new(args: &StatArgs, output: &Output, has_workload: bool) -> Result<Self> {
        let interval = match args.updates(output.is_terminal() && !has_workload) {
            Updates::Every(interval) => Some(interval),
            Updates::AtEnd => None,
        };
        let home_netns = netns::own().unwrap_or(0);
        Ok(Self {
            sink: sinks::stat(args, output.clone(), home_netns, interval.is_some() && !has_workload),
            interval,
            // Rows that differ in their owners alone are one.
            by: args.by.clone().or_else(|| asks_owner(args).then(Dimensions::usual)),
            stacks: args.stack.then(Stacks::default),
            explained: args.explain.then(Explained::new).transpose()?,
            ungrouped: None,
            hide: Hide::of(&args.hide, home_netns)?,
            fail_if: args.fail_if.clone(),
            scope: Scope { home_netns, is_one_netns: args.common.netns.is_some() },
            fails: false,
        })
    }
}

impl Consumer for Table {
    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        if let Some(stacks) = &mut self.stacks {
            stacks.add(event);
        }
        if let Some(explained) = &mut self.explained {
            explained.add(event);
        }
        Ok(())
    }

    fn tick(&mut self, session: &mut Session) -> Result<()> {
        let mut report = session.stat_report()?;
        report.stacks = self.stacks.as_ref().map(|stacks| stacks.report(&report.drops));
        if report.is_final {
            self.fails = verdict::fails(&self.fail_if, &report, self.scope);
        }
        if let Some(hide) = &self.hide {
            hide.apply(&mut report, self.by.as_ref());
        }
        if report.is_final && self.explained.is_some() {
            self.ungrouped = Some(report.clone());
        }
        if let Some(by) = &self.by {
            report.drops = group_by(&report.drops, by);
            // A row of several keys may have more drops of other flows.
            report.flows = report.flows.map(|_| FlowLedger::of(&report.drops, &report.overflow));
        }
        Ok(self.sink.report(&report)?)
    }
}
