//! Single drops as `droptrace trace` shows them.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::droptrace::Droptrace;
use crate::kernel;

/// The output of `trace --format json`.
#[derive(Debug)]
pub struct Trace {
    /// Its lines, one for each drop.
    pub drops: Vec<Value>,
    /// The ledger of the records.
    pub events: Value,
    /// Drops whose namespace is unknown: a filter cannot decide on them, and they may be anybody's.
    pub unknown_netns: u64,
}

impl Trace {
    /// Runs `trace` while `provocation` does its work, and checks its account.
    pub fn during(arguments: &[&str], provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let droptrace = Droptrace::start(&[&["trace", "--format", "json"], arguments].concat())?;
        provocation()?;
        Self::parse(&droptrace.finish()?.stdout)
    }

    /// The same, but `trace` reads no record before `provocation` has done its work.
    pub fn while_it_sleeps(arguments: &[&str], provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let droptrace = Droptrace::start(&[&["trace", "--format", "json"], arguments].concat())?;
        droptrace.signal(Signal::STOP)?;
        let provoked = provocation();
        droptrace.signal(Signal::CONT)?;
        provoked?;
        Self::parse(&droptrace.finish()?.stdout)
    }

    /// Reads the output of `trace`, and checks its ledger.
    pub fn parse(stdout: &str) -> Result<Self> {
        let mut lines = stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let ledger = lines.pop().context("trace printed nothing")?;
        ensure!(ledger["schema"] == "droptrace.ledger.v1", "the last line is no ledger: {ledger}");
        let other = lines.iter().find(|line| line["schema"] != "droptrace.drop.v1");
        ensure!(other.is_none(), "a line that is no drop: {other:?}");
        let sources = ledger["sources"].as_array().context("no sources")?;
        let source = sources.iter().find(|source| source["source"] == "ebpf").context("no source ebpf")?;
        let events = source["ledger"]["events"].clone();
        let unknown_netns = source["ledger"]["unknown_netns"].as_u64().context("no unknown_netns")?;
        let trace = Self { drops: lines, events, unknown_netns };
        trace.check_ledger()?;
        Ok(trace)
    }

    /// A number of the account of records.
    pub fn event(&self, field: &str) -> Result<u64> {
        self.events[field].as_u64().with_context(|| format!("no {field} in {}", self.events))
    }

    fn check_ledger(&self) -> Result<()> {
        let events = &self.events;
        let [offered, submitted, suppressed] = ["offered", "submitted", "suppressed"].map(|field| self.event(field));
        let (offered, submitted, suppressed) = (offered?, submitted?, suppressed?);
        let (ring_full, delivered) = (self.event("ring_full")?, self.event("delivered")?);
        ensure!(
            offered == submitted + suppressed + ring_full,
            "offered != submitted + suppressed + ring_full: {events}"
        );
        ensure!(submitted == delivered, "submitted != delivered: {events}");
        ensure!(self.event("undecodable")? == 0, "undecodable records: {events}");
        let shown = self.drops.len() as u64;
        ensure!(shown == delivered, "{shown} lines, but delivered: {events}");
        Ok(())
    }

    /// The drops with one reason; all drops where this kernel gives no reasons.
    pub fn drops_of(&self, reason: &'static str) -> Result<Vec<&Value>> {
        let shown = kernel::reason(reason)?.shown();
        Ok(self.drops.iter().filter(|drop| drop["reason"].as_str() == shown).collect())
    }
}
