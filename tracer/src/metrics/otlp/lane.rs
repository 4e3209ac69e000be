//! The pushes of one signal to one endpoint: their times, and their results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Verdict, judge};
use super::client::Client;
use super::counts::{Counts, Outcome, Signal};

/// The longest pause after failures, unless the interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// The longest pause that an endpoint may ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(10);

pub(super) struct Lane {
    signal: Signal,
    client: Client,
    counts: Arc<Counts>,
    /// The time between pushes without failures.
    interval: Duration,
    /// The time of the next push.
    due: Instant,
    /// Number of failed pushes since the last success.
    failures: u32,
    /// Whether a rejection of data was logged.
    has_warned_of_rejected: bool,
}

impl Lane {
    pub(super) fn new(signal: Signal, client: Client, counts: Arc<Counts>, interval: Duration, due: Instant) -> Self {
        Self { signal, client, counts, interval, due, failures: 0, has_warned_of_rejected: false }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Returns whether the last push failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Moves the next push by an interval, because there is nothing to push.
    pub(super) fn skip(&mut self) {
        self.due = later(self.interval);
    }

    /// Pushes a body, counts the result, logs it if it changed, and sets the time of the next push.
    pub(super) fn push(&mut self, body: &[u8]) -> Verdict {
        let verdict = self.client.post(body).map_or_else(|verdict| verdict, |answer| judge(self.signal, &answer));
        self.counts.add_export(self.signal, verdict.outcome);
        self.counts.add_lost(self.signal, verdict.rejected);
        self.log(&verdict);
        self.failures = if verdict.is_delivered() { 0 } else { self.failures.saturating_add(1) };
        let asked = verdict.pause.unwrap_or_default().min(LONGEST_ASKED);
        self.due = later(pause(self.interval, self.failures).max(asked));
        verdict
    }

    fn log(&mut self, verdict: &Verdict) {
        let (signal, url, why) = (self.signal.name(), self.client.url(), &verdict.why);
        if verdict.is_delivered() && self.failures > 0 {
            tracing::warn!("{url} accepts {signal} again; {} pushes failed", self.failures);
        }
        if !verdict.is_delivered() && self.failures == 0 {
            tracing::warn!("cannot push {signal} to {url}: {why}; droptrace tries again, and logs when it works");
        }
        if verdict.outcome == Outcome::Partly && !self.has_warned_of_rejected {
            tracing::warn!("{url} does not accept all {signal}: {why}; this is logged once, and counted");
            self.has_warned_of_rejected = true;
        }
    }
}

fn later(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}

/// The time between pushes after this number of failures in a row.
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
