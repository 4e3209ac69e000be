//! What an agent pushes in a build without the feature `otlp`: nothing.

use std::iter;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::watch;

use crate::backend::ebpf::EventOptions;
use crate::cli::args::OtlpOptions;
use crate::domain::event::{DropEvent, Timestamp};
use crate::metrics::model::{Family, Metrics};

/// Who would push.
#[derive(Clone)]
pub(super) struct Identity;

/// What would be pushed where.
pub(super) enum Options {}

/// Who would push.
pub(super) const fn identity(_started_at: Timestamp) -> Identity {
    Identity
}

/// No records are made for pushes.
pub(super) const fn events(_args: &OtlpOptions) -> Option<EventOptions> {
    None
}

/// Nothing is pushed anywhere.
#[expect(clippy::unnecessary_wraps, reason = "with the feature `otlp` it may fail")]
pub(super) const fn options(_args: &OtlpOptions, _identity: &Identity) -> Result<Option<Options>> {
    Ok(None)
}

/// No pushes.
pub(super) struct Pushing;

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature `otlp`")]
impl Pushing {
    /// Of the latest of these metrics: nothing.
    pub(super) fn new(_metrics: watch::Receiver<Arc<Metrics>>) -> Self {
        Self
    }

    /// Goes on to push nothing.
    pub(super) fn follow(&mut self, _options: Option<Options>) -> Result<()> {
        Ok(())
    }

    /// Leaves a single drop.
    pub(super) fn offer(&self, _event: &DropEvent<'_>) {}

    /// There are no metrics of pushes.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + use<> {
        iter::empty()
    }

    /// Ends.
    pub(super) fn stop(self) {}
}
