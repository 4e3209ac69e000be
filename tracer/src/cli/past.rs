//! A time that is over, from the history of an agent: its totals (`stat --since`, `top --since`) and the single drops that were kept of it
//! (`trace --since`). Nothing is asked of the kernel, so that no capabilities are needed.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};

use super::args::{CommonArgs, PastArgs, StatArgs, TraceArgs};
use super::hide::Hide;
use super::record_filter::RecordFilter;
use super::sinks;
use super::trace::Shown;
use super::verdict::{self, Scope};
use crate::backend::history::{History, Interval, Read};
use crate::backend::replay::RawDrop;
use crate::dimension::{Dimension, Dimensions};
use crate::domain::event::{DropEvent, Timestamp};
use crate::domain::past::Span;
use crate::domain::report::StatReport;
use crate::explain::UsualDrops;
use crate::explained::{Above, Explained};
use crate::filter::Filter;
use crate::kernel::clock::Clock;
use crate::outside::say;
use crate::pipeline::group::group_by;
use crate::pipeline::past::{PastSum, RowFilter};
use crate::render::number::Grouped;
use crate::render::output::Output;
use crate::render::time::TimeText;
use crate::run::Consumer as _;
use crate::sink::{RunEnd, StatFormat, history_lines, local_zone};

/// The exit status of `--fail-if`, as for a run.
const FAILED_CONDITION: u8 = 4;

/// Shows the totals of a time span.
pub(super) fn stat(args: &StatArgs) -> Result<ExitCode> {
    let output = Output::open(args.common.destination.file.output.as_deref())?;
    let (span, now) = span(&args.past)?;
    let mut sum = PastSum::new(span, row_filter(&args.common)?);
    let mut explained = args.explain.then(Explained::new).transpose()?;
    read(&args.past, span, |found| {
        if let (Some(explained), Read::Interval(interval)) = (&mut explained, &found) {
            explained_records(explained, interval);
        }
        sum.add(found);
    })?;
    let (home_netns, has_owners) = (sum.home_netns(), sum.has_owners());
    let mut report = report_of(&sum, span, now, &args.past)?;
    let by = args.by.clone().unwrap_or_else(Dimensions::usual);
    if by.has_attribution() && !has_owners {
        tracing::warn!(
            "--by: the agent counted without owners; `droptrace agent --owners {}` counts with them",
            names(&by)
        );
    }
    let scope = Scope { home_netns, is_one_netns: args.common.netns.is_some() };
    let fails = verdict::fails(&args.fail_if, &report, scope);
    if let Some(hide) = Hide::of(&args.hide, home_netns)? {
        hide.apply(&mut report, args.by.as_ref());
    }
    let ungrouped = explained.is_some().then(|| report.clone());
    report.drops = group_by(&report.drops, &by);
    if !by.has_attribution() {
        report.attribution = None;
    }
    sinks::stat(args, output.clone(), home_netns, false).report(&report)?;
    if let (Some(explained), Some(report)) = (&explained, &ungrouped) {
        let (above, width) = (Above::Table(args.by.as_ref()), output.size()().width);
        explained.write(&mut output.clone(), report, above, args.common.netns.as_deref(), width)?;
    }
    output.finish()?;
    if args.format() == StatFormat::Csv {
        say_what_is_missing(&report);
    }
    Ok(if fails { FAILED_CONDITION.into() } else { ExitCode::SUCCESS })
}

/// Shows the single drops that were kept of a time span.
pub(super) fn trace(args: &TraceArgs) -> Result<()> {
    let output = Output::open(args.output())?;
    sinks::refuse_terminal(args.format(), &output)?;
    let (span, now) = span(&args.past)?;
    let mut sum = PastSum::new(span, None);
    let mut records = vec![];
    read(&args.past, span, |mut found| {
        if let Read::Interval(interval) = &mut found {
            records.append(&mut interval.records);
        }
        sum.add(found);
    })?;
    records.retain(|record| span.from <= record.timestamp && record.timestamp < span.to);
    records.sort_by_key(|record| record.timestamp);
    let (home_netns, left_out) = (sum.home_netns(), sum.records_left_out());
    let report = report_of(&sum, span, now, &args.past)?;
    let filter = filter_of(&args.common)?.map(|filter| RecordFilter::new(&filter, home_netns)).transpose()?;
    let sink = sinks::trace(args, output.clone(), home_netns, 0);
    let explained = args.explain.then(Explained::new).transpose()?;
    let mut shown = Shown::new(sink, args.count.map_or(u64::MAX, Into::into)).filtered(filter).explaining(explained);
    shown.hide = Hide::of(&args.hide, home_netns)?;
    shown.sink.start(&report.host, report.started_at)?;
    let kept = records.len() as u64;
    for record in records {
        with_event(record, |event| shown.event(event))?;
    }
    let hidden = shown.hidden();
    shown.sink.finish(&RunEnd { hidden: &hidden, duration: Some(report.duration), ..RunEnd::default() })?;
    shown.explain(&report, args.common.netns.as_deref(), &output)?;
    output.finish()?;
    say_what_was_kept(&report, kept, left_out);
    say_what_is_missing(&report);
    Ok(())
}

