//! One row with all that is known of it.

use std::collections::HashMap;

use ratatui_core::text::Line;

use super::columns::bars;
use super::paint::{faint, plain, strong};
use super::{Context, wrapped};
use crate::dimension::{ALL, Dimension};
use crate::domain::event::NamedKey;
use crate::explain::write_topic_commands_first;
use crate::explained::{RowValues, row_values};
use crate::render::fit::shorten;
use crate::render::number::{Grouped, range, rate};
use crate::render::time::TimeText;
use crate::top::history::{CELLS, Entry};
use crate::top::model::Model;
use crate::top::sheet::Row;

/// Most values of a dimension.
const VALUES: usize = 6;
/// Most packets.
const PACKETS: usize = 8;
/// Most lines of a command.
const COMMAND: usize = 6;

/// All lines of the page.
pub(super) fn lines(model: &Model, context: &Context<'_>, width: usize) -> Vec<Line<'static>> {
    let Some(row) = model.row() else { return vec![] };
    let entries = model.entries();
    let mut lines = counts(row);
    lines.extend(values(&entries, width).into_iter().map(|line| plain(line)));
    lines.push(Line::default());
    lines.push(strong("Command that shows these drops".into()));
    lines.extend(wrapped(&model.command().unwrap_or_default(), width, COMMAND).into_iter().map(|line| plain(line)));
    lines.push(Line::default());
    lines.extend(packets(&entries, model.is_past(), context));
    lines.extend(explanation(model, row, context, width));
    lines
}

fn counts(row: &Row) -> Vec<Line<'static>> {
    let total = &row.total;
    let bytes = total.bytes.map_or("-".into(), |bytes| Grouped(bytes).to_string());
    let rate = row.rate.map_or("-".into(), rate);
    let time = |timestamp| TimeText::new(timestamp).as_str().get(..19).unwrap_or_default().replace('T', " ");
    let packets = range(total.packets, total.at_most());
    vec![
        strong(format!("{packets} drops  {rate}/s  {bytes} bytes  {}", bars(&row.trend, CELLS))),
        plain(format!("first in the run {}  last {} UTC", time(total.first_seen), time(total.last_seen))),
        Line::default(),
    ]
}

/// Each dimension with its values, those with the most drops first.
fn values(entries: &[&Entry], width: usize) -> Vec<String> {
    let known = ALL.iter().filter_map(|dimension| {
        let values = counted(entries, *dimension);
        let is_known = values.iter().any(|(value, _)| value != "-");
        is_known.then(|| shorten(format!("{:<11} {}", dimension.name(), listed(&values)), width).into_owned())
    });
    known.collect()
}

fn counted(entries: &[&Entry], dimension: &dyn Dimension) -> Vec<(String, u64)> {
    let mut packets: HashMap<String, u64> = HashMap::new();
    for entry in entries {
        *packets.entry(dimension.value(&entry.total.key).into_owned()).or_default() += entry.total.packets;
    }
    let mut values: Vec<_> = packets.into_iter().collect();
    values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    values
}

/// `eth0`; with counts where there are several: `eth0 300, eth1 200, 3 more`.
fn listed(values: &[(String, u64)]) -> String {
    if let [(value, _)] = values {
        return value.clone();
    }
    let shown = values.iter().take(VALUES).map(|(value, packets)| format!("{value} {}", Grouped(*packets)));
    let more = values.len().saturating_sub(VALUES);
    shown.chain((more > 0).then(|| format!("{more} more"))).collect::<Vec<_>>().join(", ")
}

fn packets(entries: &[&Entry], is_past: bool, context: &Context<'_>) -> Vec<Line<'static>> {
    let packets = context.recent.lines(entries.iter().map(|entry| &*entry.total.key), PACKETS);
    if packets.is_empty() {
        let none = if is_past {
            "The history has no single drop of the row: it keeps some of rows that healthy hosts never have."
        } else {
            "No packet of the row was captured; the command above shows them."
        };
        return vec![faint(none.into()), Line::default()];
    }
    let mut lines = vec![strong("Last captured packets, a sample; times in UTC".into())];
    lines.extend(packets.into_iter().map(plain));
    lines.push(Line::default());
    lines
}

/// What `droptrace explain` shows of the reason.
fn explanation(model: &Model, row: &Row, context: &Context<'_>, width: usize) -> Vec<Line<'static>> {
    let key = &row.total.key;
    let Some(topic) = model.knowledge().topic(key) else {
        return vec![faint("The rows have no drop reason, or droptrace has no explanation of it.".into())];
    };
    let entries = model.entries();
    let keys: Vec<&NamedKey> = entries.iter().map(|entry| &*entry.total.key).collect();
    let RowValues { values, .. } = row_values(&keys, context.recent, model.selection().netns.as_deref());
    let mut text = Vec::new();
    if write_topic_commands_first(&mut text, &topic, &values, width).is_err() {
        return vec![];
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = |(at, line): (usize, &str)| {
        let styled = if at == 0 { strong } else { plain };
        folded(line, width).into_iter().map(styled).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(line).collect()
}

/// A line in as many as it needs: commands may be longer than the screen is wide.
fn folded(line: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width).subsequent_indent("      ");
    textwrap::wrap(line, options).into_iter().map(std::borrow::Cow::into_owned).collect()
}
