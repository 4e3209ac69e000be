//! The progress of the work on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::NAME;

const INTERVAL: Duration = Duration::from_millis(100);

/// A line on stderr that is overwritten by the next, and removed on drop.
pub(super) struct Progress<'w> {
    what: &'w str,
    is_terminal: bool,
    shown: Option<Instant>,
}

impl<'w> Progress<'w> {
    pub(super) fn new(what: &'w str) -> Self {
        Self { what, is_terminal: io::stderr().is_terminal(), shown: None }
    }

    pub(super) fn show(&mut self, done: usize, all: usize) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL);
        if self.is_terminal && is_due {
            self.shown = Some(Instant::now());
            _ = write!(io::stderr(), "\r{NAME}: {done} of {all} {}\x1b[K", self.what);
        }
    }
}

impl Progress<'_> {
    /// Removes the line, for a message; the next call of [`Self::show`] shows it again.
    pub(super) fn hide(&mut self) {
        if self.shown.take().is_some() {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.hide();
    }
}
