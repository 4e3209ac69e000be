//! Draws the screen: the head, the rows or the page that covers them, the sums, and the keys.

mod columns;
mod help;
mod opened;
mod paint;
mod rows;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::text::Line;

use super::model::{Model, Page};
use super::sheet::default_dimensions;
use crate::dimension::Dimension;
use crate::explained::Recent;
use crate::outside::printable;
use crate::render::fit::{shorten, width};
use crate::render::number::Grouped;
use paint::{Paint, keys as keys_line, plain, prompt, strong};

/// The smallest screen that has rows.
const SMALLEST: (u16, u16) = (40, 10);

/// What the screen needs beside its state.
pub(crate) struct Context<'r> {
    /// The name of the backend.
    pub(crate) backend: &'r str,
    /// Time between two readings.
    pub(crate) interval: Duration,
    /// Use colours.
    pub(crate) color: bool,
    /// The last packets.
    pub(crate) recent: &'r Recent,
}

/// Draws the screen into a buffer. The model learns how many rows fit.
pub(crate) fn draw(model: &mut Model, context: &Context<'_>, buffer: &mut Buffer) {
    let Rect { width, height, .. } = *buffer.area();
    let paint = Paint { color: context.color };
    let is_too_small = width < SMALLEST.0 || height < SMALLEST.1;
    model.set_too_small(is_too_small);
    if is_too_small {
        let needed = format!("{} × {}", SMALLEST.0, SMALLEST.1);
        return show(&["too small:", &needed, "are needed"].map(Line::from), buffer);
    }
    let (width, height) = (usize::from(width), usize::from(height));
    let mut lines = head(model, context, width, paint);
    let room = height - lines.len() - 1;
    let keys = match model.page() {
        Page::Opened(_) => {
            let page = opened::lines(model, context, width);
            lines.extend(part(model, page, room));
            "Esc back   ↑ ↓ PgUp PgDn scroll   c command   w write packets   q quit"
        }
        Page::Help(_) => {
            let page = help::lines(model.is_past());
            lines.extend(part(model, page, room));
            "Esc back   ↑ ↓ scroll   q quit"
        }
        Page::Filter(..) => {
            lines.extend(rows::lines(model, context, (width, room), paint));
            "Enter filter   Ctrl-U clear   Esc back"
        }
        Page::Rows | Page::Command(_) => {
            lines.extend(rows::lines(model, context, (width, room), paint));
            "? help  / filter  s sort  g group  x usual  Enter open  c w command  q quit"
        }
    };
    lines.resize(height - 1, Line::default());
    lines.push(keys_line(&shorten(keys, width), width));
    show(&lines, buffer);
}

/// The part of a long page that fits.
fn part(model: &mut Model, page: Vec<Line<'static>>, room: usize) -> Vec<Line<'static>> {
    model.fit(room, page.len().saturating_sub(room));
    let (Page::Opened(first) | Page::Help(first)) = *model.page() else { return page };
    page.into_iter().skip(first).take(room).collect()
}

fn show(lines: &[Line<'_>], buffer: &mut Buffer) {
    let Rect { width, height, .. } = *buffer.area();
    for (y, line) in (0..height).zip(lines) {
        buffer.set_line(0, y, line, width);
    }
}

/// Two lines about the run, and those of a text that is typed.
fn head(model: &Model, context: &Context<'_>, room: usize, paint: Paint) -> Vec<Line<'static>> {
    let mut title = "droptrace top".to_owned();
    if let Some(reading) = model.reading() {
        let (name, kernel) = (printable(&reading.host.name), printable(&reading.host.kernel));
        title = format!("{title}  {name}  Linux {kernel}  {}  {}", context.backend, clock(reading.duration));
        if let Some(since) = reading.since_reset {
            title = format!("{title}  reset {} ago", clock(since));
        }
    }
    let state = if model.is_frozen() { "FROZEN" } else { "" };
    let gap = room.saturating_sub(state.len() + 1);
    let mut lines = vec![paint.title(shorten(title, gap).into_owned(), state, room), plain(settings(model, room))];
    match model.page() {
        Page::Filter(text, problem) => {
            lines.push(prompt("filter: ", &tail(&printable(text), room.saturating_sub(10))));
            lines.extend(problem.iter().flat_map(|text| wrapped(text, room, 4)).map(|line| paint.alarm(line)));
        }
        Page::Command(command) => lines.extend(wrapped(command, room, 4).into_iter().map(|line| strong(line))),
        _ => {}
    }
    lines
}

/// The sum of all drops, and which rows are shown.
fn settings(model: &Model, room: usize) -> String {
    let (sheet, look) = (model.sheet(), model.look());
    let rate = sheet.total.rate.map_or("-".into(), crate::render::number::rate);
    let mut parts = vec![format!("{} drops", Grouped(sheet.total.packets)), format!("{rate}/s")];
    let unit = if sheet.rows.len() == 1 { "row" } else { "rows" };
    parts.push(format!("{} {unit}", Grouped(sheet.rows.len() as u64)));
    parts.push(format!("by {}", look.order.name()));
    if *look.grouper.by() != default_dimensions() {
        let names: Vec<_> = look.grouper.by().iter().map(Dimension::name).collect();
        parts.push(format!("group {}", names.join(",")));
    }
    if look.hides_usual {
        parts.push("usual hidden".into());
    }
    parts.extend(model.filter().map(|filter| format!("filter: {}", printable(filter))));
    parts.extend(model.selection().filter.as_ref().map(|filter| {
        let whose = if model.is_past() { "only" } else { "in the kernel" };
        format!("{whose}: {}", printable(filter))
    }));
    shorten(parts.join("  "), room).into_owned()
}

/// `1:02:03`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A text in lines of a width, at most so many.
fn wrapped(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .flat_map(|line| {
            textwrap::wrap(&printable(line), room).into_iter().map(std::borrow::Cow::into_owned).collect::<Vec<_>>()
        })
        .collect();
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = shorten(format!("{last} …"), room).into_owned();
        }
    }
    lines
}

/// The end of a text, as much as fits.
fn tail(text: &str, room: usize) -> String {
    let mut start = 0;
    while width(&text[start..]) > room {
        start += text[start..].chars().next().map_or(1, char::len_utf8);
    }
    text[start..].to_owned()
}
