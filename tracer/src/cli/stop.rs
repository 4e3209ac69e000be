//! What ends a run.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::Output;

/// How often it is looked whether anybody still reads.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What ends a run: Ctrl-C, a request to terminate, a terminal that is closed, or the time that it was given.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// None where the caller has other use for it, or whoever started the run wants it ignored (`nohup`).
    hangup: Option<Signal>,
    /// Where results go: if that is a pipe, its reader may go.
    output: Option<OwnedFd>,
    /// When it is looked after next.
    look_at: tokio::time::Instant,
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
            hangup: if is_ignored(SignalKind::hangup()) { None } else { Some(catch(SignalKind::hangup())?) },
            output: None,
            look_at: tokio::time::Instant::now(),
            deadline: None,
            duration,
        })
    }

    /// Ends also when nobody reads `output` any more, even while there is nothing to write.
    pub(super) fn while_read(self, output: &Output) -> Self {
        Self { output: output.handle().ok(), ..self }
    }

    /// Leaves SIGHUP to the caller.
    pub(super) fn without_hangup(self) -> Self {
        Self { hangup: None, ..self }
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
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => _ = signal.recv().await,
                None => std::future::pending().await,
            }
        };
        let unread = async {
            loop {
                tokio::time::sleep_until(self.look_at).await;
                self.look_at = tokio::time::Instant::now() + LOOK_INTERVAL;
                if self.output.as_ref().is_some_and(is_unread) {
                    break;
                }
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hangup => {}
            () = unread => {}
            () = elapsed => {}
        }
    }
}

/// Whether it is a pipe or a socket whose reader has gone.
fn is_unread(output: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(output, PollFlags::empty())];
    let told = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    told.is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether this process was started with the signal ignored (`SigIgn` in `/proc/PID/status`: a mask in hexadecimal).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (kind.as_raw_value() - 1)) != 0)
}
