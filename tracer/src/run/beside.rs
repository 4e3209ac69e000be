//! The kernel's counters beside the backend of a session.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::Session;
use super::backend::Way;
use super::outlet::{Consumer, Outlet};
use crate::backend::counters::beside::{CountersBeside, Pace, Readings, Which};
use crate::domain::reconciliation::Reconciliation;
use crate::domain::report::SourceReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::Counters;
use crate::pipeline::bracket::Brackets;
use crate::pipeline::reconcile::{Unseen, reconcile};

/// Interval at which the backends' reports are read while the last reading of the counters is awaited.
const AWAIT_INTERVAL: Duration = Duration::from_millis(2);

/// The counters beside a backend, and their table.
pub(super) struct Beside {
    thread: CountersBeside,
    counters: Counters,
    /// Only some drops are counted, while the counters are those of a whole namespace.
    is_narrow: bool,
}

impl Beside {
    /// Starts the thread, before this process gives up the capabilities that only the thread needs. It is to read the
    /// counters of the namespace with the inode number `only`, or of all, at this `pace`. `is_narrow`: of a namespace, only some
    /// drops are counted. Absent where the thread cannot start.
    pub(super) fn start(which: Which, only: Option<u32>, pace: Pace, is_narrow: bool) -> Option<Self> {
        let started = Counters::built_in().map_err(std::io::Error::other).and_then(|counters| {
            let thread = CountersBeside::start(&counters, which, only, pace)?;
            Ok(Self { thread, counters, is_narrow })
        });
        started.inspect_err(|error| tracing::warn!("the kernel's counters are not read: {error}")).ok()
    }

    /// Reads the counters for the first time, after the backend has started.
    pub(super) async fn first_reading(&self) {
        // Without an answer the thread has ended, and its readings stay empty.
        let _ = self.thread.reading().await;
    }

    /// What the readings show so far.
    pub(super) fn latest(&self) -> Arc<Readings> {
        self.thread.latest()
    }

    /// Compares the rise of the counters with the drops of all backends, which were read after `readings`. `drops` have all
    /// dimensions.
    pub(super) fn reconcile(
        &self,
        readings: &Readings,
        sources: &[SourceReport],
        drops: &[DropTotal],
        overflow: &[OverflowTotal],
    ) -> Reconciliation {
        let unseen = Unseen::of(sources, self.is_narrow);
        reconcile(&self.counters, readings, drops, overflow, unseen)
    }
}

impl Session {
    /// Reads the totals between two readings of the counters, and adds what they show to `brackets`. Does nothing where the
    /// counters are not read.
    pub async fn bracket(&mut self, brackets: &mut Brackets) -> Result<()> {
        let Some(before) = self.read_beside().await else { return Ok(()) };
        let report = self.stat_report()?;
        if let (Some(after), Some(beside)) = (self.read_beside().await, &self.beside) {
            let unseen = Unseen::of(&report.sources, beside.is_narrow);
            brackets.add([&before, &after], &report.drops, &report.overflow, unseen);
        }
        Ok(())
    }

    /// A reading of the counters that starts now.
    async fn read_beside(&self) -> Option<Arc<Readings>> {
        let beside = self.beside.as_ref()?;
        beside.thread.reading().await.ok()?;
        Some(beside.thread.latest())
    }

    /// Reads the counters for the last time, and the reports of the backends meanwhile. Called before the backends stop,
    /// so that each drop that the counters count is among the totals.
    pub(super) async fn read_counters(&mut self, outlet: &mut Outlet<'_, impl Consumer>) -> Result<()> {
        let Self { beside: Some(beside), running, normaliser, started, .. } = self else { return Ok(()) };
        let mut way = Way { normaliser, union: None, outlet, started: *started };
        let mut done = beside.thread.reading();
        loop {
            tokio::select! {
                biased;
                _ = &mut done => return Ok(()),
                () = tokio::time::sleep(AWAIT_INTERVAL) => running.keep_up(&mut way)?,
            }
        }
    }
}
