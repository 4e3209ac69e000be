//! Records that wait to be pushed, and the signal to end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

/// The most queued records; each has about a kilobyte.
pub(super) const ROOM: usize = 4096;

/// The queue between the thread that captures drops and the thread that pushes them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<LogRecord>,
    is_stopping: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record if there is room. The oldest records stay, because they show how an incident began.
    pub(super) fn offer(&self, record: impl FnOnce() -> LogRecord) -> bool {
        if self.state().waiting.len() >= ROOM {
            return false;
        }
        // No other thread adds records.
        let record = record();
        self.state().waiting.push_back(record);
        true
    }

    /// The oldest records, up to `limit`.
    pub(super) fn take(&self, limit: usize) -> Vec<LogRecord> {
        let mut state = self.state();
        let taken = limit.min(state.waiting.len());
        let records = state.waiting.drain(..taken).collect();
        if state.waiting.is_empty() {
            state.waiting.shrink_to(0);
        }
        records
    }

    /// Number of queued records.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Ends the wait.
    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
        self.stopped.notify_all();
    }

    /// Waits until `due`, or until the end, and returns whether the end has come.
    pub(super) fn wait(&self, due: Instant) -> bool {
        let mut state = self.state();
        while !state.is_stopping {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.stopped.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_stopping
    }
}
