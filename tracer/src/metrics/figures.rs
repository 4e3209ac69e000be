//! What an exporter tells: families of figures, as `OpenMetrics` has them. They are made anew after each reading of the
//! totals; whether they are scraped or pushed is not their matter.

use std::sync::Arc;

/// All that is told at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Families, each under a name of its own.
    pub families: Vec<Family>,
}

/// Figures of one meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Name without `_total`, `_info` or the unit.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What it counts, if that is no plain number: `bytes`, `seconds`.
    pub unit: Option<&'static str>,
    /// How it moves.
    pub kind: Kind,
    /// Its figures, each with labels of its own.
    pub samples: Vec<Sample>,
}

/// How figures move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from 0 at the start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// Not at all: what it tells is in its labels, and its value is 1.
    Info,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, Arc<str>)>,
    /// The figure.
    pub value: Value,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count, exact.
    Count(u64),
    /// A measure.
    Real(f64),
}

impl Sample {
    /// A figure with these labels.
    pub fn new<const N: usize>(labels: [(&'static str, &str); N], value: impl Into<Value>) -> Self {
        let labels = labels.map(|(name, value)| (name, Arc::from(value)));
        Self { labels: labels.into(), value: value.into() }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(measure: f64) -> Self {
        Self::Real(measure)
    }
}
