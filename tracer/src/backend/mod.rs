//! The capture backends. A backend starts, is read while it runs, and is stopped; after that its ledger is exact.
//!
//! The kernel program and the drop monitor also report single drops: a file in `run/backend/` takes each of them through the
//! loop of `run`. A backend that reports only totals is a [`TotalsSource`] in a folder of its own, registered in
//! `TOTALS_BACKENDS`.

pub mod batch;
pub(crate) mod counters;
pub mod dtr;
pub mod ebpf;
pub(crate) mod history;
pub mod net_dm;
pub(crate) mod replay;

use std::io;

use crate::domain::report::SourceReport;
use crate::domain::total::DropTotal;
use crate::domain::unavailable::Unavailable;

/// The modes of the backends that report single drops, as recordings and histories name them.
pub(crate) const MODES: [&str; 4] = [
    ebpf::Mode::TpBtf.name(),
    ebpf::Mode::RawTracepoint.name(),
    net_dm::AlertMode::Packet.name(),
    net_dm::AlertMode::Summary.name(),
];

/// A running backend that reports totals with names, and no single drops.
pub trait TotalsSource {
    /// Reads what the kernel has now. Called each second, and once at the end.
    fn read(&mut self) -> io::Result<()>;

    /// The totals since the start.
    fn totals(&self) -> Vec<DropTotal>;

    /// The ledger with the source's name, for sinks.
    fn report(&self) -> SourceReport;
}

/// The drops that a run selects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// Inode number of the only wanted network namespace; absent for all.
    pub netns: Option<u32>,
    /// Index of the only wanted interface; 0 for all.
    pub ifindex: u32,
    /// There is a filter.
    pub has_filter: bool,
}

/// A backend of totals before it runs.
#[derive(Debug)]
pub struct TotalsBackend {
    /// The value of `--source`, and the source's name in JSON.
    pub source: &'static str,
    /// The mode's name in JSON.
    pub mode: &'static str,
    /// The backend in one line, for `--help`.
    pub about: &'static str,
    /// The facts that the backend lacks, compared with the best one.
    pub loses: &'static str,
    /// Starts the backend, or says why it is not available for these drops.
    pub start: fn(Selection) -> Result<Box<dyn TotalsSource>, Unavailable>,
}

/// Names are unique.
impl PartialEq for TotalsBackend {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for TotalsBackend {}

/// The backends of totals, best first: the end of the fallback order.
pub(crate) const TOTALS_BACKENDS: [&TotalsBackend; 1] = [&counters::BACKEND];
