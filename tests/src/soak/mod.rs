//! A long life of `droptrace agent` on a busy machine: its memory and its counts.
//!
//! All load is in namespaces that the run makes. Nothing is changed that the whole host has: kernel modules are neither loaded
//! nor unloaded, and no clock is set. (A time namespace shifts clocks before its first process starts, so that there is no step to
//! be seen in it; `tests/time_namespace.rs` has that case.)

pub mod gate;
pub mod judge;
pub mod load;
pub mod page;
pub mod scraper;
pub mod trend;
pub mod usage;
pub mod watch;

mod scene;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use gate::Gate;
use load::{Marks, containers, interfaces, protocols, udp};
use scene::Scene;
use scraper::Scraper;
use watch::{Check, Sample, Watch};

/// Storms of datagrams at a time, each in a namespace for the whole run.
const STORMS: usize = 2;
/// Containers at a time.
const CONTAINERS: usize = 3;
/// Runs that are shorter than this do not fill the agent's rows, and have no judgement of its memory.
const LONG: Duration = Duration::from_mins(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The droptrace to run.
    pub droptrace: PathBuf,
    /// The duration of the load.
    pub duration: Duration,
}

impl Plan {
    /// Time between two samples; the agent's files are reloaded as often.
    pub fn sample_every(&self) -> Duration {
        (self.duration / 20).min(Duration::from_secs(10))
    }

    /// Time between two readings of the agent.
    pub fn interval(&self) -> Duration {
        (self.duration / 100).min(Duration::from_secs(1))
    }

    /// Whether the run fills the agent's rows, after which its memory has to stay as it is.
    pub fn is_long(&self) -> bool {
        self.duration >= LONG
    }

    /// The point in time at which the rows begin to fill, from the start.
    pub fn fills_at(&self) -> Duration {
        self.duration / 5
    }
}

/// The work that the load did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Bursts of storms.
    pub bursts: u64,
    /// Containers that came and went.
    pub containers: u64,
    /// Pairs of interfaces that came and went.
    pub pairs: u64,
    /// Frames of many protocols.
    pub frames: u64,
    /// Scrapes that were answered, beside those of samples.
    pub scrapes: u64,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its plan.
    pub plan: Plan,
    /// The time that it took.
    pub took: Duration,
    /// The work of the load.
    pub work: Work,
    /// Reloads of the agent's files that it took, and that it refused because the file was wrong: as many as were asked for.
    pub reloads: [u64; 2],
    /// The reason why containers had no control groups.
    pub without_groups: Option<String>,
    /// Regular samples.
    pub samples: Vec<Sample>,
    /// Comparisons of all counts between bursts; the last one is after the end of the load.
    pub checks: Vec<Check>,
    /// Drops in the agent's history, by row and by reason only.
    pub history: u64,
}

/// Runs the agent under load, until the end of the plan or until `is_over` is set.
///
/// # Errors
/// When a part of the load or the agent fails. Counts that differ are no error: [`judge::judge`] looks at them.
pub fn run(plan: &Plan, is_over: Arc<AtomicBool>) -> Result<Outcome> {
    let marks = Marks::of_this_process();
    let without_groups = containers::without_groups();
    let scene = Scene::new(plan, &marks)?;
    let mut agent = scene.start()?;
    let gate = Gate::new(is_over);
    let mut watch = Watch::new(plan, Scraper { netns: &scene.host, address: agent.address }, Instant::now());
    let work = thread::scope(|scope| {
        let load = Load::start(scope, plan, &marks, &gate, &watch);
        let watched = watch.watch(&gate, &scene, &mut agent);
        gate.end();
        let work = load.join()?;
        watched.map(|()| work)
    })?;
    let took = watch.started.elapsed();
    watch.check(&gate)?;
    let history = scene.finish(agent)?;
    let Watch { samples, checks, reloads, .. } = watch;
    Ok(Outcome { plan: plan.clone(), took, work, reloads, without_groups, samples, checks, history })
}

/// A thread of the load, which returns how much it did.
type Thread<'s> = ScopedJoinHandle<'s, Result<u64>>;

/// The threads of the load.
struct Load<'s> {
    storms: Vec<Thread<'s>>,
    containers: Vec<Thread<'s>>,
    pairs: Thread<'s>,
    flood: Option<Thread<'s>>,
    scrapes: Thread<'s>,
}

impl<'s> Load<'s> {
    fn start<'e>(
        scope: &'s Scope<'s, 'e>,
        plan: &'e Plan,
        marks: &'e Marks,
        gate: &'e Gate,
        watch: &Watch<'e>,
    ) -> Self {
        let (scraper, fills_at) = (watch.scraper, watch.started + plan.fills_at());
        let storm = |_| scope.spawn(|| ending(gate, udp::storm(gate, marks)));
        let container = |_| scope.spawn(|| ending(gate, containers::churn(gate, marks)));
        let flood = || scope.spawn(move || ending(gate, protocols::flood(gate, marks, fills_at, plan.interval())));
        Self {
            storms: (0..STORMS).map(storm).collect(),
            containers: (0..CONTAINERS).map(container).collect(),
            pairs: scope.spawn(|| ending(gate, interfaces::churn(gate, marks))),
            flood: plan.is_long().then(flood),
            scrapes: scope.spawn(move || ending(gate, scraper.scrape_on(gate, plan.interval()))),
        }
    }

    fn join(self) -> Result<Work> {
        let Self { storms, containers, pairs, flood, scrapes } = self;
        Ok(Work {
            bursts: joined(storms)?,
            containers: joined(containers)?,
            pairs: joined([pairs])?,
            frames: joined(flood)?,
            scrapes: joined([scrapes])?,
        })
    }
}

/// Ends the run with the first failure.
fn ending<T>(gate: &Gate, result: Result<T>) -> Result<T> {
    if result.is_err() {
        gate.end();
    }
    result
}

/// The sum of the threads' results.
fn joined<'s>(threads: impl IntoIterator<Item = Thread<'s>>) -> Result<u64> {
    let results =
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread of the load panicked"))?);
    results.sum::<Result<u64>>().context("the load")
}
