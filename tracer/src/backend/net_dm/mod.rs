//! The `NET_DM` source: the kernel's own drop monitor, over generic netlink.
//!
//! The host has one drop monitor. When another process runs it, this source receives its alerts and changes nothing.
//! Settings that this source changes, it restores.

mod attribute;
mod control;
mod error;
mod filter;
mod message;
mod request;
mod session;
mod state;
mod stream;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

pub use attribute::Attribute;
pub use error::Error;
pub(crate) use filter::unanswered;
pub use message::{Message, PacketAlert, Skipped, Stats, SummaryAlert};
pub use request::{AlertMode, Config, Drops, FAMILY, GROUP, Request};
pub(crate) use session::Repair;
pub use session::{Change, Owner};
pub use stream::Report;
pub use totals::{Cause, Count, Key, Overflow, Totals};

use crate::backend::batch::Batch;
use crate::domain::ledger::{Ledger, NetDmLedger};
use crate::domain::report::SourceReport;
use crate::filter::Filter;
use crate::netlink::{Connection, Socket};
use control::Control;
use session::Session;
use state::NoteFile;
use stream::Stream;

/// Interval of the checks of the monitor. A STOP by another process stays unnoticed for at most this time.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A summary is sent a second after its first hit (`dm_delay`), by a timer and a work queue.
const SUMMARY_DELAY: Duration = Duration::from_millis(1200);

/// Packets that wait in the kernel's queue are sent at once, by a work queue.
const PACKET_DELAY: Duration = Duration::from_millis(100);

/// Packets that may wait, per CPU. The kernel's default is 1000; an odd number also distinguishes droptrace's monitor
/// from another process's.
const QUEUE_LEN: u32 = 8191;

/// Options of the source.
#[derive(Clone, Debug)]
pub struct Options {
    /// The alert mode.
    pub mode: AlertMode,
    /// Report hardware drops too, if devlink knows a device at the start.
    pub hardware: bool,
    /// Leading bytes of each packet; 0 for all of them.
    pub snaplen: u32,
    /// Number of aggregation keys; drops of further keys are counted by cause.
    pub keys: usize,
    /// Count only packets that came in through this interface; 0 for all. Packet mode only.
    pub ifindex: u32,
    /// Count only packets that match; absent for all. Packet mode only.
    pub filter: Option<Arc<Filter>>,
    /// Bytes of the socket's receive buffer.
    pub receive_buffer: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: AlertMode::Packet,
            hardware: true,
            snaplen: 128,
            keys: 8192,
            ifindex: 0,
            filter: None,
            receive_buffer: 32 << 20,
        }
    }
}

impl Options {
    /// Leading bytes of each packet that the drop monitor sends; 0 for all of them.
    fn captured(&self) -> u32 {
        let asks_packet = self.filter.as_ref().is_some_and(|filter| filter.asks_packet());
        if asks_packet && self.snaplen != 0 { self.snaplen.max(filter::SEEN) } else { self.snaplen }
    }
}

/// Number of devices that devlink knows, each of which may report its drops.
pub(crate) async fn devlink_devices() -> Result<usize, Error> {
    control::devlink_devices(&mut Connection::open()?).await
}

/// Restores the monitor after a run of droptrace was killed.
pub(crate) async fn repair() -> Result<Repair, Error> {
    session::repair_left(&NoteFile::default()).await
}

/// The reason why a running source wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Alerts may be there: [`NetDmSource::read`].
    Alerts,
    /// A second has passed: [`NetDmSource::check`].
    CheckDue,
}

/// The running source.
pub struct NetDmSource {
    session: Session,
    stream: Stream,
    checks: Interval,
    /// Losses before the start.
    baseline: Stats,
    tail_drops: Option<u64>,
    interruptions: u64,
}

/// State of the host's one drop monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No process runs the monitor.
    Unused,
    /// Another process runs the monitor, in this mode.
    InUse(AlertMode),
    /// A killed run of droptrace left the monitor on, or its settings changed.
    Left {
        /// The monitor still runs, or runs again.
        is_running: bool,
    },
}

impl NetDmSource {
    /// Starts the monitor, or subscribes to the one that runs. The caller must be within a tokio runtime.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let mut control = Control::open().await?;
        let socket = Socket::open()?;
        match socket.set_receive_buffer(options.receive_buffer) {
            Ok(bytes) => tracing::debug!("receive buffer of {bytes} bytes"),
            Err(error) => tracing::warn!("the socket keeps its small receive buffer: {error}"),
        }
        control.join(&socket)?;
        let wanted = Config { mode: options.mode, trunc_len: options.captured(), queue_len: QUEUE_LEN };
        let hardware = options.hardware && control.has_devices().await;
        let drops = Drops { software: true, hardware };
        let mut session = Session::begin(control, wanted, drops, NoteFile::default()).await?;
        if session.owner() == Owner::Others {
            tracing::warn!(
                "another process runs the drop monitor, in {} mode: droptrace receives its messages and changes nothing",
                session.running().mode.name()
            );
        }
        // Almost no packet can have been lost before the first alert could come.
        let baseline = session.stats().await?;
        let mut checks = interval_at(Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stream = Stream::new(socket, options, session.running().trunc_len)?;
        Ok(Self { session, stream, checks, baseline, tail_drops: Some(0), interruptions: 0 })
    }

