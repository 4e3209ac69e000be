//! `droptrace compare`: both sources over the same time, and where and why they differ.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::{CompareArgs, Format};
use super::listen;
use super::stop::Stop;
use crate::backend::ebpf::EventOptions;
use crate::backend::net_dm::AlertMode;
use crate::domain::event::{DropEvent, Origin};
use crate::domain::report::CompareReport;
use crate::kernel::clock::Clock;
use crate::outside::say;
use crate::pipeline::dedupe::PREFIX;
use crate::pipeline::material::Late;
use crate::render::output::Output;
use crate::run::{Options, Session};
use crate::sink::{CompareJson, CompareSink, CompareText};

/// Nobody waits for a drop to be shown: time enough for a loaded machine.
const WAIT: Duration = Duration::from_secs(5);
/// What packets are told apart by, and a tag or two.
const SNAPLEN: u32 = 64;
/// Differences are left that nothing explains.
const UNEXPLAINED: u8 = 3;

const _: () = assert!(SNAPLEN as usize >= PREFIX);

/// Listens until the end, then compares.
pub(super) async fn run(args: &CompareArgs) -> Result<ExitCode> {
    let output = Output::open(args.output.as_deref())?;
    let mut stop = Stop::new(args.duration)?.while_read(&output);
    let mut session = Session::start(&options(args)?).await?;
    stop.start_clock();
    say("droptrace", format_args!("comparing drops ({}); Ctrl-C ends", listen::title(session.backend())));
    let ended = listen::until(&mut stop, &mut session).await;
    let mut late = Late::default();
    let stopping_at = Clock::now();
    let stopped = session
        .stop(u64::MAX, |event: &DropEvent<'_>| {
            if *event.seen_by == [Origin::NetDm] && event.timestamp >= stopping_at {
                late.add(event);
            }
            Ok::<_, io::Error>(())
        })
        .await;
    ended.and(stopped)?;
    let report = report(&mut session, &late)?;
    sink(args, output.clone()).report(&report)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    Ok(if report.comparison.is_explained() { ExitCode::SUCCESS } else { UNEXPLAINED.into() })
}

fn options(args: &CompareArgs) -> Result<Options> {
    let events = EventOptions { snaplen: SNAPLEN, rate: 0, ring_size: args.ring_size };
    // Summaries tell no single drops to join.
    let events = (AlertMode::from(args.net_dm_mode) == AlertMode::Packet).then_some(events);
    Ok(Options { join: Some(WAIT), ..listen::options(&args.common(), events)? })
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
            let color = output.wants_color(args.color);
            Box::new(CompareText::new(output, color))
        }
    }
}
