//! A backend that reports only totals, in a run.

use std::time::Instant;

use anyhow::Result;

use super::contract::{BackendFacts, Counted, Ended};
use super::options::Options;
use crate::backend::{TotalsBackend, TotalsSource};
use crate::domain::report::SourceReport;
use crate::domain::unavailable::Unavailable;

/// What the backend is, and what it lacks.
pub(super) const fn facts(backend: &'static TotalsBackend) -> BackendFacts {
    BackendFacts {
        source: backend.source,
        mode: backend.mode,
        about: backend.about,
        loses: backend.loses,
        cannot_see: "losses that no counter in /proc/net counts",
        reports_single_drops: false,
        sees_drops: false,
    }
}

/// The running backend.
pub(crate) struct Totals {
    pub(super) backend: &'static TotalsBackend,
    source: Box<dyn TotalsSource>,
}

impl Totals {
    pub(super) fn start(backend: &'static TotalsBackend, options: &Options) -> Result<Self, Unavailable> {
        Ok(Self { backend, source: (backend.start)(options.selection())? })
    }

    /// Reads the totals, which the backend does not do by itself.
    pub(super) fn second(&mut self) -> Result<()> {
        Ok(self.source.read()?)
    }

    /// Reads the totals for the last time.
    pub(super) fn stop(&mut self) -> Ended {
        let at = Instant::now();
        Ended { at, result: self.second() }
    }

    /// The totals so far.
    pub(super) fn counted(&self) -> Counted {
        Counted { sources: vec![self.report()], drops: self.source.totals(), ..Counted::default() }
    }

    /// The ledger.
    pub(super) fn report(&self) -> SourceReport {
        self.source.report()
    }
}
