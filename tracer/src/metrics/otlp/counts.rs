//! Counts of pushes, by result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::model::{Family, Kind, Sample, Value};

/// The kind of pushed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Metrics.
    Metrics,
    /// Single drops, as log records.
    Logs,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Metrics, Self::Logs];

    /// The name in labels, and in the URL.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// The result of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All data was accepted.
    Taken,
    /// A part of the data was accepted.
    Partly,
    /// The HTTP status is not a success.
    Refused,
    /// There was no answer: no connection, an unknown host name, an untrusted certificate, or a timeout.
    Unreached,
    /// The answer is not OTLP.
    Unintelligible,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] = [Self::Taken, Self::Partly, Self::Refused, Self::Unreached, Self::Unintelligible];

    /// The value of the label `result`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Taken => "ok",
            Self::Partly => "partial",
            Self::Refused => "refused",
            Self::Unreached => "failed",
            Self::Unintelligible => "unintelligible",
        }
    }
}

/// Pushes by result, and lost items, since the start of the process: they continue when the endpoints change.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    metrics: SignalCounts,
    logs: SignalCounts,
}

#[derive(Debug, Default)]
struct SignalCounts {
    exports: [AtomicU64; Outcome::ALL.len()],
    lost: AtomicU64,
}

impl Counts {
    const fn of(&self, signal: Signal) -> &SignalCounts {
        match signal {
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }

    pub(super) fn add_export(&self, signal: Signal, outcome: Outcome) {
        if let Some(count) = self.of(signal).exports.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn add_lost(&self, signal: Signal, records: u64) {
        self.of(signal).lost.fetch_add(records, Ordering::Relaxed);
    }

    /// Log records that will not be delivered, or data points that the endpoint rejected.
    pub(crate) fn lost(&self, signal: Signal) -> u64 {
        self.of(signal).lost.load(Ordering::Relaxed)
    }

    /// Number of pushes with this result.
    pub(super) fn exports(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.of(signal).exports.get(outcome as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Both counts as metrics, with a sample for each result from the start, so that no series appears later.
    pub(crate) fn families(&self) -> [Family; 2] {
        let exports = Signal::ALL.into_iter().flat_map(|signal| {
            Outcome::ALL.into_iter().map(move |outcome| Sample {
                labels: vec![label("signal", signal.name()), label("result", outcome.name())],
                value: Value::Count(self.exports(signal, outcome)),
            })
        });
        let lost = Signal::ALL.into_iter().map(|signal| Sample {
            labels: vec![label("signal", signal.name())],
            value: Value::Count(self.lost(signal)),
        });
        [
            counter("droptrace_otlp_exports", "Pushes, by result", exports.collect()),
            counter(
                "droptrace_otlp_lost",
                "Log records that were not delivered, and data points that the endpoint rejected",
                lost.collect(),
            ),
        ]
    }
}

fn label(name: &'static str, value: &str) -> (&'static str, Arc<str>) {
    (name, value.into())
}

const fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, help, unit: None, kind: Kind::Counter, samples }
}
