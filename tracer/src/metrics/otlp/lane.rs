//! The pushes of one signal to one endpoint: when, and what became of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Verdict, judge};
use super::client::Client;
use super::counts::{Counts, Outcome, Signal};

/// The longest pause after failures, unless pushes are rarer than that anyway.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// The longest that an endpoint may ask to be left alone.
const LONGEST_ASKED: Duration = Duration::from_mins(10);

pub(super) struct Lane {
    signal: Signal,
    client: Client,
    counts: Arc<Counts>,
    /// From one push to the next while all is well.
    interval: Duration,
    /// When the next one is due.
    due: Instant,
    /// Pushes that failed since the last one that did not.
    failures: u32,
    /// Told that some of what it sends is rejected.
    told_rejected: bool,
}

impl Lane {
    pub(super) fn new(signal: Signal, client: Client, counts: Arc<Counts>, interval: Duration, due: Instant) -> Self {
        Self { signal, client, counts, interval, due, failures: 0, told_rejected: false }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether the last push failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Puts the next push off by an interval: there is nothing to push.
    pub(super) fn skip(&mut self) {
        self.due = later(self.interval);
    }

    /// Pushes a body, counts what became of it, says so if that is news, and sets when the next is due.
    pub(super) fn push(&mut self, body: &[u8]) -> Verdict {
        let verdict = self.client.post(body).map_or_else(|verdict| verdict, |answer| judge(self.signal, &answer));
        self.counts.add_export(self.signal, verdict.outcome);
        self.counts.add_lost(self.signal, verdict.rejected);
        self.tell(&verdict);
        self.failures = if verdict.is_delivered() { 0 } else { self.failures.saturating_add(1) };
        let asked = verdict.pause.unwrap_or_default().min(LONGEST_ASKED);
        self.due = later(pause(self.interval, self.failures).max(asked));
        verdict
    }

    fn tell(&mut self, verdict: &Verdict) {
        let (signal, url, why) = (self.signal.name(), self.client.url(), &verdict.why);
        if verdict.is_delivered() && self.failures > 0 {
            tracing::warn!("{url} takes {signal} again; {} pushes failed", self.failures);
        }
        if !verdict.is_delivered() && self.failures == 0 {
            tracing::warn!("cannot push {signal} to {url}: {why}; droptrace tries again, and logs when it works");
        }
        if verdict.outcome == Outcome::Partly && !self.told_rejected {
            tracing::warn!("{url} does not accept all {signal}: {why}; this is logged once, and counted");
            self.told_rejected = true;
        }
    }
}

fn later(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

/// From one push to the next, after so many failures in a row.
fn pause(interval: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    interval.saturating_mul(1 << doublings).min(interval.max(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_up_to_an_end() {
        let pauses = |interval, failures: &[u32]| -> Vec<u64> {
            failures.iter().map(|&failures| pause(Duration::from_secs(interval), failures).as_secs()).collect()
        };
        assert_eq!(pauses(15, &[0, 1, 2, 3, 4, 5, u32::MAX]), [15, 15, 30, 60, 120, 120, 120]);
        assert_eq!(pauses(300, &[0, 1, 2]), [300, 300, 300]);
        assert_eq!(pauses(1, &[0, 1, 2, 8, 9]), [1, 1, 2, 120, 120]);
    }
}
