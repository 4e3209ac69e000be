//! `droptrace reconcile`: compares the kernel's own counters with the drops.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::args::{Format, ReconcileArgs};
use super::listen;
use crate::domain::bracket::ReconcileReport;
use crate::explain::Counters;
use crate::kernel::running::RunningKernel;
use crate::outside::say;
use crate::pipeline::bracket::Brackets;
use crate::render::output::Output;
use crate::run::{Consumer, Options, Session, Stop, TotalsOnly, follow};
use crate::sink::{ReconcileJson, ReconcileSink, ReconcileText};

/// The exit status if counters contradict the drops.
const WRONG: u8 = 3;

/// Compares at each interval and at the end, and shows the counters at the end.
pub(super) async fn run(args: &ReconcileArgs, kernel: &Arc<RunningKernel>) -> Result<ExitCode> {
    let output = Output::open(args.destination.file.output.as_deref())?;
    let mut stop = Stop::new(args.duration)?.while_read(&output);
    let options = Options { all_counters: true, ..listen::options(&args.common(), None, kernel)? };
    let mut session = Session::start(&options).await?;
    let mut brackets = Brackets::new(counters(&mut session)?);
    session.bracket(&mut brackets).await?;
    stop.start_clock();
    say("droptrace", format_args!("comparing counters ({}); Ctrl-C ends", listen::title(session.backend())));
    let ended = compare(&mut session, &mut stop, &mut brackets, args.interval).await;
    let last = session.bracket(&mut brackets).await;
    session.stop(&mut TotalsOnly).await?;
    ended.and(last)?;
    let report = report(&mut session, &brackets)?;
    sink(args, output.clone()).report(&report)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    Ok(if report.wrong() == 0 { ExitCode::SUCCESS } else { WRONG.into() })
}

/// The counters, with their classes on this kernel.
fn counters(session: &mut Session) -> Result<Counters> {
    Ok(Counters::built_in()?.on_kernel(|name| session.has_reason(name)))
}

/// Compares at each interval until the end.
async fn compare(session: &mut Session, stop: &mut Stop, brackets: &mut Brackets, interval: Duration) -> Result<()> {
    loop {
        let mut until = UntilDue { interval, is_due: false };
        follow(session, stop, &mut until).await?;
        if !until.is_due {
            return Ok(());
        }
        session.bracket(brackets).await?;
    }
}

/// Runs for one interval.
struct UntilDue {
    interval: Duration,
    is_due: bool,
}

impl Consumer for UntilDue {
    fn wanted(&self) -> u64 {
        if self.is_due { 0 } else { u64::MAX }
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    fn tick(&mut self, _session: &mut Session) -> Result<()> {
        self.is_due = true;
        Ok(())
    }
}

fn report(session: &mut Session, brackets: &Brackets) -> Result<ReconcileReport> {
    let last = brackets.last();
    Ok(ReconcileReport {
        host: session.host().clone(),
        started_at: session.started_at(),
        duration: session.duration(),
        sources: session.source_reports()?,
        readings: brackets.readings(),
        namespaces: last.namespaces,
        gaps: last.gaps.clone(),
        counters: brackets.rows(),
    })
}

fn sink(args: &ReconcileArgs, output: Output) -> Box<dyn ReconcileSink> {
    match args.format {
        Format::Json => Box::new(ReconcileJson::new(output)),
        Format::Text => {
            let color = output.wants_color(args.destination.color);
            Box::new(ReconcileText::new(output, color))
        }
    }
}
