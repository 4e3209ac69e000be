//! Sends the load, and compares the number of drops with the kernel's counters.

use std::collections::BTreeMap;
use std::hint;
use std::io::IoSlice;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::Stopped;
use super::counter::Counter;
use super::cpus;
use super::load::{Lane, Load};
use super::netns::Netns;
use super::spread::Spread;

/// The number of messages in one system call.
pub(super) const BATCH: u64 = 64;
/// The greatest time for the kernel to count the last messages; only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The shortest time for a sleep. Shorter waits spin, because a sleep takes longer.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);

/// One thread for each of its processors, and the messages that they send.
pub(super) struct Generator<'n> {
    netns: &'n Netns,
    threads: Vec<(usize, Vec<Lane>)>,
}

/// The result of sending; all messages were dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) drops: u64,
    /// The time until the last thread finished.
    pub(super) took: Duration,
    /// The nanoseconds of one drop in a thread. This is the median of the thread's turns, so other work of the
    /// processor does not affect it.
    pub(super) ns_per_drop: f64,
}

impl Sent {
    /// The rate in drops per second, of all threads.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(super) fn rate(&self) -> f64 {
        self.drops as f64 / self.took.as_secs_f64()
    }
}

impl<'n> Generator<'n> {
    pub(super) fn new(netns: &'n Netns, load: Load, cpus: &[usize]) -> Result<Self> {
        let lanes = || load.lanes(netns).with_context(|| load.description());
        let threads = cpus.iter().map(|&cpu| Ok((cpu, lanes()?))).collect::<Result<_>>()?;
        Ok(Self { netns, threads })
    }

    /// Sends about `drops` messages in whole batches, at `pace` per second if there is one, and waits until the kernel
    /// has counted all of them.
    ///
    /// # Errors
    /// Fails if the kernel counted another number.
    pub(super) fn send(&self, drops: u64, pace: Option<u64>, stopped: &Stopped) -> Result<Sent> {
        let threads = self.threads.len() as u64;
        let each = drops.div_ceil(threads).next_multiple_of(BATCH);
        // The pace is that of all lanes together.
        let lanes = self.threads.iter().map(|(_, lanes)| lanes.len() as u64).sum::<u64>();
        let interval = pace.map(|pace| Duration::from_nanos(1_000_000_000 * BATCH * lanes / pace.max(1)));
        let before = self.counted()?;
        let start = Barrier::new(self.threads.len());
        let results: Vec<_> = thread::scope(|scope| {
            let send = |cpu: usize, lanes| {
                let start = &start;
                scope.spawn(move || {
                    let pinned = cpus::stay_on(&[cpu]);
                    let mut batches = Batches { lanes, left: each, interval };
                    let sent = batches.send(start, stopped);
                    pinned.and(sent)
                })
            };
            let running: Vec<_> = self.threads.iter().map(|(cpu, lanes)| send(*cpu, lanes)).collect();
            running.into_iter().map(|it| it.join().map_err(|_| anyhow!("a sender panicked"))?).collect()
        });
        let done = results.into_iter().collect::<Result<Vec<_>>>()?;
        self.check(&before, each)?;
        let took = done.iter().map(|it| it.took).max().unwrap_or_default();
        let sum: f64 = done.iter().map(|it| it.ns_per_drop).sum();
        #[expect(clippy::cast_precision_loss, reason = "a few threads")]
        let ns_per_drop = sum / threads as f64;
        Ok(Sent { drops: each * threads, took, ns_per_drop })
    }

    /// The kernel's counters so far.
    fn counted(&self) -> Result<BTreeMap<Counter, u64>> {
        let counters = self.threads.iter().flat_map(|(_, lanes)| lanes).map(|lane| lane.counter);
        let distinct: std::collections::BTreeSet<_> = counters.collect();
        distinct.into_iter().map(|counter| Ok((counter, counter.read(self.netns)?))).collect()
    }

