//! What became of pushes, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::figures::{Family, Kind, Sample, Value};

/// What is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Figures.
    Metrics,
    /// Single drops.
    Logs,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Metrics, Self::Logs];

    /// Its name in labels, and in the URL that it is sent to.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All was taken.
    Taken,
    /// Some was taken.
    Partly,
    /// An HTTP status that is none of success.
    Refused,
    /// No answer: no connection, no name, no trust, no time left.
    Unreached,
    /// An answer that OTLP does not know.
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

/// Pushes by what became of them, and what was lost, since the start of the process: they outlive a change of
/// endpoints.
#[derive(Debug, Default)]
pub struct Counts {
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

    /// Log records that will not be delivered, or figures that the endpoint would not have.
    pub fn lost(&self, signal: Signal) -> u64 {
        self.of(signal).lost.load(Ordering::Relaxed)
    }

    /// Pushes that ended so.
    pub(super) fn exports(&self, signal: Signal, outcome: Outcome) -> u64 {
        self.of(signal).exports.get(outcome as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Both as figures; of every result, so that none appears out of nothing.
    pub fn families(&self) -> [Family; 2] {
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
            counter("droptrace_otlp_exports", "Pushes by what became of them", exports.collect()),
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
