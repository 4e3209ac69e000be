//! Waits for keys, and for signals about the terminal.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::run::watched;
use crate::top::keys::{Key, Parser};

/// Time that the rest of a key's bytes may take, after which Esc is a key by itself.
const REST: Duration = Duration::from_millis(30);

/// What happened at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A key.
    Key(Key),
    /// The size changed.
    Resized,
    /// Somebody asks the process to stop for a while (`SIGTSTP`).
    Suspended,
    /// The process goes on after it was stopped (`SIGCONT`).
    Continued,
    /// The terminal is gone.
    Closed,
}

/// The keys and signals of a terminal.
pub(crate) struct Input {
    keys: AsyncFd<OwnedFd>,
    parser: Parser,
    /// The end of [`REST`] since the last byte of a key that is not complete.
    rest_ends: Option<Instant>,
    resized: Signal,
    suspended: Signal,
    continued: Signal,
    is_closed: bool,
}

impl Input {
    /// Reads keys from `terminal`. The caller must be within a tokio runtime.
    pub(crate) fn new(terminal: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            keys: watched(terminal, Interest::READABLE)?,
            parser: Parser::default(),
            rest_ends: None,
            resized: signal(SignalKind::window_change())?,
            suspended: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            continued: signal(SignalKind::from_raw(libc::SIGCONT))?,
            is_closed: false,
        })
    }

    /// Waits for the next event. The future may be dropped at any time: the run loop does so each time that records arrive.
    pub(crate) async fn next(&mut self) -> Woken {
        loop {
            if let Some(key) = self.parser.next(false) {
                return Woken::Key(key);
            }
            let rest_ends = self.rest_ends.filter(|_| self.parser.is_waiting());
            tokio::select! {
                biased;
                _ = self.suspended.recv() => return Woken::Suspended,
                _ = self.continued.recv() => return Woken::Continued,
                _ = self.resized.recv() => return Woken::Resized,
                is_open = read(&self.keys, &mut self.parser, self.is_closed) => {
                    if !is_open {
                        self.is_closed = true;
                        return Woken::Closed;
                    }
                    self.rest_ends = Some(Instant::now() + REST);
                }
                () = rest(rest_ends) => {
                    if let Some(key) = self.parser.next(true) {
                        return Woken::Key(key);
                    }
                }
            }
        }
    }
}

/// Waits until no more bytes of a key can come.
async fn rest(ends: Option<Instant>) {
    match ends {
        Some(ends) => tokio::time::sleep_until(ends).await,
        None => pending().await,
    }
}

/// Reads bytes. Returns whether the terminal is still there.
async fn read(keys: &AsyncFd<OwnedFd>, parser: &mut Parser, is_closed: bool) -> bool {
    if is_closed {
        return pending().await;
    }
    let Ok(mut ready) = keys.readable().await else { return false };
    let mut bytes = [0; 256];
    match rustix::io::read(keys, &mut bytes) {
        Ok(0) if ready.ready().is_read_closed() => false,
        Ok(0) | Err(Errno::AGAIN | Errno::INTR) => {
            ready.clear_ready();
            true
        }
        Ok(read) => {
            parser.push(&bytes[..read]);
            true
        }
        Err(_) => false,
    }
}
