//! What a report of the past says about its history: the time that its intervals cover, and what is missing.

use super::clock::Clock;
use super::ledger::LedgerLine;
use crate::domain::event::Timestamp;
use crate::domain::past::{ClockStep, Gap, GapCause, Past, Span};
use crate::outside::printable;
use crate::render::number::Grouped;

/// Largest number of gaps, and of set clocks, that are listed.
const MOST: usize = 5;

/// `2026-11-30 02:00:00 to 02:30:07 (UTC+01:00)`, in the time zone of this process.
#[cfg(feature = "top")]
pub(crate) fn local_span(of: Span) -> String {
    span(of, &Clock::new(true))
}

/// The lines about the history of a report.
pub(crate) fn lines(past: &Past) -> Vec<LedgerLine> {
    lines_by(past, &Clock::new(true))
}

fn lines_by(past: &Past, clock: &Clock) -> Vec<LedgerLine> {
    let Past { covered, intervals, gaps, steps, damaged, selections, .. } = past;
    let noun = if *intervals == 1 { "interval" } else { "intervals" };
    let head = format!("history: {}, {} {noun}", span(*covered, clock), Grouped(*intervals));
    let mut lines = vec![LedgerLine::plain(head)];
    let alarm = |text| LedgerLine { text, healthy: false };
    lines.extend(
        selections.iter().map(|selection| alarm(format!("history: the agent counted only {}", printable(selection)))),
    );
    if *damaged > 0 {
        let what = if *damaged == 1 { "1 part" } else { &format!("{} parts", Grouped(*damaged)) };
        lines.push(alarm(format!(
            "damaged: {what} of the files cannot be read: an interval there was torn by a kill, a power failure or a full disk, or changed"
        )));
    }
    lines.extend(
        gaps.iter()
            .take(MOST)
            .map(|gap| LedgerLine { text: of_gap(*gap, clock), healthy: gap.cause == GapCause::After }),
    );
    lines.extend(rest(gaps.len(), "gaps").map(alarm));
    lines.extend(steps.iter().take(MOST).map(|step| alarm(of_step(*step, clock))));
    lines.extend(rest(steps.len(), "times at which the clock was set").map(alarm));
    lines
}

fn rest(count: usize, what: &str) -> Option<String> {
    (count > MOST).then(|| format!("… and {} more {what}", count - MOST))
}

fn of_gap(gap: Gap, clock: &Clock) -> String {
    let why = match gap.cause {
        GapCause::Before => "the history has nothing: no agent ran, or the intervals were deleted since",
        GapCause::NotRunning => "no agent ran",
        GapCause::Killed => {
            "the agent did not end in order; its drops since its last interval were never written, and no agent ran until the next one started"
        }
        GapCause::Missing => "intervals of the agent are missing: they are damaged, or were deleted",
        GapCause::After => "no interval is written yet, or no agent runs",
    };
    format!("gap: {}: {why}", span(gap.span, clock))
}

fn of_step(step: ClockStep, clock: &Clock) -> String {
    let seconds = step.by_ns / 1_000_000_000;
    let (way, seconds) = (if seconds < 0 { "back" } else { "forward" }, Grouped(seconds.unsigned_abs()));
    format!(
        "clock: set {way} by {seconds} s in the interval that ended at {}; its drops may have either time",
        moment(step.at, clock)
    )
}

/// `2026-11-30 02:00:00 to 02:30:07 (UTC+01:00)`.
fn span(span: Span, clock: &Clock) -> String {
    let (from, to) = (clock.text(span.from), clock.text(span.to));
    let day = if from.date() == to.date() { String::new() } else { format!("{} ", to.date()) };
    let zones = [clock.name(span.from), clock.name(span.to)];
    let zone = if zones[0] == zones[1] { zones[0].clone() } else { zones.join(" and ") };
    format!("{} to {day}{} ({zone})", moment(span.from, clock), &to.time_of_day()[..8])
}

fn moment(time: Timestamp, clock: &Clock) -> String {
    let time = clock.text(time);
    format!("{} {}", time.date(), &time.time_of_day()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::NEW_YEAR;

    #[test]
    fn gaps_have_their_causes() {
        let at = |seconds: u64| Timestamp(NEW_YEAR.0 + seconds * 1_000_000_000);
        let span = |from, to| Span { from: at(from), to: at(to) };
        let causes = [GapCause::Before, GapCause::NotRunning, GapCause::Killed, GapCause::Missing, GapCause::After];
        let gaps = (0..).zip(causes).map(|(number, cause)| Gap { span: span(number, number + 1), cause });
        let past = Past {
            asked: span(0, 86_400),
            covered: span(1, 90_000),
            intervals: 1_234,
            gaps: gaps.clone().chain(gaps).collect(),
            steps: vec![ClockStep { at: at(7), by_ns: -3_600_000_000_000 }],
            damaged: 2,
            selections: vec!["--netns blue\u{1b}[2J".into()],
        };
        let lines: Vec<_> = lines_by(&past, &Clock::new(false)).into_iter().map(|line| line.text).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