/// A history has single drops of few rows: the user must not take them for all.
fn say_what_was_kept(report: &StatReport, kept: u64, left_out: u64) {
    let packets = report.drops.iter().filter(|total| total.key.kind.is_packet()).map(|total| total.packets);
    let all: u64 = packets.chain(report.overflow.iter().map(|total| total.packets)).sum();
    say(
        "droptrace",
        format_args!(
            "the history has {} single drops of this time, of rows that healthy hosts never have ({} more came and found no \
             room); {} packets were dropped in all: `droptrace stat --since` counts them",
            Grouped(kept),
            Grouped(left_out),
            Grouped(all),
        ),
    );
}

/// For forms that do not have the lines about the history.
fn say_what_is_missing(report: &StatReport) {
    for line in report.past.iter().flat_map(history_lines) {
        say("droptrace", format_args!("{}", line.text));
    }
}

fn names(by: &Dimensions) -> String {
    let owners = by.iter().map(Dimension::name);
    owners.filter(|name| Dimensions::owners(name).is_ok()).collect::<Vec<_>>().join(",")
}

/// The span that was asked for, and the present.
pub(super) fn span(args: &PastArgs) -> Result<(Span, Timestamp)> {
    let now = Clock::now();
    let span = args.span(now, &local_zone()).map_err(|error| anyhow!(error))?;
    Ok((span, now))
}

/// Reads the history, and says what cannot be read of it.
pub(super) fn read(args: &PastArgs, span: Span, mut take: impl FnMut(Read)) -> Result<()> {
    let history = History::open(&args.folder())?;
    let mut rejected = None;
    history.read(span, |found| {
        if let Read::Damaged(Some(why)) = &found {
            rejected.get_or_insert_with(|| why.to_string());
        }
        take(found);
    })?;
    if let Some(why) = rejected {
        tracing::warn!("an interval of the history cannot be read: {why}");
    }
    Ok(())
}

/// The report of the intervals, or why there is none.
pub(super) fn report_of(sum: &PastSum, span: Span, now: Timestamp, args: &PastArgs) -> Result<StatReport> {
    let elsewhere = sum.elsewhere();
    if let Some(report) = sum.report(now) {
        return Ok(report);
    }
    let text = |time| TimeText::new(time).as_str()[..19].to_owned() + "Z";
    let (folder, from, to) = (args.folder(), text(span.from), text(span.to));
    let folder = folder.display();
    match elsewhere {
        Some(it) => bail!(
            "the history in {folder} has nothing from {from} to {to}: its intervals are from {} to {}",
            text(it.from),
            text(it.to)
        ),
        None => bail!("the history in {folder} has no interval that can be read; see the agent's messages"),
    }
}

/// The filter of the options, with `--netns` and `--interface` as words of it.
fn filter_of(args: &CommonArgs) -> Result<Option<Filter>> {
    let words = [("netns", "--netns", &args.netns), ("iface", "--interface", &args.interface)];
    let mut parts = vec![];
    for (word, option, value) in words {
        let Some(value) = value else { continue };
        let part = format!("{word} {value}");
        let parsed =
            Filter::parse(&part).map_err(|error| anyhow!("{error}")).with_context(|| format!("{option} {value}"))?;
        if parsed.asks_holder() {
            bail!(
                "{option} {value}: the process or file may be another one by now; name the namespace, or its inode number"
            );
        }
        parts.push(part);
    }
    parts.extend(args.filter.iter().map(|filter| format!("({})", filter.text)));
    if parts.is_empty() {
        return Ok(None);
    }
    Filter::parse(&parts.join(" and ")).map(Some).map_err(|error| anyhow!("{error}"))
}

/// The same for rows, which have no packets.
pub(super) fn row_filter(args: &CommonArgs) -> Result<Option<RowFilter>> {
    let Some(filter) = filter_of(args)? else { return Ok(None) };
    if filter.asks_packet() || filter.asks_user() || filter.asks_process() || filter.asks_holder() {
        bail!(
            "invalid filter: the history has counts of rows, which have no addresses, ports, users and processes; ask by reason, \
             site, iface, netns, cgroup, container, pod or usual, or use `droptrace trace --since` for the single drops that were \
             kept"
        );
    }
    let usual = UsualDrops::built_in().context("cannot read the explanations of drop reasons")?;
    Ok(Some(RowFilter { filter, usual }))
}

fn explained_records(explained: &mut Explained, interval: &Interval) {
    for record in interval.records.clone() {
        with_event(record, |event| explained.add(event));
    }
}

/// Gives a recorded drop to `take` as an event.
pub(super) fn with_event<T>(record: RawDrop, take: impl FnOnce(&DropEvent<'_>) -> T) -> T {
    let RawDrop { origin, timestamp, key, length, start, bytes, facts, process, stack, .. } = record;
    let (key, seen_by) = (Arc::new(key), origin.alone());
    let process = process.as_ref();
    take(&DropEvent { timestamp, key: &key, seen_by, length, start, bytes: &bytes, facts, process, stack: &stack })
}
