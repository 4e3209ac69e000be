//! `droptrace compare`: runs both backends over the same time, and shows where and why they differ.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{CompareArgs, Format};
use super::listen;
use crate::backend::ebpf::EventOptions;
use crate::backend::net_dm::AlertMode;
use crate::domain::event::{DropEvent, Origin, Timestamp};
use crate::domain::report::CompareReport;
use crate::kernel::clock::Clock;
use crate::kernel::running::RunningKernel;
use crate::outside::say;
use crate::pipeline::dedupe::PREFIX;
use crate::pipeline::material::Late;
use crate::render::output::Output;
use crate::run::{Consumer, Options, Session, Stop, TotalsOnly, follow};
use crate::sink::{CompareJson, CompareSink, CompareText};

/// The time for which drops wait for the other backend. Nobody waits for a drop to be shown, so there is time enough
/// for a loaded machine.
const WAIT: Duration = Duration::from_secs(5);
/// Captured leading bytes: those that identify a packet, and one or two tags.
const SNAPLEN: u32 = 64;
/// The exit status if differences remain unexplained.
const UNEXPLAINED: u8 = 3;

const _: () = assert!(SNAPLEN as usize >= PREFIX);

/// Captures drops until the end, then compares.
pub(super) async fn run(args: &CompareArgs, kernel: &Arc<RunningKernel>) -> Result<ExitCode> {
    let output = Output::open(args.destination.file.output.as_deref())?;
    let mut stop = Stop::new(args.duration)?.while_read(&output);
    let mut session = Session::start(&options(args, kernel)?).await?;
    stop.start_clock();
    say("droptrace", format_args!("comparing drops ({}); Ctrl-C ends", listen::title(session.backend())));
    let ended = follow(&mut session, &mut stop, &mut TotalsOnly).await;
    let mut last = LastDrops { stopping_at: Clock::now(), late: Late::default() };
    let stopped = session.stop(&mut last).await;
    ended.and(stopped)?;
    let report = report(&mut session, &last.late)?;
    sink(args, output.clone()).report(&report)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    Ok(if report.comparison.is_explained() { ExitCode::SUCCESS } else { UNEXPLAINED.into() })
}

/// The drops that arrive while the backends are stopped, one after the other.
struct LastDrops {
    stopping_at: Timestamp,
    /// Drops that only the drop monitor could report, because the kernel program had stopped.
    late: Late,
}

impl Consumer for LastDrops {
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        if *event.seen_by == [Origin::NetDm] && event.timestamp >= self.stopping_at {
            self.late.add(event);
        }
        Ok(())
    }
}

fn options(args: &CompareArgs, kernel: &Arc<RunningKernel>) -> Result<Options> {
    let events = EventOptions { snaplen: SNAPLEN, rate: 0, ring_size: args.ring_size, stacks: false, one_in: 1 };
    // Summary alerts have no single drops to join.
    let events = (AlertMode::from(args.net_dm_mode) == AlertMode::Packet).then_some(events);
    Ok(Options { join: Some(WAIT), ..listen::options(&args.common(), events, kernel)? })
}

fn report(session: &mut Session, late: &Late) -> Result<CompareReport> {
    let material = session.comparable()?.context("only one backend ran")?;
    Ok(CompareReport {
        host: session.host().clone(),
        started_at: session.started_at(),
        duration: session.duration(),
        sources: session.source_reports()?,
        union: session.union_ledger(),
        comparison: material.compare(session.union(), late),
    })
}

fn sink(args: &CompareArgs, output: Output) -> Box<dyn CompareSink> {
    match args.format {
        Format::Json => Box::new(CompareJson::new(output)),
        Format::Text => {
            let color = output.wants_color(args.destination.color);
            Box::new(CompareText::new(output, color))
        }
    }
}
