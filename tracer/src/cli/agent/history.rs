//! The history that the agent keeps on disk. A thread of its own writes, so that a slow or hanging file system delays neither a
//! reading nor a scrape. Totals rise from the start of the run, so that a reading which finds the thread busy is left out, and
//! the next one has its drops as well.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant as Elapsed};

use anyhow::{Context as _, Result, ensure};

use crate::backend::history::Folder;
use crate::cli::args::HistoryOptions;
use crate::domain::event::{DropEvent, Timestamp};
use crate::domain::report::StatReport;
use crate::kernel::clock::{Clock, boot_time};
use crate::metrics::model::{Family, Kind, Sample, Value};
use crate::outside::say;
use crate::pipeline::delta::Reading;
use crate::sink::history::{Instant, Kept, Moment, Recorder, RunFacts};

/// Time limit of the last interval at the end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time between two tries to give the last interval to a busy thread.
const PAUSE: Duration = Duration::from_millis(10);

/// Opens the folder, if there is to be a history.
pub(super) fn folder(options: &HistoryOptions) -> Result<Option<Folder>> {
    let Some(path) = &options.history else {
        let limit =
            [("--history-size", options.history_size.is_some()), ("--history-age", options.history_age.is_some())];
        let given = limit.into_iter().find(|(_, is_given)| *is_given);
        ensure!(given.is_none(), "{} without --history", given.map_or("", |(name, _)| name));
        return Ok(None);
    };
    Folder::open(path, options.limits()).map(Some).context("--history")
}

/// The present moment.
pub(super) fn now() -> Instant {
    Instant { real: Clock::now(), boot: boot_time() }
}

/// A history that is being written; without a folder it does nothing.
pub(super) struct History {
    running: Option<Running>,
}

struct Running {
    moments: SyncSender<(Moment, Kept)>,
    ended: Receiver<()>,
    kept: Kept,
    counts: Arc<Counts>,
}

impl History {
    /// Starts to write to a folder, if there is one. The totals of the run were zero at `since`.
    pub(super) fn start(folder: Option<Folder>, facts: RunFacts, since: Instant) -> Result<Self> {
        let Some(folder) = folder else { return Ok(Self { running: None }) };
        let counts = Arc::<Counts>::default();
        let (moments, receiver) = sync_channel(1);
        let (end, ended) = channel();
        let path = folder.path().display().to_string();
        let mut writer = Writer {
            recorder: Recorder::new(folder, facts, since),
            pending: Kept::default(),
            counts: Arc::clone(&counts),
            path,
        };
        let write = move || {
            while let Ok((moment, kept)) = receiver.recv() {
                writer.write(&moment, kept);
            }
            // Nobody waits if it took too long.
            _ = end.send(());
        };
        thread::Builder::new().name("history".into()).spawn(write).context("cannot start a thread for the history")?;
        Ok(Self { running: Some(Running { moments, ended, kept: Kept::default(), counts }) })
    }

    /// Keeps a single drop if its row is one that healthy hosts never have.
    pub(super) fn offer(&mut self, event: &DropEvent<'_>) -> io::Result<()> {
        self.running.as_mut().map_or(Ok(()), |running| running.kept.add(event))
    }

    /// Takes the totals of a reading.
    pub(super) fn take(&mut self, report: StatReport) {
        let Some(running) = &mut self.running else { return };
        let StatReport { drops, overflow, sources, is_final, .. } = report;
        let moment = Moment { reading: Reading::new(drops, overflow, sources), at: now(), is_last: is_final };
        running.give(moment, Elapsed::now() + if is_final { PATIENCE } else { Duration::ZERO });
    }

    /// The metrics of the history; none if there is no history.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + use<> {
        self.running.as_ref().map(|running| running.counts.families()).into_iter().flatten()
    }

    /// Waits until the last interval is written.
    pub(super) fn stop(self) {
        let Some(Running { moments, ended, .. }) = self.running else { return };
        drop(moments);
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("writing the last interval of the history takes longer than {PATIENCE:?}, and is abandoned");
        }
    }
}

