//! The members that the documents of all runs begin with.

use std::time::Duration;

use serde::Serialize;

use super::ledger::Account;
use crate::domain::event::Timestamp;
use crate::domain::report::{Host, SourceReport};
use crate::render::time::TimeText;

/// What ran, where, when and for how long.
#[derive(Serialize)]
pub(super) struct Head<'r> {
    schema: &'static str,
    host: &'r str,
    kernel: &'r str,
    started_at: TimeText,
    duration_ns: u64,
    sources: Vec<Account>,
}

impl<'r> Head<'r> {
    /// The head of a document of `schema`.
    pub(super) fn new(
        schema: &'static str,
        host: &'r Host,
        started_at: Timestamp,
        duration: Duration,
        sources: &[SourceReport],
    ) -> Self {
        Self {
            schema,
            host: &host.name,
            kernel: &host.kernel,
            started_at: TimeText::new(started_at),
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
            sources: sources.iter().map(Account::from).collect(),
        }
    }
}
