//! `droptrace agent`: serves metrics of a host's drops for as long as it runs.

mod history;
#[cfg_attr(not(feature = "otlp"), path = "agent/no_otlp.rs")]
mod otlp;
mod settings;
mod supervisor;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::args::{AgentArgs, DEFAULT_PORT};
use super::listen;
use crate::backend::counters::beside::Pace;
use crate::domain::event::{DropEvent, Timestamp};
use crate::explained::SAMPLED_PACKETS;
use crate::identity::netns;
use crate::kernel::build_id;
use crate::kernel::clock::{Clock, boot_id, boot_time};
use crate::kernel::running::RunningKernel;
use crate::metrics::collect::{Collector, Facts, Work};
use crate::metrics::http::{Exposition, Limits, Server, Tally};
use crate::metrics::model::Metrics;
use crate::metrics::web_config::WebConfig;
use crate::outside::say;
use crate::run::{self, Consumer, EventNeed, Session, Stop, WantedOwners, follow};
use crate::sink::history::{Instant as Moment, RunFacts};
use crate::snapshot;
use history::History;
use otlp::{Identity, Options, Pushing, identity};
use settings::Settings;
use supervisor::Supervisor;

/// Number of intervals without a reading after which the metrics are stale.
const STALE_AFTER: u32 = 3;
/// The most threads that read the files at once: threads that read from a hanging file system do not return.
const MOST_READERS: usize = 2;

/// Counts drops and serves the metrics until the end.
pub(super) async fn run(args: &AgentArgs, kernel: &Arc<RunningKernel>) -> Result<()> {
    let started_at = Clock::now();
    let settings = Settings::of(args)?;
    settings.check_names(args, kernel)?;
    let (web, seen_web) = watch::channel(settings.web()?);
    let (exposition, seen) = watch::channel(None);
    let mut stop = Stop::new(None)?.without_hangup();
    let hangup = signal(SignalKind::hangup()).context("cannot catch signals")?;
    let server = Server::bind(settings.listen, Limits::default(), seen_web, seen).await;
    let server = server.map_err(|error| {
        let what = cannot_listen(settings.listen, &error);
        anyhow!(error).context(what)
    })?;
    let (address, scheme) = (server.address()?, if web.borrow().tls.is_some() { "https" } else { "http" });
    // Only root may be able to read the files of headers, and the capabilities are dropped soon.
    let identity = identity(started_at);
    let pushes = otlp::options(&settings.otlp, &identity)?;
    let folder = history::folder(&settings.history)?;
    let mut session = start(&settings, kernel).await?;
    let (metrics, latest) = watch::channel(Arc::default());
    let history = History::start(folder, run_facts(&session, &settings), started(&session))?;
    let mut agent = Agent {
        collector: Collector::new(facts(&session, started_at), settings.series_settings()),
        work: Work::default(),
        read_at: None,
        kernel: Arc::clone(kernel),
        tally: server.tally(),
        args,
        settings,
        web,
        exposition,
        identity,
        readers: Arc::default(),
        hangup,
        files: None,
        read_again: false,
        metrics,
        pushing: Pushing::new(latest),
        history,
        supervisor: Supervisor::of_this_process(),
    };
    agent.read(&mut session);
    agent.pushing.follow(pushes)?;
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { _ = ended.await }));
    let title = listen::title(session.backend());
    let status = format!("serving the drops of this host at {scheme}://{address}/metrics ({title})");
    say("droptrace", format_args!("{status}; Ctrl-C ends"));
    agent.supervisor.ready(&status, agent.settings.interval);
    session.warn_of_hidden_addresses();
    session.warn_of_unknown_owners();
    let followed = follow(&mut session, &mut stop, &mut agent).await;
    agent.supervisor.stopping();
    drop(end);
    let stopped = session.stop(&mut agent).await;
    serving.await.context("the HTTP server failed")?;
    agent.read(&mut session);
    agent.history.stop();
    agent.pushing.stop();
    followed.and(stopped)
}

