//! The thread that pushes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Endpoint, encode};
use super::counts::{Counts, Signal};
use super::identity::Identity;
use super::lane::Lane;
use super::queue::Queue;
use super::{message, record};
use crate::domain::event::DropEvent;
use crate::kernel::clock::Clock;
use crate::metrics::model::Metrics;

/// The interval at which the thread checks for records.
const LOGS_INTERVAL: Duration = Duration::from_secs(1);
/// The most records in one request.
const BATCH: usize = 512;
/// The most requests of records in a row, so that metrics are pushed in between.
const BATCHES: usize = 8;

/// The endpoints and intervals of pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The identity of the agent.
    pub(crate) identity: Identity,
    /// The endpoint of metrics.
    pub(crate) metrics: Option<Endpoint>,
    /// The endpoint of log records.
    pub(crate) logs: Option<Endpoint>,
    /// The interval between pushes of metrics.
    pub(crate) interval: Duration,
    /// Time limit of a push.
    pub(crate) timeout: Duration,
}

/// Pushes that continue until [`Push::stop`].
pub(crate) struct Push {
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    has_logs: bool,
    ended: Receiver<()>,
}

impl Push {
    /// Starts to push the metrics of `latest`, and counts the results.
    pub(crate) fn start(
        options: Options,
        counts: Arc<Counts>,
        latest: impl Fn() -> Arc<Metrics> + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let has_logs = options.logs.is_some();
        let (alive, ended) = sync_channel(0);
        let pusher = Pusher::new(options, &counts, Arc::clone(&queue), Box::new(latest));
        thread::Builder::new().name("droptrace-otlp".into()).spawn(move || pusher.run(alive))?;
        Ok(Self { queue, counts, has_logs, ended })
    }

    /// Queues a drop for a push; counts it as lost if there is no room.
    pub(crate) fn offer(&self, event: &DropEvent<'_>) {
        if self.has_logs && !self.queue.offer(|| record::record(event, Clock::now())) {
            self.counts.add_lost(Signal::Logs, 1);
        }
    }

    /// Pushes the remaining data within this time; an endpoint that failed before is not tried again. If the value is
    /// only dropped, the thread does so without a caller that waits.
    pub(crate) fn stop(self, patience: Duration) {
        self.queue.stop();
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last push takes longer than {patience:?}, and is abandoned");
        }
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

struct Pusher {
    identity: Identity,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    latest: Box<dyn Fn() -> Arc<Metrics> + Send>,
    metrics: Option<Lane>,
    logs: Option<Lane>,
    /// Records that were sent and may be sent again.
    in_hand: Option<Batch>,
}

/// An encoded batch of records.
struct Batch {
    body: Vec<u8>,
    records: u64,
}

impl Pusher {
    fn new(
        options: Options,
        counts: &Arc<Counts>,
        queue: Arc<Queue>,
        latest: Box<dyn Fn() -> Arc<Metrics> + Send>,
    ) -> Self {
        let Options { identity, metrics, logs, interval, timeout } = options;
        let now = Instant::now();
        let lane = |endpoint: Endpoint, signal, interval: Duration, due| {
            let client = Client::new(&endpoint, signal, timeout, interval.saturating_mul(2));
            Lane::new(signal, client, Arc::clone(counts), interval, due)
        };
        let first = now.checked_add(interval).unwrap_or(now);
        Self {
            identity,
            queue,
            counts: Arc::clone(counts),
            latest,
            metrics: metrics.map(|endpoint| lane(endpoint, Signal::Metrics, interval, first)),
            logs: logs.map(|endpoint| lane(endpoint, Signal::Logs, LOGS_INTERVAL, now)),
            in_hand: None,
        }
    }

    /// `_alive` is dropped when the thread ends, which the other side notices.
    fn run(mut self, _alive: SyncSender<()>) {
        loop {
            let due = [&self.metrics, &self.logs].into_iter().flatten().map(Lane::due).min();
            let Some(due) = due else { return };
            let is_last = self.queue.wait(due);
            let now = Instant::now();
            let wants = |lane: &Lane| if is_last { !lane.is_failing() } else { lane.due() <= now };
            if self.metrics.as_ref().is_some_and(wants) {
                self.push_metrics();
            }
            if self.logs.as_ref().is_some_and(wants) {
                self.push_logs();
            }
            if is_last {
                return self.log_undelivered();
            }
        }
    }

    fn push_metrics(&mut self) {
        let Some(lane) = &mut self.metrics else { return };
        let metrics = (self.latest)();
        let body = encode(&message::request(&metrics, &self.identity, Clock::now()));
        match body {
            Ok(body) if !metrics.families.is_empty() => _ = lane.push(&body),
            _ => lane.skip(),
        }
    }

    fn push_logs(&mut self) {
        let Some(lane) = &mut self.logs else { return };
        for _ in 0..BATCHES {
            let Some(batch) = self.in_hand.take().or_else(|| next_batch(&self.queue, &self.identity)) else {
                return lane.skip();
            };
            let verdict = lane.push(&batch.body);
            if verdict.is_delivered() {
                continue;
            }
            if verdict.again {
                self.in_hand = Some(batch);
            } else {
                self.counts.add_lost(Signal::Logs, batch.records);
            }
            return;
        }
    }

    fn log_undelivered(self) {
        let in_hand = self.in_hand.map_or(0, |batch| batch.records);
        let undelivered = in_hand + self.queue.len() as u64;
        if undelivered > 0 {
            self.counts.add_lost(Signal::Logs, undelivered);
            tracing::warn!("{undelivered} log records were not delivered");
        }
    }
}

/// The oldest queued records, if there are any.
fn next_batch(queue: &Queue, identity: &Identity) -> Option<Batch> {
    let records = queue.take(BATCH);
    let count = records.len() as u64;
    if count == 0 {
        return None;
    }
    let body = encode(&record::request(records, identity)).ok()?;
    Some(Batch { body, records: count })
}
