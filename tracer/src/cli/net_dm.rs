//! `stat` and `trace` by the kernel's drop monitor.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::{MissedTickBehavior, interval_at};

use super::args::{CommonArgs, StatArgs, TraceArgs, Updates};
use super::output::Output;
use super::session::{self, Stop};
use super::{sinks, target};
use crate::event::Timestamp;
use crate::kernel::btf::KernelBtf;
use crate::kernel::reasons::ReasonNames;
use crate::kernel::{clock::Clock, netns, own_netlink, privileges};
use crate::pipeline::normalise::Normaliser;
use crate::report::{Host, StatReport};
use crate::sink::{DropSink, StatSink};
use crate::source::net_dm::{AlertMode, Error, Heard, NetDmSource, Options, Wake};

/// Alerts between two looks at what ends the run.
const BATCH: usize = 4096;

/// Counts until the end, showing the totals as asked for.
pub(super) async fn stat(args: &StatArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let updates = args.updates(output.is_terminal());
    let mut sink = sinks::stat(args, output, netns::own().unwrap_or(0));
    let mut stop = Stop::new(args.common.duration)?;
    let mut run = Run::start(&args.common, 1).await?;
    stop.start_clock();
    eprintln!("droptrace: counting drops (net_dm, {}); Ctrl-C ends", run.source.mode().name());
    let interval = match updates {
        Updates::Every(interval) => interval,
        // Far beyond any run; the end shows the totals.
        Updates::AtEnd => Duration::from_secs(1 << 30),
    };
    let ended = count(&mut run, &mut stop, interval, &mut *sink).await;
    // What was counted is shown however the run ended.
    let stopped = run.source.stop(|_| Ok::<_, io::Error>(())).await;
    sink.report(&run.report(true))?;
    run.warn_of_hidden_addresses();
    ended?;
    Ok(stopped??)
}

async fn count(run: &mut Run, stop: &mut Stop, interval: Duration, sink: &mut dyn StatSink) -> Result<()> {
    let mut ticks = interval_at(tokio::time::Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let wake = tokio::select! {
            biased;
            () = stop.wait() => return Ok(()),
            _ = ticks.tick() => {
                sink.report(&run.report(false))?;
                continue;
            }
            wake = run.source.ready() => wake?,
        };
        run.follow(wake, |_, _| Ok(())).await?;
    }
}

/// Shows drops until the end, then the account.
pub(super) async fn trace(args: &TraceArgs) -> Result<()> {
    let output = Output::open(args.common.output.as_deref())?;
    let mut sink = sinks::trace(args, output, netns::own().unwrap_or_default());
    let mut stop = Stop::new(args.common.duration)?;
    let mut run = Run::start(&args.common, args.snaplen).await?;
    if run.source.mode() == AlertMode::Summary {
        let (found, wanted) = (AlertMode::Summary.name(), AlertMode::Packet.name());
        return Err(Error::OthersMode { found, wanted }.into());
    }
    stop.start_clock();
    eprintln!("droptrace: tracing drops (net_dm, {}); Ctrl-C ends", run.source.mode().name());
    sink.start(&run.host, run.started_at)?;
    let mut left = args.count.map_or(u64::MAX, Into::into);
    let ended = follow(&mut run, &mut stop, &mut left, &mut *sink).await;
    let Run { source, normaliser, .. } = &mut run;
    let stopped = source.stop(|heard| show(&mut left, normaliser, heard, &mut *sink)).await;
    sink.finish(&[run.source.report()])?;
    run.warn_of_hidden_addresses();
    ended?;
    Ok(stopped??)
}

async fn follow(run: &mut Run, stop: &mut Stop, left: &mut u64, sink: &mut dyn DropSink) -> Result<()> {
    while *left > 0 {
        let wake = tokio::select! {
            biased;
            () = stop.wait() => break,
            wake = run.source.ready() => wake?,
        };
        run.follow(wake, |names, heard| show(left, names, heard, sink)).await?;
        sink.flush()?;
    }
    Ok(())
}

/// Shows a drop unless enough were shown; the ledger has it all the same.
fn show(left: &mut u64, names: &mut Normaliser, heard: &Heard<'_>, sink: &mut dyn DropSink) -> io::Result<()> {
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    names.told_event(heard, |event| sink.event(event))
}

/// A source that listens, and what its numbers mean.
struct Run {
    source: NetDmSource,
    normaliser: Normaliser,
    host: Host,
    started_at: Timestamp,
    started: Instant,
}

impl Run {
    /// Starts to listen, and drops the rights that are needed no more.
    async fn start(args: &CommonArgs, snaplen: u32) -> Result<Self> {
        if args.netns.is_some() {
            bail!("--netns: the drop monitor does not tell network namespaces; --source ebpf does");
        }
        let ifindex = target::resolve(args)?.ifindex;
        let mode = AlertMode::from(args.net_dm_mode);
        if ifindex != 0 && mode == AlertMode::Summary {
            bail!("--interface: the drop monitor does not tell interfaces in summary mode; in packet mode it does");
        }
        let places = usize::try_from(args.map_entries)?;
        // 0 would ask for whole packets.
        let options = Options { mode, snaplen: snaplen.max(1), places, ifindex, ..Options::default() };
        let source = NetDmSource::start(&options).await?;
        let (started_at, started) = (Clock::now(), Instant::now());
        if let Err(error) = privileges::drop_unneeded(privileges::NET_DM) {
            tracing::warn!("cannot drop rights that are needed no more: {error}");
        }
        let reasons = KernelBtf::load().map_or_else(|_| ReasonNames::without_types(), |btf| ReasonNames::load(&btf));
        Ok(Self { source, normaliser: Normaliser::new(reasons), host: session::host(), started_at, started })
    }

    /// Does what the source woke up for.
    async fn follow(
        &mut self,
        wake: Wake,
        mut show: impl FnMut(&mut Normaliser, &Heard<'_>) -> io::Result<()>,
    ) -> Result<()> {
        match wake {
            Wake::Alerts => {
                let Self { source, normaliser, .. } = self;
                source.drain(BATCH, |heard| show(normaliser, heard))??;
            }
            Wake::CheckDue => {
                self.source.check().await?;
            }
        }
        Ok(())
    }

    fn report(&mut self, is_final: bool) -> StatReport {
        let totals = self.source.totals();
        StatReport {
            host: self.host.clone(),
            started_at: self.started_at,
            duration: self.started.elapsed(),
            is_final,
            sources: vec![self.source.report()],
            drops: self.normaliser.told_totals(totals),
            overflow: self.normaliser.told_overflow(totals),
            own_netlink_drops: own_netlink::drops().ok(),
        }
    }

    /// Says once that places have no names, and why.
    fn warn_of_hidden_addresses(&self) {
        session::warn_of_hidden_addresses(&self.normaliser);
    }
}
