//! The parts of a time span that no interval covers, and why.

use crate::backend::history::Interval;
use crate::domain::event::Timestamp;
use crate::domain::past::{Gap, GapCause, Span};

/// Two intervals of one run follow each other without a gap. Its times are those of two readings of the clock, which are the same
/// two numbers; this is for clocks that were set.
const TOLERANCE_NS: u64 = 1_000_000;

/// What the gaps depend on of an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    run: (String, Timestamp),
    number: u64,
    span: Span,
    is_last: bool,
}

impl Seen {
    pub(super) fn of(interval: &Interval) -> Self {
        let Interval { started_at: from, ended_at: to, .. } = *interval;
        Self { run: interval.run.clone(), number: interval.number, span: Span { from, to }, is_last: interval.is_last }
    }
}

/// The time from the first to the last interval, and the gaps in the span; `None` without intervals.
pub(super) fn of(mut seen: Vec<Seen>, asked: Span) -> Option<(Span, Vec<Gap>)> {
    seen.sort_by(|one, other| {
        let order = |it: &Seen| (it.run.1, it.number);
        order(one).cmp(&order(other))
    });
    let (first, last) = (seen.first()?, seen.last()?);
    let covered = Span {
        from: seen.iter().map(|it| it.span.from.min(it.span.to)).min()?,
        to: seen.iter().map(|it| it.span.to.max(it.span.from)).max()?,
    };
    let edge = |from, to, cause| Gap { span: Span { from, to }, cause };
    let before = edge(asked.from, first.span.from, GapCause::Before);
    let between = seen.windows(2).map(|pair| {
        let [one, next] = pair else { return edge(Timestamp(0), Timestamp(0), GapCause::Missing) };
        edge(one.span.to, next.span.from, cause(one, next))
    });
    let after = edge(last.span.to, asked.to, GapCause::After);
    let is_gap = |gap: &Gap| {
        let has_room = gap.span.to.0 > gap.span.from.0.saturating_add(TOLERANCE_NS);
        has_room && gap.span.overlaps(asked)
    };
    Some((covered, std::iter::once(before).chain(between).chain([after]).filter(is_gap).collect()))
}

fn cause(one: &Seen, next: &Seen) -> GapCause {
    if one.run == next.run {
        GapCause::Missing
    } else if one.is_last {
        GapCause::NotRunning
    } else {
        GapCause::Killed
    }
}
