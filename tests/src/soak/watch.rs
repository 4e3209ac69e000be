//! Watches the agent while the load runs.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Plan;
use super::gate::Gate;
use super::scene::Scene;
use super::scraper::Scraper;
use super::usage::Usage;
use crate::agent::{Agent, Scrape};

/// Samples between two comparisons of all counts.
const CHECK_EVERY: usize = 6;
/// Of so many reloads, one has a file that is wrong.
const WRONG_EVERY: u64 = 5;

/// The agent at one point in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The time since the start of the load.
    pub at: Duration,
    /// Its resources.
    pub usage: Usage,
    /// Its series of drops.
    pub series: u64,
    /// The bytes of its history on disk.
    pub history: u64,
    /// Its ledger.
    pub ledger: Ledger,
}

/// The agent's ledger in a scrape, in drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The sum of all series.
    pub series: u64,
    /// Counted by row.
    pub accounted: u64,
    /// Counted by reason only.
    pub overflow: u64,
    /// Left out by the filter.
    pub filtered: u64,
    /// Seen by the kernel, and not counted.
    pub lost: u64,
}

impl Ledger {
    fn of(scrape: &Scrape) -> Self {
        let account = |account| scrape.sum("droptrace_ledger_drops_total", &[("account", account)]);
        let series = |kind: &str| scrape.sum(&format!("droptrace_{kind}_packets_total"), &[]);
        Self {
            series: series("dropped") + series("not"),
            accounted: account("accounted"),
            overflow: account("overflow"),
            filtered: account("filtered"),
            lost: account("lost"),
        }
    }

    /// The drops that it counted.
    pub const fn counted(&self) -> u64 {
        self.accounted + self.overflow
    }

    /// Whether the sum of the series is that of the ledger, and nothing was lost.
    pub const fn adds_up(&self) -> bool {
        self.series == self.counted() && self.lost == 0
    }
}

/// A comparison of all counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// The drops by the kernel's own counters.
    pub dropped: u64,
    /// The agent's ledger.
    pub ledger: Ledger,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Watch<'w> {
    plan: &'w Plan,
    pub(super) scraper: Scraper<'w>,
    pub(super) started: Instant,
    pub(super) samples: Vec<Sample>,
    pub(super) checks: Vec<Check>,
    pub(super) reloads: [u64; 2],
}

impl<'w> Watch<'w> {
    pub(super) fn new(plan: &'w Plan, scraper: Scraper<'w>, started: Instant) -> Self {
        Self { plan, scraper, started, samples: vec![], checks: vec![], reloads: [0; 2] }
    }

    /// Takes samples, compares counts and reloads the agent's files until the end of the plan or of the run.
    pub(super) fn watch(&mut self, gate: &Gate, scene: &Scene, agent: &mut Agent) -> Result<()> {
        let (end, mut next) = (self.started + self.plan.duration, self.started);
        loop {
            next = (next + self.plan.sample_every()).max(Instant::now());
            if next > end || !gate.wait_until(next) {
                gate.wait_until(end);
                return Ok(());
            }
            self.sample(agent)?;
            self.reload(scene, agent)?;
            if self.samples.len().is_multiple_of(CHECK_EVERY) {
                self.check(gate)?;
            }
        }
    }

    fn sample(&mut self, agent: &Agent) -> Result<()> {
        let (at, usage) = (self.started.elapsed(), Usage::of(agent.droptrace.pid())?);
        let scrape = self.scraper.scrape()?;
        let [series, history] = ["droptrace_series", "droptrace_history_bytes"].map(|name| scrape.sum(name, &[]));
        self.samples.push(Sample { at, usage, series, history, ledger: Ledger::of(&scrape) });
        Ok(())
    }

    fn reload(&mut self, scene: &Scene, agent: &mut Agent) -> Result<()> {
        let number = self.reloads.iter().sum::<u64>() + 1;
        let is_wrong = number.is_multiple_of(WRONG_EVERY);
        scene.reload(agent, number, is_wrong)?;
        self.reloads[usize::from(is_wrong)] += 1;
        Ok(())
    }

    /// Compares all counts while nothing is dropped.
    pub(super) fn check(&mut self, gate: &Gate) -> Result<()> {
        let Self { scraper, checks, .. } = self;
        gate.between_bursts(|dropped| {
            checks.push(Check { dropped, ledger: Ledger::of(&scraper.settled()?) });
            Ok(())
        })
    }
}
