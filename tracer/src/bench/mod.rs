//! The comparison benchmark: what it costs to listen to drops, and what is lost under load.
//!
//! `plan` says what is measured, `load` what is dropped, `contestant` who listens. `measure` runs them, in turn
//! with nobody listening, so that drift of the machine's speed cancels. `report` is what came of it, shown by
//! `text` and `html`.

mod child;
mod contestant;
mod counter;
mod cpus;
mod folder;
mod generator;
mod html;
mod load;
mod machine;
mod measure;
mod netns;
mod plan;
mod programs;
mod report;
mod spread;
mod sys;
mod table;
mod text;
mod told;
mod unprivileged;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use contestant::Contestant;
pub use html::write_html;
pub use machine::Machine;
pub use measure::run;
pub use plan::{Options, SeriesName};
pub use report::{AccountReport, Figures, Lost, Report, Row, SeriesReport};
pub use spread::Spread;
pub use text::write_text;
pub use unprivileged::{Rights, take_rights};

/// Set when the benchmark is to end early.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<AtomicBool>);

impl Stopped {
    /// Ends the benchmark: what was measured by then is reported.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The benchmark was ended early.
#[derive(Debug, thiserror::Error)]
#[error("ended before anything was measured")]
struct Interrupted;

/// A contestant is not there, or does not start: why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Absent(String);
