//! `droptrace-fleet diagnose`: the fleet as seen by an engine that scrapes its agents.

use std::process::ExitCode;

use anyhow::Result;
use droptrace_base::command::log_to_stderr;
use droptrace_base::outside::{printable, say};

use super::NAME;
use super::args::{DiagnoseArgs, EngineArgs};
use super::show::Show;
use crate::prometheus::{Access, Engine, EngineError, Gathered, Limits, Question, Scope, gather};
use crate::report::Input;

/// Queries the engine, analyses the fleet, and shows the report.
pub(super) fn run(args: &DiagnoseArgs) -> Result<ExitCode> {
    log_to_stderr(args.verbose, &[]);
    tracing::info!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let (engine, scope) = prepare(&args.engine)?;
    // A bad path must be known before the work starts.
    let show = Show::open(&args.show, args.engine.http_config.as_deref())?;
    let question = Question {
        at: args.at,
        range: args.engine.range,
        baseline: args.engine.baseline,
        storm_rate: args.show.options().storm_rate,
    };
    let Gathered { fleet, notes, answers } = gather(&engine, &scope, &question)?;
    for note in &notes {
        // Each warning is one line, because the engine's text has no ends of lines.
        say(NAME, printable(note));
    }
    show.fleet(&fleet, Input { read: answers, notes, ..Input::of("prometheus") })
}

/// Prepares to query the engine, without a connection.
pub(super) fn prepare(args: &EngineArgs) -> Result<(Engine, Scope), EngineError> {
    let mut access = args.http_config.as_deref().map_or_else(|| Ok(Access::default()), Access::read)?;
    for line in &args.header {
        access.header(line)?;
    }
    let scope = Scope::new(&args.identity, &args.matchers)?;
    let limits = Limits { time: args.timeout, bytes: args.max_answer << 20 };
    Ok((Engine::new(&args.prometheus, &access, limits)?, scope))
}
