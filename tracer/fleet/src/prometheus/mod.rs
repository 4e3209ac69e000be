//! A fleet as an engine knows it that scrapes its agents: Prometheus, or one of those that speak its language (Thanos,
//! Mimir, `VictoriaMetrics`). The engine adds up; what comes over is by host and place.

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
pub(crate) use client::count_series;
pub use client::{Engine, Limits};
pub use error::EngineError;
pub use gather::{Gathered, Question, gather};
pub use promql::{Scope, Window};

/// When an agent's process began, in seconds since the Unix epoch: a constant of the process, by which processes are
/// told apart. Each agent has it.
const START: &str = "droptrace_start_time_seconds";
