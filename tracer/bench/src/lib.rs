//! The comparison benchmark: the cost of tracing drops, and the losses under load.
//!
//! `plan` selects the cases, `load` provokes the drops, `target` describes the tools. `measure` runs the cases in turn
//! with runs without any tool, so that drift of the machine's speed cancels. `report` has the results, which `text` and
//! `html` show.

mod child;
mod counter;
mod cpus;
mod empty;
mod folder;
mod generator;
#[cfg(feature = "html")]
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
mod zipf;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "html")]
pub use html::write_html;
pub use machine::Machine;
pub use measure::run;
pub use plan::{Options, SeriesName};
pub use report::{AccountReport, Figures, Lost, Report, Row, SeriesReport};
pub use spread::Spread;
pub use target::Target;
pub use text::write_text;
pub use unprivileged::{BenchCapabilities, acquire_capabilities};

use droptrace_base::domain::report::Host;
pub(crate) use droptrace_base::render;

/// The host that the benchmark runs on, as far as it is the caller who knows it.
#[derive(Clone, Debug)]
pub struct LocalHost {
    /// The names of the host and of its kernel.
    pub names: Host,
    /// Returns whether the kernel's drop monitor runs, whichever process started it. dropwatch prints nothing when it
    /// starts the monitor.
    pub monitor_runs: fn() -> bool,
}

/// A flag that ends the benchmark early.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<AtomicBool>);

impl Stopped {
    /// Ends the benchmark, which then reports its measurements so far.
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

/// A target does not exist or does not start; the text is the reason.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Absent(String);
