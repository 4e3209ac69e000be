//! The kernel's counters beside the backend of a session.

use std::time::Duration;

use super::Session;
use super::follow::BATCH;
use super::outlet::{Consumer, Outlet};
use crate::backend::counters::beside::CountersBeside;
use crate::backend::net_dm;
use crate::domain::reconciliation::Reconciliation;
use crate::domain::report::SourceReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::Counters;
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
    /// Reads the counters for the first time, after the backend has started: those of the namespace with the inode number
    /// `only`, or of all. `is_narrow`: of a namespace, only some drops are counted. Absent where the thread cannot start.
    pub(super) async fn start(only: Option<u32>, is_narrow: bool) -> Option<Self> {
        let started = Counters::built_in().map_err(std::io::Error::other).and_then(|counters| {
            let thread = CountersBeside::start(&counters, only)?;
            Ok(Self { thread, counters, is_narrow })
        });
        let beside = started.inspect_err(|error| tracing::warn!("the kernel's counters are not read: {error}")).ok()?;
        // Without an answer the thread has ended, and its readings stay empty.
        let _ = beside.thread.reading().await;
        Some(beside)
    }

    /// Compares the rise of the counters with the drops of all backends. `drops` have all dimensions.
    pub(super) fn reconcile(
        &self,
        sources: &[SourceReport],
        drops: &[DropTotal],
        overflow: &[OverflowTotal],
    ) -> Reconciliation {
        let unseen = Unseen::of(sources, self.is_narrow);
        reconcile(&self.counters, &self.thread.latest(), drops, overflow, unseen)
    }
}

impl Session {
    /// Reads the counters for the last time, and the reports of the backends meanwhile. Called before the backends stop,
    /// so that each drop that the counters count is among the totals.
    pub(super) async fn read_counters(&mut self, outlet: &mut Outlet<'_, impl Consumer>) -> Result<(), net_dm::Error> {
        let Some(beside) = &self.beside else { return Ok(()) };
        let mut done = beside.thread.reading();
        loop {
            tokio::select! {
                biased;
                _ = &mut done => return Ok(()),
                () = tokio::time::sleep(AWAIT_INTERVAL) => {}
            }
            self.read_alerts(self.now(), BATCH, outlet)?;
            let limit = BATCH.min(outlet.consumer.wanted());
            if limit > 0 {
                self.read_records(self.now(), limit, outlet);
            }
        }
    }
}
