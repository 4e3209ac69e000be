//! What a backend takes from its run, and what it gives to it.

use std::time::Instant;

use anyhow::Result;

use crate::domain::dedupe::Moment;
use crate::domain::refused::RefusedReport;
use crate::domain::report::SourceReport;
use crate::domain::retransmit::RetransmitReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::pipeline::normalise::Normaliser;
use crate::pipeline::union::Union;
use crate::run::outlet::Outlet;

/// Largest number of drops between two checks for the end of the run.
pub(in crate::run) const BATCH: u64 = 1024;

/// What a capture backend is, and what it lacks.
pub(super) struct BackendFacts {
    pub(super) source: &'static str,
    pub(super) mode: &'static str,
    /// The backend in one line, for `--help`.
    pub(super) about: &'static str,
    pub(super) loses: &'static str,
    pub(super) cannot_see: &'static str,
    pub(super) reports_single_drops: bool,
    /// The backend sees drops, with their drop sites; else it reads counters.
    pub(super) sees_drops: bool,
}

/// The event of a backend that a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) enum Wake {
    /// Drops may be there: [`Running::read`](super::Running::read).
    Drops,
    /// Dropped segments and retransmissions may be there: [`Running::read_segments`](super::Running::read_segments).
    Segments,
    /// It is time for [`Running::check`](super::Running::check).
    Check,
}

/// What drops pass on their way from a backend: names, the join of two backends, the consumer.
pub(in crate::run) struct Way<'w, 'c, C> {
    pub(in crate::run) normaliser: &'w mut Normaliser,
    /// Joins two backends' reports of a drop.
    pub(in crate::run) union: Option<&'w mut Union>,
    pub(in crate::run) outlet: &'w mut Outlet<'c, C>,
    /// The start of the run.
    pub(in crate::run) started: Instant,
}

impl<'c, C> Way<'_, 'c, C> {
    /// The time since the start, by the join's clock.
    pub(super) fn now(&self) -> Moment {
        moment(self.started)
    }

    /// The same way, through a join.
    pub(super) fn joined<'w>(&'w mut self, union: Option<&'w mut Union>) -> Way<'w, 'c, C> {
        let Self { normaliser, outlet, started, .. } = self;
        Way { normaliser, union, outlet, started: *started }
    }
}

/// The time since `started`, the start of the run, by the join's clock.
pub(in crate::run) fn moment(started: Instant) -> Moment {
    Moment(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The end of a backend.
pub(in crate::run) struct Ended {
    /// Time up to which drops were counted.
    pub(in crate::run) at: Instant,
    pub(in crate::run) result: Result<()>,
}

/// What a backend has counted.
#[derive(Default)]
pub(in crate::run) struct Counted {
    pub(in crate::run) sources: Vec<SourceReport>,
    pub(in crate::run) drops: Vec<DropTotal>,
    pub(in crate::run) overflow: Vec<OverflowTotal>,
    /// Retransmissions, if the backend reports them.
    pub(in crate::run) retransmissions: Option<RetransmitReport>,
    /// SYNs that listening sockets refused, if the backend counts them.
    pub(in crate::run) refused: Option<RefusedReport>,
}
