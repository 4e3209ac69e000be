//! `droptrace top --since`: a time that is over, on the screen. Nothing is asked of the kernel.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Checks, Top, has_screen, selection, table};
use crate::backend::history::{Interval, Read};
use crate::cli::args::TopArgs;
use crate::cli::past::{self, with_event};
use crate::domain::event::Timestamp;
use crate::domain::past::Span;
use crate::explained::Recent;
use crate::pipeline::past::PastSum;
use crate::render::output::Output;
use crate::render::time::TimeText;
use crate::run::Stop;
use crate::sink::local_span;
use crate::top::history::READINGS;
use crate::top::knowledge::Knowledge;
use crate::top::model::Model;

/// Shows the screen until the user leaves it, then the table of the time.
pub(in crate::cli) async fn run(args: &TopArgs) -> Result<()> {
    if !has_screen() {
        return past::stat(&args.without_screen()).map(drop);
    }
    let output = Output::open(args.common.destination.file.output.as_deref())?;
    let mut stop = Stop::new(None)?.while_read(&output);
    let (span, now) = past::span(&args.past)?;
    let mut model = Model::new(Knowledge::built_in(0)?, selection(&args.common, options(args, span)), args.by.as_ref());
    let mut recent = Recent::default();
    let mut slices = Slices::new(PastSum::new(span, past::row_filter(&args.common)?), span, now);
    past::read(&args.past, span, |found| {
        if let Read::Interval(interval) = &found {
            slices.read_before(interval, &mut model);
            keep(interval, span, &mut recent);
        }
        slices.sum.add(found);
    })?;
    let (home_netns, readings) = (slices.sum.home_netns(), u32::try_from(slices.readings + 1).unwrap_or(u32::MAX));
    let report = past::report_of(&slices.sum, span, now, &args.past)?;
    model.read_past(&report, home_netns);
    let covered = report.past.as_ref().map_or(span, |past| past.covered);
    let mut top = Top::take(args, Checks::Nothing, model, format!("history {}", local_span(covered)))?;
    let length = Duration::from_nanos(covered.to.0.saturating_sub(covered.from.0));
    (top.recent, top.interval) = (recent, length / readings);
    top.draw();
    while !top.is_done {
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = top.answer_next() => {}
        }
    }
    top.give_back();
    table(args, &top.model, home_netns, &output, report)?;
    output.finish()?;
    top.failed.map_or(Ok(()), |error| Err(error).context("cannot draw the screen"))
}

/// The intervals, as at most as many readings as the trends of the screen show.
struct Slices {
    sum: PastSum,
    now: Timestamp,
    /// Length of a slice in nanoseconds. A slice without the end of an interval is no reading.
    length: u64,
    /// The end of the present slice.
    ends_at: Timestamp,
    /// The end of the last interval; absent before the first.
    last_end: Option<Timestamp>,
    has_new: bool,
    /// The number of readings, with those that were passed over.
    readings: u64,
}

impl Slices {
    fn new(sum: PastSum, span: Span, now: Timestamp) -> Self {
        let length = (span.to.min(now).0.saturating_sub(span.from.0) / READINGS).max(1);
        let ends_at = Timestamp(span.from.0.saturating_add(length));
        Self { sum, now, length, ends_at, last_end: None, has_new: false, readings: 0 }
    }

    /// Gives the model the sum so far, if `interval` ends after the present slice.
    fn read_before(&mut self, interval: &Interval, model: &mut Model) {
        let missing = self.missing_before(interval.started_at, interval.ended_at);
        let beyond = interval.ended_at.0.saturating_sub(self.ends_at.0);
        if beyond > 0 {
            let slices = beyond.div_ceil(self.length);
            self.ends_at = Timestamp(self.ends_at.0.saturating_add(slices.saturating_mul(self.length)));
            if self.has_new {
                // Without an interval there is no report.
                self.sum.report(self.now).iter().for_each(|report| model.read(report));
                self.readings += 1;
            }
        }
        model.skip(missing);
        self.readings += missing;
        self.last_end = Some(interval.ended_at);
        self.has_new = true;
    }

    /// The number of readings that would be between the last interval and one of this time, if the history had no gap there.
    fn missing_before(&self, start: Timestamp, end: Timestamp) -> u64 {
        let gap = self.last_end.map_or(0, |last| start.0.saturating_sub(last.0));
        gap / end.0.saturating_sub(start.0).max(self.length)
    }
}

/// The options that choose the same time later, too.
fn options(args: &TopArgs, span: Span) -> Vec<(&'static str, String)> {
    let time = |time| TimeText::new(time).as_str().to_owned();
    let folder = args.past.history.as_ref().map(|folder| ("--history", folder.display().to_string()));
    [("--since", time(span.from)), ("--until", time(span.to))].into_iter().chain(folder).collect()
}

/// Keeps the single drops of the time that the agent kept.
fn keep(interval: &Interval, span: Span, recent: &mut Recent) {
    let is_in = |timestamp| span.from <= timestamp && timestamp < span.to;
    for record in interval.records.iter().filter(|record| is_in(record.timestamp)).cloned() {
        with_event(record, |event| recent.add(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_has_the_readings_that_are_missing() {
        let at = |seconds: u64| Timestamp(seconds * 1_000_000_000);
        let slices = |last_end| {
            let span = Span { from: at(0), to: at(10 * READINGS) };
            Slices { last_end, ..Slices::new(PastSum::new(span, None), span, at(10 * READINGS)) }
        };
        let missing = |last_end, from, to| slices(last_end).missing_before(at(from), at(to));
        assert_eq!(missing(None, 50, 60), 0, "the history starts there");
        assert_eq!(missing(Some(at(100)), 100, 110), 0);
        assert_eq!(missing(Some(at(100)), 109, 119), 0, "less than a reading");
        assert_eq!(missing(Some(at(100)), 160, 163), 6);
        assert_eq!(missing(Some(at(100)), 160, 190), 2, "intervals longer than a slice");
        assert_eq!(missing(Some(at(100)), 40, 50), 0, "the clock was set back");
    }
}
