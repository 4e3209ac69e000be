//! `droptrace top`: the totals on a screen with keys.

pub(super) mod past;

use std::env;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tracer_common::FLOW_PROCESS;

use super::args::{CommonArgs, TopArgs};
use super::{filter_names, listen, stat};
use crate::advice::Selection;
use crate::dimension::Dimensions;
use crate::domain::event::DropEvent;
use crate::domain::report::StatReport;
use crate::explained::{Recent, SAMPLED_PACKETS};
use crate::filter::{Filter, FilterError};
use crate::identity::netns;
use crate::identity::owners::Search;
use crate::kernel::running::RunningKernel;
use crate::outside::{hold_messages, release_messages, say};
use crate::pipeline::group::group_by;
use crate::render::output::{Output, color_of_terminal};
use crate::render::rank::Sort;
use crate::run::{Consumer, EventNeed, Options, Session, Stop, WantedOwners, follow};
use crate::sink::{StatFormat, StatOptions};
use crate::top::keys::action;
use crate::top::knowledge::Knowledge;
use crate::top::model::{CheckFilter, Model, Request};
use crate::top::terminal::{Input, Screen, Suspended, Woken, give_back_on_panic};
use crate::top::view::{Context, draw};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the screen until the end, then the table of the whole run.
pub(super) async fn run(args: &TopArgs, kernel: &Arc<RunningKernel>) -> Result<()> {
    if !has_screen() {
        return stat::run(&args.without_screen(), &[], kernel).await.map(drop);
    }
    let output = Output::open(args.common.destination.file.output.as_deref())?;
    let mut stop = Stop::new(args.common.duration)?.while_read(&output);
    let mut session = Session::start(&options(args, kernel)?).await?;
    stop.start_clock();
    let home_netns = netns::own().unwrap_or(0);
    let model = Model::new(Knowledge::built_in(home_netns)?, selection(&args.common, vec![]), args.by.as_ref());
    let mut top = Top::take(args, Checks::Names(kernel), model, listen::title(session.backend()))?;
    let first = top.tick(&mut session);
    let ended = match first {
        Ok(()) => follow(&mut session, &mut stop, &mut top).await,
        failed => failed,
    };
    top.give_back();
    let stopped = session.stop(&mut top).await;
    table(args, &top.model, home_netns, &output, session.stat_report()?)?;
    output.finish()?;
    session.warn_of_hidden_addresses();
    session.warn_of_unknown_owners();
    ended.and(stopped).and(top.failed.map_or(Ok(()), |error| Err(error).context("cannot draw the screen")))
}

/// Whether there is a screen; says why not.
fn has_screen() -> bool {
    let obstacle = obstacle();
    if let Some(obstacle) = obstacle {
        say("droptrace", format_args!("top needs a terminal: {obstacle}; the table of `stat` follows instead"));
    }
    obstacle.is_none()
}

/// Why there is no screen.
pub(super) fn obstacle() -> Option<&'static str> {
    let is_dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if !io::stdin().is_terminal() {
        Some("stdin is none")
    } else if !io::stdout().is_terminal() {
        Some("stdout is none")
    } else {
        is_dumb.then_some("TERM names none that can show a screen")
    }
}

fn options(args: &TopArgs, kernel: &Arc<RunningKernel>) -> Result<Options> {
    let flows = args.by.as_ref().map_or(0, Dimensions::flow_facts);
    let owners = WantedOwners {
        cgroups: true,
        processes: (flows & FLOW_PROCESS != 0).then_some(Search::Sparing),
        residents: true,
    };
    let options = listen::options(&args.common, Some(SAMPLED_PACKETS), kernel)?;
    // The records are a sample, which cannot be joined with the drop monitor's.
    Ok(Options { owners, flows, need: EventNeed::Welcome, join: None, ..options })
}

/// The table of the whole run, as `stat` prints it.
fn table(args: &TopArgs, model: &Model, home_netns: u32, output: &Output, mut report: StatReport) -> io::Result<()> {
    let by = model.grouped().cloned();
    report.drops = group_by(&report.drops, by.as_ref().unwrap_or(&Dimensions::usual()));
    report.attribution = None;
    let options = StatOptions {
        by,
        sort: Sort::Packets,
        top: None,
        home_netns,
        color: output.wants_color(args.common.destination.color),
        recorded: None,
        live: false,
        size: output.size_of_tables(),
    };
    StatFormat::Text.sink(output.clone(), options).report(&report)
}

