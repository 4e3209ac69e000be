//! The metrics of an exporter: families of samples, as `OpenMetrics` defines them. They are rebuilt after each reading
//! of the totals, and are independent of how they are scraped or pushed.

use std::sync::Arc;

/// All metrics at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metrics {
    /// Families with unique names.
    pub(crate) families: Vec<Family>,
}

/// Samples with the same meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Name without `_total`, `_info` or the unit.
    pub(crate) name: &'static str,
    /// The help text.
    pub(crate) help: &'static str,
    /// The unit, if the family has one: `bytes`, `seconds`.
    pub(crate) unit: Option<&'static str>,
    /// The type of the family.
    pub(crate) kind: Kind,
    /// Its samples, each with other labels.
    pub(crate) samples: Vec<Sample>,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rises only, from 0 at the start of the process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Constant: the information is in the labels, and the value is 1.
    Info,
}

/// A labelled value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Names and values of its labels.
    pub(crate) labels: Vec<(&'static str, Arc<str>)>,
    /// The value.
    pub(crate) value: Value,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// An exact count.
    Count(u64),
    /// A measured number.
    Real(f64),
}

impl Sample {
    /// A sample with these labels.
    pub(crate) fn new<const N: usize>(labels: [(&'static str, &str); N], value: impl Into<Value>) -> Self {
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