/// Starts the session, with events if they are to be pushed or kept. If the session cannot start with events, it starts without
/// them.
async fn start(settings: &Settings, kernel: &Arc<RunningKernel>) -> Result<Session> {
    let common = settings.common();
    let owners = WantedOwners { cgroups: settings.has_owners(), ..WantedOwners::default() };
    let options = |events| {
        let options = listen::options(&common, events, kernel)?;
        let counters = options.counters.map(|_| Pace::endless(settings.interval));
        anyhow::Ok(run::Options { owners, counters, ..options })
    };
    if let Some(events) = otlp::events(&settings.otlp) {
        match Session::start(&options(Some(events))?).await {
            Ok(session) => return Ok(session),
            Err(error) => tracing::warn!("--otlp-logs: no drops are pushed as logs: {error:#}"),
        }
    }
    // A sample of single drops, if the backend has them.
    let kept = settings.history.history.as_ref().map(|_| SAMPLED_PACKETS);
    Session::start(&run::Options { need: EventNeed::Welcome, ..options(kept)? }).await
}

/// The facts of the run for its history.
fn run_facts(session: &Session, settings: &Settings) -> RunFacts {
    RunFacts {
        host: session.host().clone(),
        boot: boot_id().unwrap_or_default(),
        started_at: session.started_at(),
        home_netns: netns::own().unwrap_or(0),
        selection: settings.selection(),
        has_owners: settings.has_owners(),
    }
}

/// The moment at which the session started.
fn started(session: &Session) -> Moment {
    Moment { real: session.started_at(), boot: boot_time().saturating_sub(session.duration()) }
}

/// The message for a listener that cannot start, with what to do.
fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let way_out = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(" (ports below 1024 need CAP_NET_BIND_SERVICE; the default is {DEFAULT_PORT})")
        }
        io::ErrorKind::AddrInUse => " (`ss -ltnp` shows which process does)".into(),
        io::ErrorKind::AddrNotAvailable => " (`ip address` lists the addresses of this host)".into(),
        _ => String::new(),
    };
    format!("--listen {address}: cannot listen on this address{way_out}")
}

fn facts(session: &Session, started_at: Timestamp) -> Facts {
    Facts {
        host: session.host().clone(),
        machine: snapshot::machine(),
        build_id: build_id::of_the_kernel(),
        own_netns: netns::own().unwrap_or(0),
        unavailable: session.unavailable().clone(),
        started_at,
    }
}

/// The state of the running agent.
struct Agent<'a> {
    args: &'a AgentArgs,
    settings: Settings,
    collector: Collector,
    work: Work,
    /// Time of the last reading of the totals.
    read_at: Option<Instant>,
    kernel: Arc<RunningKernel>,
    tally: Arc<Tally>,
    web: watch::Sender<WebConfig>,
    exposition: watch::Sender<Option<Arc<Exposition>>>,
    identity: Identity,
    metrics: watch::Sender<Arc<Metrics>>,
    pushing: Pushing,
    history: History,
    supervisor: Supervisor,
    /// Each thread that reads the files holds a clone of this value.
    readers: Arc<()>,
    /// Triggers a reload of the files.
    hangup: Signal,
    /// Receives the result of the running reload.
    files: Option<oneshot::Receiver<Result<Reloaded>>>,
    /// Whether the files must be read once more, because a reload was requested while too many were running.
    read_again: bool,
}

impl Consumer for Agent<'_> {
    /// Queues an event for the push, and offers it to the history.
    fn event(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.pushing.offer(event);
        self.history.offer(event)
    }

    fn interval(&self) -> Option<Duration> {
        Some(self.settings.interval)
    }

    fn tick(&mut self, session: &mut Session) -> Result<()> {
        self.read(session);
        self.supervisor.alive();
        Ok(())
    }

    async fn other(&mut self) {
        tokio::select! {
            biased;
            // A reading that does not return, because its file system hangs, does not block later ones.
            _ = self.hangup.recv() => self.start_reading(),
            read = answer(&mut self.files) => {
                self.files = None;
                self.reload(read);
                if std::mem::take(&mut self.read_again) {
                    self.start_reading();
                }
            }
        }
    }
}

