//! The member `past`.

use serde::Serialize;

use crate::domain::past::{Past as Found, Span};
use crate::render::time::TimeText;

/// The intervals of a history that a report sums up.
#[derive(Serialize)]
pub(super) struct Past<'r> {
    asked: Times,
    covered: Times,
    intervals: u64,
    gaps: Vec<Gap>,
    clock_steps: Vec<Step>,
    damaged: u64,
    selections: &'r [String],
}

#[derive(Serialize)]
struct Times {
    from: TimeText,
    to: TimeText,
}

#[derive(Serialize)]
struct Gap {
    from: TimeText,
    to: TimeText,
    cause: &'static str,
}

#[derive(Serialize)]
struct Step {
    at: TimeText,
    by_ns: i64,
}

impl From<Span> for Times {
    fn from(span: Span) -> Self {
        Self { from: TimeText::new(span.from), to: TimeText::new(span.to) }
    }
}

impl<'r> From<&'r Found> for Past<'r> {
    fn from(past: &'r Found) -> Self {
        let gaps = past.gaps.iter().map(|gap| {
            let Times { from, to } = gap.span.into();
            Gap { from, to, cause: gap.cause.name() }
        });
        let steps = past.steps.iter().map(|step| Step { at: TimeText::new(step.at), by_ns: step.by_ns });
        Self {
            asked: past.asked.into(),
            covered: past.covered.into(),
            intervals: past.intervals,
            gaps: gaps.collect(),
            clock_steps: steps.collect(),
            damaged: past.damaged,
            selections: &past.selections,
        }
    }
}
