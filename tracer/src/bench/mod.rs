//! The comparison benchmark: what it costs to listen to drops, and what is lost under load.
//!
//! `plan` says what is measured, `load` what is dropped, `target` the tool. `measure` runs them, in turn
//! without any tool, so that drift of the machine's speed cancels. `report` is what came of it, shown by
//! `text` and `html`.

mod child;
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
mod reported;
mod spread;
mod sys;
mod table;
mod target;
mod text;
mod unprivileged;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use html::write_html;
pub use machine::Machine;
pub use measure::run;
pub use plan::{Options, SeriesName};
pub use report::{AccountReport, Figures, Lost, Report, Row, SeriesReport};
pub use spread::Spread;
pub use target::Target;
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

/// A target is not there, or does not start: why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Absent(String);