/// The screen, its state, and its keys.
struct Top<'k> {
    model: Model,
    recent: Recent,
    /// Absent after the terminal was given back.
    screen: Option<Screen>,
    input: Input,
    interval: Duration,
    backend: String,
    color: bool,
    checks: Checks<'k>,
    /// The user has quit, or the screen cannot be drawn.
    is_done: bool,
    failed: Option<io::Error>,
}

/// What the names in a filter must be known to.
#[derive(Clone, Copy)]
enum Checks<'k> {
    /// This host.
    Names(&'k RunningKernel),
    /// Nothing: what is shown may be gone by now.
    Nothing,
}

impl CheckFilter for Checks<'_> {
    fn check(&self, filter: &Filter) -> Result<(), FilterError> {
        match self {
            Self::Names(kernel) => filter_names::check_here(filter, kernel),
            Self::Nothing => Ok(()),
        }
    }
}

/// What selects drops in the commands of the rows. `past`: the options of a time that is over.
fn selection(common: &CommonArgs, past: Vec<(&'static str, String)>) -> Selection {
    Selection {
        filter: common.filter.as_ref().map(|filter| filter.text.clone()),
        netns: common.netns.clone(),
        interface: common.interface.clone(),
        past,
    }
}

impl<'k> Top<'k> {
    /// Takes over the terminal.
    fn take(args: &TopArgs, checks: Checks<'k>, model: Model, backend: String) -> Result<Self> {
        let context = "cannot take over the terminal";
        let input = Input::new(own(io::stdin().as_fd()).context(context)?).context(context)?;
        give_back_on_panic();
        let screen = Screen::take(own(io::stdin().as_fd())?, own(io::stdout().as_fd())?).context(context)?;
        if io::stderr().is_terminal() {
            hold_messages();
        }
        Ok(Self {
            model,
            recent: Recent::default(),
            screen: Some(screen),
            input,
            interval: args.interval.unwrap_or(DEFAULT_INTERVAL),
            backend,
            color: color_of_terminal(args.common.destination.color),
            checks,
            is_done: false,
            failed: None,
        })
    }

    /// Gives the terminal back, and lets the messages follow that came meanwhile.
    fn give_back(&mut self) {
        self.screen = None;
        release_messages();
    }

    fn draw(&mut self) {
        let Self { model, recent, screen: Some(screen), backend, .. } = self else { return };
        let context = Context { backend, interval: self.interval, color: self.color, recent };
        let drawn = screen.draw(|buffer| draw(model, &context, buffer));
        self.note(drawn);
    }

    fn answer(&mut self, woken: Woken) {
        let request = match woken {
            Woken::Key(key) => match action(key, self.model.is_typing()) {
                Some(action) => self.model.act(action, &self.checks),
                None => return,
            },
            Woken::Resized => Request::Draw,
            Woken::Continued => Request::Redraw,
            Woken::Suspended => return self.suspend(Suspended::Process),
            Woken::Closed => Request::Quit,
        };
        match request {
            Request::Draw => self.draw(),
            Request::Copy(text) => self.change(|screen| screen.copy(&text)),
            Request::Redraw => self.change(Screen::retake),
            Request::Suspend => self.suspend(Suspended::Job),
            Request::Quit => self.is_done = true,
        }
    }

    /// Waits for a key or another event of the terminal, and answers it.
    async fn answer_next(&mut self) {
        let woken = self.input.next().await;
        self.answer(woken);
    }

    fn suspend(&mut self, who: Suspended) {
        self.change(|screen| screen.suspend(who));
    }

    /// Does something with the terminal, and draws the screen again.
    fn change(&mut self, change: impl FnOnce(&mut Screen) -> io::Result<()>) {
        let Some(screen) = &mut self.screen else { return };
        let done = change(screen);
        self.note(done);
        self.draw();
    }

    /// Ends the run if the screen failed.
    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.is_done = true;
            self.failed.get_or_insert(error);
        }
    }
}

fn own(terminal: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    terminal.try_clone_to_owned()
}

impl Consumer for Top<'_> {
    fn wanted(&self) -> u64 {
        if self.is_done { 0 } else { u64::MAX }
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.interval)
    }

    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.recent.add(event);
        Ok(())
    }

    fn tick(&mut self, session: &mut Session) -> Result<()> {
        self.model.read(&session.stat_report()?);
        self.draw();
        Ok(())
    }

    async fn other(&mut self) {
        self.answer_next().await;
    }
}