impl Agent<'_> {
    /// Reads the totals and publishes them. The first of several failures in a row is logged, and all are counted.
    fn read(&mut self, session: &mut Session) {
        let started = Instant::now();
        match self.collector.read(session) {
            Ok(report) => {
                self.history.take(report);
                self.work.reads += 1;
                self.work.last_read = Clock::now();
                self.read_at = Some(started);
            }
            Err(error) => {
                if self.work.failed_reads == 0 {
                    tracing::warn!("cannot read the totals (droptrace_reads_total counts this): {error:#}");
                }
                self.work.failed_reads += 1;
            }
        }
        self.work.read_duration = started.elapsed();
        let mut metrics = self.collector.metrics(&self.work);
        metrics.families.extend(self.tally.families());
        metrics.families.extend(self.pushing.families());
        metrics.families.extend(self.history.families());
        self.publish(&Arc::new(metrics));
    }

    fn publish(&mut self, metrics: &Arc<Metrics>) {
        let started = Instant::now();
        let stale_at = self.read_at.map(|at| at + self.settings.interval * STALE_AFTER);
        _ = self.metrics.send(Arc::clone(metrics));
        match Exposition::new(metrics, stale_at) {
            Ok(exposition) => _ = self.exposition.send(Some(Arc::new(exposition))),
            Err(error) => tracing::warn!("cannot encode the metrics: {error}"),
        }
        self.work.encode_duration = started.elapsed();
    }

    /// Reads the files again, on a separate thread: a file system that hangs delays neither a scrape nor the end.
    fn start_reading(&mut self) {
        if Arc::strong_count(&self.readers) > MOST_READERS {
            // The files may change after the running reloads have read them.
            self.read_again = true;
            return;
        }
        self.supervisor.reloading();
        let (args, before, identity) = (self.args.clone(), self.settings.clone(), self.identity.clone());
        let (web, kernel) = (self.web.borrow().clone(), Arc::clone(&self.kernel));
        let (sender, receiver) = oneshot::channel();
        let counted = Arc::clone(&self.readers);
        let read = move || {
            let result = reloaded(&args, &kernel, (&before, &web), &identity);
            // Before the result: who has it may start the next reading.
            drop(counted);
            // Nobody receives the result if a later reload was requested.
            _ = sender.send(result);
        };
        if let Err(error) = std::thread::Builder::new().spawn(read) {
            tracing::warn!("reload failed: cannot start a thread to read the files: {error}");
        }
        self.files = Some(receiver);
    }

    /// Applies the new content of the files, or none of it if a part is invalid.
    fn reload(&mut self, read: Result<Reloaded>) {
        match read {
            Ok((settings, web, pushes)) => {
                self.settings = settings;
                _ = self.web.send(web);
                if let Err(error) = self.pushing.follow(pushes) {
                    tracing::warn!("pushing has stopped: {error:#}");
                }
                say("droptrace", "reloaded the files");
            }
            Err(error) => tracing::warn!("reload failed, keeping the previous configuration: {error:#}"),
        }
        self.supervisor.reloaded(self.settings.interval);
    }
}

/// The content of the files.
type Reloaded = (Settings, WebConfig, Option<Options>);

/// Waits for the result of the running reload; never returns without one.
async fn answer(reading: &mut Option<oneshot::Receiver<Result<Reloaded>>>) -> Result<Reloaded> {
    match reading {
        Some(receiver) => receiver.await.unwrap_or_else(|_| Err(anyhow!("the files were not read"))),
        None => std::future::pending().await,
    }
}

/// Reads the files of the previous settings again.
fn reloaded(
    args: &AgentArgs,
    kernel: &RunningKernel,
    (before, web_before): (&Settings, &WebConfig),
    identity: &Identity,
) -> Result<Reloaded> {
    let settings = Settings::of(args)?;
    if settings.has_other_filter(before) {
        settings.check_names(args, kernel)?;
    }
    let fixed = settings.fixed(before);
    if !fixed.is_empty() {
        tracing::warn!("changed, but takes effect only after a restart of droptrace: {}", fixed.join(", "));
    }
    let settings = before.reloaded(settings);
    let web = settings.web()?;
    if let Some(section) = web.lost_since(web_before) {
        bail!("{section} is missing, which would let others read the metrics; restart droptrace if that is intended");
    }
    let pushes = otlp::options(&settings.otlp, identity)?;
    Ok((settings, web, pushes))
}