    /// Waits until the kernel has counted the messages; `each` is the number of messages of each thread.
    fn check(&self, before: &BTreeMap<Counter, u64>, each: u64) -> Result<()> {
        let sent = each * self.threads.len() as u64;
        let started = Instant::now();
        loop {
            let now = self.counted()?;
            let counted: u64 = now.iter().map(|(counter, value)| value - before[counter]).sum();
            if counted == sent {
                return Ok(());
            }
            ensure!(counted < sent, "{sent} were sent, but the kernel counts {counted} drops: {before:?} to {now:?}");
            ensure!(
                started.elapsed() < PATIENCE,
                "{sent} were sent, but the kernel counts only {counted} drops: {before:?} to {now:?}"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The batches that one thread sends, in turn from its lanes.
struct Batches<'l> {
    lanes: &'l [Lane],
    left: u64,
    /// The time from one turn to the next; `None` if the generator is not limited.
    interval: Option<Duration>,
}

/// The result of one thread.
struct Done {
    took: Duration,
    ns_per_drop: f64,
}

impl Batches<'_> {
    fn send(&mut self, start: &Barrier, stopped: &Stopped) -> Result<Done> {
        let slices: Vec<Vec<_>> = self.lanes.iter().map(slices).collect();
        let mut control: Vec<Vec<_>> =
            slices.iter().map(|slices| slices.iter().map(|_| SendAncillaryBuffer::default()).collect()).collect();
        let mut lanes: Vec<_> = self.lanes.iter().zip(&slices).zip(&mut control).map(Sender::new).collect();
        let mut turns = vec![];
        start.wait();
        let (started, mut due) = (Instant::now(), Duration::ZERO);
        while self.left > 0 {
            if stopped.is_set() {
                bail!(super::Interrupted);
            }
            if let Some(interval) = self.interval {
                wait_until(started, due);
                due += interval;
            }
            let (turn, left) = (Instant::now(), self.left);
            for lane in &mut lanes {
                self.left -= lane.send(self.left.min(BATCH))?;
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            turns.push(turn.elapsed().as_nanos() as f64 / (left - self.left).max(1) as f64);
        }
        let ns_per_drop = Spread::of(turns).map_or(0.0, |turns| turns.median);
        Ok(Done { took: started.elapsed(), ns_per_drop })
    }
}

fn wait_until(started: Instant, due: Duration) {
    loop {
        let early = due.saturating_sub(started.elapsed());
        if early.is_zero() {
            return;
        }
        if early > SHORTEST_SLEEP { thread::sleep(early) } else { hint::spin_loop() }
    }
}

/// The messages of a lane for whole batches, each message at least once.
fn slices(lane: &Lane) -> Vec<[IoSlice<'_>; 1]> {
    let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
    let count = lane.messages.len().next_multiple_of(batch);
    lane.messages.iter().cycle().take(count).map(|message| [IoSlice::new(&message.bytes)]).collect()
}

/// The messages of a lane in the form of the system call.
struct Sender<'a> {
    lane: &'a Lane,
    headers: Vec<MMsgHdr<'a>>,
    next: usize,
}

type Slices<'a> = &'a Vec<[IoSlice<'a>; 1]>;
type Control<'a> = &'a mut Vec<SendAncillaryBuffer<'a, 'a, 'a>>;

impl<'a> Sender<'a> {
    fn new(((lane, slices), control): ((&'a Lane, Slices<'a>), Control<'a>)) -> Self {
        let messages = lane.messages.iter().cycle().zip(slices).zip(control);
        let headers = messages.map(|((message, slices), control)| match &message.to {
            Some(to) => MMsgHdr::new_with_addr(to, slices, control),
            None => MMsgHdr::new(slices, control),
        });
        Self { lane, headers: headers.collect(), next: 0 }
    }

    /// Sends at most `most` messages, and returns their number.
    fn send(&mut self, most: u64) -> Result<u64> {
        let end = self.headers.len().min(self.next + usize::try_from(most)?);
        let sent = sendmmsg(&self.lane.socket, &mut self.headers[self.next..end], SendFlags::empty())
            .context("cannot send the load")?;
        self.next = (self.next + sent) % self.headers.len();
        Ok(sent as u64)
    }
}