    /// Whether a source could be started, and which process runs the monitor now. The probe changes nothing.
    pub async fn probe() -> Result<Found, Error> {
        let mut control = Control::open().await?;
        control.join(&Socket::open()?)?;
        let is_running = control.is_running().await?;
        let config = control.config().await?;
        Ok(match session::is_left(&NoteFile::default(), config, is_running) {
            true => Found::Left { is_running },
            false if is_running => Found::InUse(config.mode),
            false => Found::Unused,
        })
    }

    /// The present alert mode: another process may run the monitor in another mode than the caller asked for.
    pub const fn mode(&self) -> AlertMode {
        self.session.running().mode
    }

    /// The process that runs the monitor.
    pub const fn owner(&self) -> Owner {
        self.session.owner()
    }

    /// The kinds of drops that this process started; both are false where another process runs the monitor.
    pub const fn started(&self) -> Drops {
        self.session.started()
    }

    /// Waits for the next event. The future may be dropped at any time.
    pub(crate) async fn ready(&mut self) -> Result<Wake, Error> {
        tokio::select! {
            biased;
            _ = self.checks.tick() => Ok(Wake::CheckDue),
            ready = self.stream.ready() => ready.map(|()| Wake::Alerts).map_err(Error::from),
        }
    }

    /// Counts about `limit` of the alerts that are there, and adds their packets to `batch`, until it is full.
    pub fn read(&mut self, batch: &mut Batch<Report>, limit: usize) -> Result<(), Error> {
        Ok(self.stream.read(batch, limit)?)
    }

    /// Whether the last [`NetDmSource::read`] ended before it had read all alerts.
    pub(crate) const fn has_more(&self) -> bool {
        self.stream.has_more()
    }

    /// Checks whether another process has stopped the monitor or taken it over.
    pub async fn check(&mut self) -> Result<Option<Change>, Error> {
        let change = match self.session.check(self.stream.socket()).await {
            Err(error) => {
                // The monitor's state is not known, nor the losses.
                self.interruptions += 1;
                return Err(error);
            }
            Ok(change) => change,
        };
        if let Some(change) = change {
            self.interruptions += 1;
            self.stream.fit(self.session.running().trunc_len);
            let mode = self.session.running().mode.name();
            match (change, self.session.owner()) {
                (Change::Restarted, Owner::Ours) => {
                    tracing::warn!(
                        "another process stopped the drop monitor: the monitor runs again; drops in between are not counted"
                    );
                }
                (Change::Reconfigured | Change::Restarted, _) => {
                    tracing::warn!("another process has started the drop monitor again, in {mode} mode");
                }
                (Change::TakenOver, _) => {
                    tracing::warn!("another process stopped the drop monitor and now runs it in {mode} mode");
                }
            }
        }
        self.refresh_stats().await?;
        Ok(change)
    }

    /// Reads the kernel's loss counters, which start anew where the module was loaded again.
    async fn refresh_stats(&mut self) -> Result<(), Error> {
        let stats = self.session.stats().await?;
        let since = |now: u64, before: u64| now.checked_sub(before);
        self.tail_drops = self.tail_drops.and_then(|_| {
            Some(since(stats.software, self.baseline.software)? + since(stats.hardware, self.baseline.hardware)?)
        });
        Ok(())
    }

    /// The totals so far.
    pub const fn totals(&self) -> &Totals {
        self.stream.totals()
    }

    /// The ledger; the state of the kernel's queue is as of the last [`NetDmSource::check`].
    pub fn ledger(&self) -> NetDmLedger {
        NetDmLedger {
            counts_losses: self.mode() == AlertMode::Packet && self.stream.has_packets_only(),
            tail_drops: self.tail_drops,
            interruptions: self.interruptions,
            ..self.stream.ledger()
        }
    }

    /// The ledger with the source's name, for sinks.
    pub fn report(&self) -> SourceReport {
        SourceReport { mode: self.mode().name(), ledger: Ledger::NetDm(self.ledger()), held_back: vec![] }
    }

    /// Time by which the kernel will have reported all drops up to now. Drops until then count as well: those of about
    /// a second in summary mode.
    pub(crate) fn settled_at(&self) -> Instant {
        Instant::now() + if self.mode() == AlertMode::Summary { SUMMARY_DELAY } else { PACKET_DELAY }
    }

    /// Waits for alerts, until `deadline` at most. Returns whether there may be alerts before it.
    pub(crate) async fn ready_before(&self, deadline: Instant) -> Result<bool, Error> {
        // A flood must not delay the end.
        if Instant::now() >= deadline {
            return Ok(false);
        }
        match tokio::time::timeout_at(deadline, self.stream.ready()).await {
            Ok(ready) => Ok(ready.map(|()| true)?),
            Err(_elapsed) => Ok(false),
        }
    }

    /// Stops the monitor if this process started it, and restores its settings. The remaining alerts can still be read.
    pub(crate) async fn stop(&mut self) -> Result<(), Error> {
        self.session.end().await
    }

    /// Reads the kernel's own counts of losses, after which the ledger is final. Call this when all alerts were read.
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.refresh_stats().await
    }
}
