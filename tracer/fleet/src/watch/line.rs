//! A finding in a round, as a line of JSON.

use droptrace_base::domain::event::Timestamp;
use droptrace_base::render::time::TimeText;
use serde::Serialize;

use super::known::Known;
use super::lives::{Life, Phase};

/// The name of the schema. Within a version it only grows.
const SCHEMA: &str = "droptrace.finding_life.v1";

/// A line.
#[derive(Serialize)]
pub(crate) struct Line<'l> {
    schema: &'static str,
    /// The time of the round.
    time: TimeText,
    phase: Phase,
    /// The identity of the finding.
    id: &'l str,
    opened: TimeText,
    seen: TimeText,
    absent: u32,
    returned: u32,
    finding: &'l Known,
}

impl<'l> Line<'l> {
    /// The line of a finding.
    pub(crate) fn new(now: Timestamp, phase: Phase, id: &'l str, life: &'l Life) -> Self {
        Self {
            schema: SCHEMA,
            time: TimeText::new(now),
            phase,
            id,
            opened: TimeText::new(Timestamp(life.opened)),
            seen: TimeText::new(Timestamp(life.seen)),
            absent: life.absent,
            returned: life.returned,
            finding: &life.finding,
        }
    }
}
