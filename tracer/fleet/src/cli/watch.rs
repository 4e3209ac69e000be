//! `droptrace-fleet watch`: what `diagnose` finds, round after round.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result};
use droptrace_base::command::log_to_stderr;
use droptrace_base::domain::event::Timestamp;
use droptrace_base::outside::{printable, say, to_json};
use droptrace_base::render::output::Output;

use super::NAME;
use super::args::WatchArgs;
use super::diagnose::prepare;
use super::show::{FOUND, check};
use crate::analyse::{Options, analyse};
use crate::prometheus::{Access, Engine, Gathered, Question, Scope, gather};
use crate::watch::{Alertmanager, Known, Life, Line, Lives, Phase, Round, State};

/// Watches the fleet until it is ended, or for a number of rounds.
pub(super) fn run(args: &WatchArgs) -> Result<ExitCode> {
    log_to_stderr(args.verbose, &[]);
    tracing::info!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let mut watch = Watch::new(args)?;
    let mut round = 1;
    loop {
        let started = Instant::now();
        let result = watch.ask();
        let is_last = args.rounds.is_some_and(|rounds| round >= rounds);
        match result {
            Ok(findings) => watch.report(findings)?,
            Err(error) if is_last => return Err(error),
            Err(error) => say(NAME, format_args!("{error:#}; the findings stay as they are until the next round")),
        }
        if is_last {
            return Ok(if watch.state.findings.are_open() { FOUND.into() } else { ExitCode::SUCCESS });
        }
        round += 1;
        thread::sleep(args.interval.saturating_sub(started.elapsed()));
    }
}

/// The state of a watch.
struct Watch<'a> {
    args: &'a WatchArgs,
    engine: Engine,
    scope: Scope,
    options: Options,
    alertmanager: Option<Alertmanager>,
    output: Output,
    state: State,
}

impl<'a> Watch<'a> {
    fn new(args: &'a WatchArgs) -> Result<Self> {
        let (engine, scope) = prepare(&args.engine)?;
        let state = args.state.as_deref().map_or_else(|| Ok(State::default()), State::read)?;
        let alertmanager = args.alertmanager.as_deref().map(|url| alertmanager(url, args)).transpose()?;
        let (options, output) = (args.bounds.options(), Output::open(None)?);
        Ok(Self { args, engine, scope, options, alertmanager, output, state })
    }

    /// Queries the engine, and returns the findings of now.
    fn ask(&self) -> Result<Vec<(String, Known)>> {
        let engine = &self.args.engine;
        let question =
            Question { at: None, range: engine.range, baseline: engine.baseline, storm_rate: self.options.storm_rate };
        let Gathered { fleet, notes, .. } = gather(&self.engine, &self.scope, &question)?;
        for note in &notes {
            say(NAME, printable(note));
        }
        check(&self.options.by, &fleet)?;
        Ok(analyse(&fleet, &self.options).iter().map(Known::of).collect())
    }

    /// Reports a round: on stdout, to Alertmanager, and in the file.
    fn report(&mut self, findings: Vec<(String, Known)>) -> Result<()> {
        let now = SystemTime::now();
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
        let time = Timestamp(u64::try_from(since_epoch.as_nanos()).context("the clock is after 2554")?);
        let Round { lives, beyond } = self.state.findings.round(time, findings, self.args.close_after);
        tracing::info!("{} findings are open or were closed in this round", lives.len());
        if beyond > 0 {
            say(NAME, format_args!("{beyond} new findings are left out: too many are open"));
        }
        for (phase, id, life) in &lives {
            to_json(&mut self.output, &Line::new(time, *phase, id, life))?;
            writeln!(self.output)?;
        }
        self.output.flush()?;
        self.send(now, lives);
        // The file is written last: after a crash, a round is reported again rather than not at all.
        if let Some(Err(error)) = self.args.state.as_deref().map(|file| self.state.write(file)) {
            say(NAME, format_args!("{:#}; the next round tries again", anyhow::Error::from(error)));
        }
        Ok(())
    }

    /// Sends the findings. What cannot be sent is sent in the next round.
    fn send(&mut self, now: SystemTime, mut lives: Vec<(Phase, String, Life)>) {
        let Some(alertmanager) = &self.alertmanager else { return };
        // A finding that was closed and is open again is not closed.
        let unsent = std::mem::take(&mut self.state.unsent).into_iter();
        let closed: Vec<_> = unsent.filter(|(id, _)| lives.iter().all(|(_, other, _)| other != id)).collect();
        lives.extend(closed.into_iter().map(|(id, life)| (Phase::Closed, id, life)));
        if let Err(error) = alertmanager.send(now, &lives) {
            say(NAME, format_args!("{:#}; the next round sends them again", anyhow::Error::from(error)));
            let closed = lives.into_iter().filter(|(phase, ..)| *phase == Phase::Closed);
            self.state.unsent = closed.map(|(_, id, life)| (id, life)).take(Lives::MOST).collect();
        }
    }
}

fn alertmanager(url: &str, args: &WatchArgs) -> Result<Alertmanager> {
    let access = args.alertmanager_config.as_deref().map_or_else(|| Ok(Access::default()), Access::read)?;
    let page = args.page.as_deref().unwrap_or(&args.engine.prometheus);
    Ok(Alertmanager::new(url, &access, args.engine.timeout, page, args.interval)?)
}
