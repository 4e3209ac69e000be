//! The rows, the sums of the drops without a row, and the ledger.

use ratatui_core::text::Line;

use super::columns::Columns;
use super::paint::{Paint, faint, plain, strong};
use super::{Context, wrapped};
use crate::render::number::Grouped;
use crate::sink::LedgerLine;
use crate::top::history::READINGS;
use crate::top::model::Model;
use crate::top::sheet::Sum;

/// Most lines of the ledger.
const LEDGER: usize = 3;
/// Most lines of what else is said of the run: losses outside `kfree_skb`, gaps of a history.
const OUTSIDE: usize = 2;

/// All lines between the head and the keys.
pub(super) fn lines(
    model: &mut Model,
    context: &Context<'_>,
    size: (usize, usize),
    paint: Paint,
) -> Vec<Line<'static>> {
    let (width, height) = size;
    let verdict = verdict(model, width, paint);
    let sums = sums(model);
    // The heading, an empty line before the sums, and the total.
    let room = height.saturating_sub(verdict.len() + sums.len() + 2).max(1);
    model.fit(room, 0);
    let sheet = model.sheet();
    let (cursor, offset) = model.position();
    let shown = &sheet.rows[offset.min(sheet.rows.len())..sheet.rows.len().min(offset + room)];
    let largest = (sheet.total.packets, sheet.total.rate);
    let columns = Columns::fit(shown, model.look().grouper.by(), largest, width);
    let all = sheet.total.packets;
    let mut lines = vec![strong(columns.heading(&span(context)))];
    for (at, row) in shown.iter().enumerate() {
        lines.push(paint.row(columns.row(row, all), row.is_active(), offset + at == cursor, width));
    }
    if sheet.rows.is_empty() {
        lines.push(plain(nothing(model).into()));
    }
    lines.resize(lines.len().max(room + 1), Line::default());
    let sum = |(label, sum): &(String, Sum)| columns.sum(sum.packets, sum.rate, all, label);
    lines.extend(sums.iter().map(|line| faint(sum(line))));
    lines.push(strong(sum(&(total(model, shown.len()), sheet.total))));
    lines.extend(verdict);
    lines
}

/// The drops without a row.
fn sums(model: &Model) -> Vec<(String, Sum)> {
    let sheet = model.sheet();
    let sums = [
        ("left out by the filter (Esc)", sheet.filtered),
        ("usual, hidden (x)", sheet.usual),
        ("map full: raise --map-entries", sheet.overflow),
    ];
    sums.into_iter().filter(|(_, sum)| sum.packets > 0).map(|(label, sum)| (label.to_owned(), sum)).collect()
}

fn total(model: &Model, shown: usize) -> String {
    let (rows, offset) = (model.sheet().rows.len(), model.position().1);
    if shown < rows {
        format!("total; rows {} to {} of {}", offset + 1, offset + shown, Grouped(rows as u64))
    } else {
        "total".into()
    }
}

fn nothing(model: &Model) -> &'static str {
    let sheet = model.sheet();
    match model.reading() {
        None => "starting …",
        Some(_) if sheet.total.packets > 0 => "No drop has a row here.",
        Some(reading) if reading.since_reset.is_some() => "No packet was dropped since the reset.",
        Some(_) => "No packet was dropped so far.",
    }
}

/// What was seen, counted and lost; then what else is said of the run, as far as there is room.
fn verdict(model: &Model, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let Some(reading) = model.reading() else { return vec![] };
    let mut lines = Vec::new();
    let is_ledger = |line: &&LedgerLine| line.text.starts_with("ledger");
    let (ledger, others): (Vec<_>, Vec<_>) = reading.verdict.iter().partition(is_ledger);
    let most = [(ledger, LEDGER), (others, OUTSIDE)];
    for (line, most) in most.into_iter().flat_map(|(lines, most)| lines.into_iter().map(move |line| (line, most))) {
        let wrapped = wrapped(&line.text, width, most).into_iter();
        lines.extend(wrapped.map(|text| if line.healthy { plain(text) } else { paint.alarm(text) }));
    }
    if reading.not_packets > 0 {
        lines.push(faint(format!("not packets of a network, and without a row: {}", Grouped(reading.not_packets))));
    }
    let room = LEDGER + OUTSIDE;
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(faint(format!("… and {more} more lines, which the table after q has")));
    }
    lines
}

/// The time that a trend covers.
fn span(context: &Context<'_>) -> String {
    let readings = u32::try_from(READINGS).unwrap_or(u32::MAX);
    match context.interval.saturating_mul(readings).as_secs() {
        seconds @ ..=59 => format!("{seconds} S"),
        seconds @ ..=3_599 => format!("{} MIN", seconds / 60),
        seconds => format!("{} H", seconds / 3_600),
    }
}
