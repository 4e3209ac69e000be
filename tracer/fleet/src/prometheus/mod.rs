//! A fleet as seen by an engine that scrapes its agents: Prometheus, or an engine with its query language (Thanos,
//! Mimir, `VictoriaMetrics`). The engine adds up; its answers are by host and aggregation key.

mod access;
mod agents;
mod answer;
mod client;
mod error;
#[cfg(test)]
mod fake;
mod gather;
mod increase;
mod lives;
mod promql;
mod series;
mod silence;

pub use access::Access;
pub use client::{Engine, Limits};
pub(crate) use client::{count_series, endpoint};
pub use error::EngineError;
pub use gather::{Gathered, Question, gather};
pub use promql::{Scope, Window};

/// The start of an agent's process, in seconds since the Unix epoch: a constant of the process, which identifies it.
/// Each agent has this metric.
const START: &str = "droptrace_start_time_seconds";
