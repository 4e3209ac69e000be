//! What ends a run.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends a run: Ctrl-C, a request to terminate, or the time that it was given.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<tokio::time::Instant>,
    duration: Option<Duration>,
}

impl Stop {
    /// Catches the signals from now on; the time runs from [`Stop::start_clock`] on.
    pub(super) fn new(duration: Option<Duration>) -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            deadline: None,
            duration,
        })
    }

    pub(super) fn start_clock(&mut self) {
        // A time beyond what the clock can tell is no end at all.
        self.deadline = self.duration.and_then(|duration| tokio::time::Instant::now().checked_add(duration));
    }

    /// Waits for the end.
    pub(super) async fn wait(&mut self) {
        let deadline = self.deadline;
        let elapsed = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = elapsed => {}
        }
    }
}
