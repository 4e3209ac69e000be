//! The part of an agent's history that a report is of: the intervals that it sums up, and what the history lacks.

use super::event::Timestamp;

/// The intervals of a history that a report sums up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The time span that was asked for.
    pub asked: Span,
    /// From the start of the first interval to the end of the last one. Intervals are taken whole, so that the span may be
    /// longer than the one that was asked for.
    pub covered: Span,
    /// Number of intervals.
    pub intervals: u64,
    /// The parts of the span that no interval covers, in order.
    pub gaps: Vec<Gap>,
    /// Intervals in which the host's clock was set.
    pub steps: Vec<ClockStep>,
    /// Intervals, or parts of files, that could not be read. The time of those that were lost is among the gaps.
    pub damaged: u64,
    /// The drops that the agent itself counted, where it did not count all: `--netns blue`, for example. In order of first use.
    pub selections: Vec<String>,
}

/// A span of real time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first moment.
    pub from: Timestamp,
    /// The moment after the last one.
    pub to: Timestamp,
}

impl Span {
    /// Whether the spans have a moment in common. An empty span has the moment at which it starts.
    pub const fn overlaps(self, other: Self) -> bool {
        let (one_ends, other_ends) = (self.end(), other.end());
        self.from.0 < other_ends && other.from.0 < one_ends
    }

    const fn end(self) -> u64 {
        if self.to.0 > self.from.0 { self.to.0 } else { self.from.0.saturating_add(1) }
    }
}

/// A part of a span of which the history has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When.
    pub span: Span,
    /// Why.
    pub cause: GapCause,
}

/// Why a history has nothing of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapCause {
    /// Before the first interval: no agent ran, or its intervals were deleted since.
    Before,
    /// No agent ran.
    NotRunning,
    /// The agent before did not end in order, so that the drops after its last interval were never written; and no agent ran
    /// until the next one.
    Killed,
    /// Intervals of a running agent are missing: they are damaged, or were deleted.
    Missing,
    /// After the last interval: no agent runs, or the agent has not written its next interval yet.
    After,
}

impl GapCause {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::NotRunning => "not_running",
            Self::Killed => "killed",
            Self::Missing => "missing",
            Self::After => "after",
        }
    }
}

/// An interval in which the host's clock was set: its drops may have either time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// The end of the interval by the new time.
    pub at: Timestamp,
    /// New time minus old time, in nanoseconds.
    pub by_ns: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_overlap_if_they_share_a_moment() {
        let span = |from, to| Span { from: Timestamp(from), to: Timestamp(to) };
        for (one, other, expected) in [
            (span(0, 10), span(9, 20), true),
            (span(0, 10), span(10, 20), false),
            (span(5, 5), span(0, 10), true),
            (span(10, 10), span(0, 10), false),
            (span(0, 10), span(0, 0), true),
        ] {
            assert_eq!([one.overlaps(other), other.overlaps(one)], [expected; 2], "{one:?} {other:?}");
        }
    }
}
