//! Records that wait to be pushed, and the end of the run.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use opentelemetry_proto::tonic::logs::v1::LogRecord;

/// Records that wait, at most; each has about a kilobyte.
pub(super) const ROOM: usize = 4096;

/// Between the thread that hears drops and the one that pushes.
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

    /// Takes a record in if there is room for it; those that came first stay, for they tell how it began.
    pub(super) fn offer(&self, record: impl FnOnce() -> LogRecord) -> bool {
        if self.state().waiting.len() >= ROOM {
            return false;
        }
        // Nobody else puts records in.
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

    /// Records that wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Ends the wait.
    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
        self.stopped.notify_all();
    }

    /// Waits until `due`, or until the end, which it tells.
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