impl Running {
    /// Gives a reading to the thread, or leaves it out if the thread stays busy.
    fn give(&mut self, moment: Moment, deadline: Elapsed) {
        let mut given = (moment, std::mem::take(&mut self.kept));
        loop {
            given = match self.moments.try_send(given) {
                Ok(()) => return,
                Err(TrySendError::Full(given) | TrySendError::Disconnected(given)) => given,
            };
            if Elapsed::now() >= deadline {
                break;
            }
            thread::sleep(PAUSE);
        }
        // The next reading has these drops, too.
        self.kept = given.1;
        self.counts.late.fetch_add(1, Ordering::Relaxed);
    }
}

/// The state of the thread.
struct Writer {
    recorder: Recorder,
    /// The single drops of intervals that could not be written.
    pending: Kept,
    counts: Arc<Counts>,
    path: String,
}

impl Writer {
    /// Writes an interval. The first of several failures in a row is logged, and all are counted.
    fn write(&mut self, moment: &Moment, kept: Kept) {
        if self.pending.is_empty() {
            self.pending = kept;
        } else {
            self.pending.append(&kept);
        }
        let counts = &self.counts;
        match self.recorder.write(moment, &self.pending) {
            Ok(written) => {
                self.pending = Kept::default();
                counts.ok.fetch_add(1, Ordering::Relaxed);
                counts.bytes.store(written.files, Ordering::Relaxed);
                *counts.last.write().unwrap_or_else(PoisonError::into_inner) = Some(moment.at.real);
                if counts.is_failing.swap(false, Ordering::Relaxed) {
                    say("droptrace", "the history is written again, and has the drops of the meantime");
                }
            }
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                if !counts.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "cannot write to the history in {}: {error}; the next interval that can be written has these drops, too \
                         (droptrace_history_failing says so)",
                        self.path
                    );
                }
            }
        }
    }
}

/// The counts of a history.
#[derive(Default)]
struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    bytes: AtomicU64,
    is_failing: AtomicBool,
    /// The time of the last interval that was written.
    last: RwLock<Option<Timestamp>>,
}

impl Counts {
    fn families(&self) -> Vec<Family> {
        let result = |name, count: &AtomicU64| Sample::new([("result", name)], count.load(Ordering::Relaxed));
        let gauge = |name, help, unit, value: Value| Family {
            name,
            help,
            unit,
            kind: Kind::Gauge,
            samples: vec![Sample { labels: vec![], value }],
        };
        let last = *self.last.read().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::cast_precision_loss, reason = "a time with parts of a second is no count")]
        let last = last.map(|time| Value::Real(time.0 as f64 / 1e9));
        let writes = Family {
            name: "droptrace_history_writes",
            help: "Intervals of the history on disk: written (ok), not written so that the next one has their drops, too (failed), \
                   or left to the next one because writing was still going on (late)",
            unit: None,
            kind: Kind::Counter,
            samples: vec![result("ok", &self.ok), result("failed", &self.failed), result("late", &self.late)],
        };
        let failing = u64::from(self.is_failing.load(Ordering::Relaxed));
        let families = [
            Some(writes),
            Some(gauge(
                "droptrace_history_failing",
                "1 if the last interval of the history could not be written, else 0",
                None,
                failing.into(),
            )),
            Some(gauge(
                "droptrace_history",
                "Size of all files of the history",
                Some("bytes"),
                self.bytes.load(Ordering::Relaxed).into(),
            )),
            last.map(|time| {
                gauge(
                    "droptrace_history_last_write_timestamp",
                    "Time of the last reading that is in the history, in seconds since the epoch",
                    Some("seconds"),
                    time,
                )
            }),
        ];
        families.into_iter().flatten().collect()
    }
}
