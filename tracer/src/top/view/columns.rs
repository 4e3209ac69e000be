//! The columns of the rows, and their widths.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::dimension::{Dimension, Dimensions};
use crate::domain::event::NamedKey;
use crate::explain::Usual;
use crate::outside::printable;
use crate::render::fit::{padded, shorten, width};
use crate::render::number::{Grouped, range, rate};
use crate::top::history::{CELLS, Trend};
use crate::top::sheet::{Row, WHO};

/// From this width on, rows have the whole trend.
const WIDE: usize = 120;
/// Cells of the trend on a narrow screen.
const FEW_CELLS: usize = 8;
/// Least width of a name.
const MIN_NAME: usize = 9;
/// Characters by which a reason may be wider than other names, where not all have room.
const REASON: usize = 6;

/// A column of names.
#[derive(Clone, Copy)]
enum Name {
    Dimension(&'static dyn Dimension),
    /// The most exact name of the owner.
    Who,
}

impl Name {
    fn heading(self) -> &'static str {
        match self {
            Self::Dimension(dimension) => dimension.column().heading,
            Self::Who => "WHO",
        }
    }

    fn text(self, key: &NamedKey, width: usize) -> Cow<'_, str> {
        match self {
            Self::Dimension(dimension) if dimension.name() == "site" => site(key, dimension, width),
            Self::Dimension(dimension) => dimension.text(key, width),
            Self::Who => shorten(who(key), width),
        }
    }
}

/// The drop site; where it does not fit, the function without its offset.
fn site<'k>(key: &'k NamedKey, dimension: &dyn Dimension, room: usize) -> Cow<'k, str> {
    let whole = dimension.value(key);
    match &key.location.symbol {
        Some(symbol) if width(&whole) > room => shorten(printable(&symbol.name), room),
        _ => shorten(whole, room),
    }
}

/// The most exact name of the owner; the number of its control group if it has no name; `-` if it is unknown.
pub(super) fn who(key: &NamedKey) -> String {
    match key.owner.name() {
        Some(name) => printable(&name).into_owned(),
        None if key.cgroup_id == 0 => "-".into(),
        None => key.cgroup_id.to_string(),
    }
}

/// The columns with their widths.
pub(super) struct Columns {
    rate: usize,
    packets: usize,
    cells: usize,
    has_usual: bool,
    names: Vec<(Name, usize)>,
}

impl Columns {
    /// The columns for some rows, of which `largest` is the largest number.
    pub(super) fn fit(rows: &[Row], by: &Dimensions, largest: (u64, Option<f64>), room: usize) -> Self {
        let rate = largest.1.map_or(1, |largest| rate(largest).len()).max("DROPS/S".len());
        let packets =
            rows.iter().map(|row| range(row.total.packets, row.total.at_most()).len()).max().unwrap_or_default();
        let packets = packets.max(Grouped(largest.0).to_string().len()).max("TOTAL".len());
        let cells = if room >= WIDE { CELLS } else { FEW_CELLS };
        let mut columns = Self { rate, packets, cells, has_usual: by.contains("reason"), names: vec![] };
        let left = room.saturating_sub(width(&columns.numbers("", "", "", "", "")));
        columns.names = names(rows, by, left);
        columns
    }

    /// The cells before the names.
    fn numbers(&self, rate: &str, trend: &str, packets: &str, share: &str, usual: &str) -> String {
        let mut text = format!("{rate:>0$} ", self.rate);
        _ = write!(text, "{trend:<0$} {packets:>1$} {share:>5} ", self.cells, self.packets);
        if self.has_usual {
            _ = write!(text, "{usual:<5} ");
        }
        text
    }

    pub(super) fn heading(&self, trend: &str) -> String {
        let mut text = self.numbers("DROPS/S", trend, "TOTAL", "SHARE", "USUAL");
        for (name, width) in &self.names {
            _ = write!(text, "{:<width$} ", shorten(name.heading(), *width));
        }
        text.trim_end().to_owned()
    }

    /// A row: its numbers, its first name, and its other names.
    pub(super) fn row(&self, row: &Row, all: u64) -> [String; 3] {
        let rate = row.rate.map_or("-".into(), rate);
        let usual = row.usual.map_or("-", short_usual);
        let packets = range(row.total.packets, row.total.at_most());
        let share = share(row.total.packets, all);
        let numbers = self.numbers(&rate, &bars(&row.trend, self.cells), &packets, &share, usual);
        let mut names = self.names.iter().map(|(name, width)| cell(&name.text(&row.total.key, *width), *width));
        [numbers, names.next().unwrap_or_default(), names.collect()]
    }

    /// A sum, with a label instead of the names.
    pub(super) fn sum(&self, packets: u64, a_second: Option<f64>, all: u64, label: &str) -> String {
        let rate = a_second.map_or("-".into(), rate);
        let numbers = self.numbers(&rate, "", &Grouped(packets).to_string(), &share(packets, all), "");
        format!("{numbers}{label}")
    }
}

fn cell(text: &str, width: usize) -> String {
    format!("{text:<0$} ", padded(text, width))
}

const fn short_usual(usual: Usual) -> &'static str {
    match usual {
        Usual::Never => "never",
        Usual::Sometimes => "some",
        Usual::Often => "often",
    }
}

/// `12.3%`; `<0.1%` for less than that.
#[expect(clippy::cast_precision_loss, reason = "a share is no count")]
fn share(packets: u64, all: u64) -> String {
    let share = if all == 0 { 0.0 } else { packets as f64 * 100.0 / all as f64 };
    match share {
        99.95.. => "100%".into(),
        0.05.. => format!("{share:.1}%"),
        _ if packets > 0 => "<0.1%".into(),
        _ => "0%".into(),
    }
}

/// A trend as bars, of which the highest has the largest rate. A cell with drops has a bar, however few they are.
pub(super) fn bars(trend: &Trend, cells: usize) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let each = CELLS / cells.clamp(1, CELLS);
    let peaks: Vec<f32> = trend.chunks(each).map(|chunk| chunk.iter().copied().fold(0.0, f32::max)).collect();
    let highest = peaks.iter().copied().fold(0.0, f32::max);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8")]
    let bar = |rate: f32| if rate > 0.0 { BARS[((rate / highest * 8.0).ceil() as usize).clamp(1, 8)] } else { ' ' };
    peaks.into_iter().map(bar).collect()
}

/// The columns of names that fit, in the order of the dimensions. Of those that do not, the last go first. A column without
/// a known value is left out.
fn names(rows: &[Row], by: &Dimensions, room: usize) -> Vec<(Name, usize)> {
    let has_who = WHO.iter().filter(|name| by.contains(name)).count() > 1;
    let single = by.iter().filter(|dimension| !(has_who && WHO.contains(&dimension.name()))).map(Name::Dimension);
    let mut names: Vec<(Name, usize)> = single.chain(has_who.then_some(Name::Who)).map(|name| (name, 0)).collect();
    let is_only = names.len() == 1;
    for (name, wanted) in &mut names {
        let texts = rows.iter().map(|row| name.text(&row.total.key, usize::MAX));
        let widest = texts.filter(|text| text != "-").map(|text| width(&text)).max();
        *wanted = widest.map_or(usize::from(is_only), |widest| widest.max(name.heading().len()));
    }
    names.retain(|(_, wanted)| *wanted > 0);
    let least = |names: &[(Name, usize)]| names.iter().map(|(_, wanted)| (*wanted).min(MIN_NAME) + 1).sum::<usize>();
    while names.len() > 1 && least(&names) > room {
        names.pop();
    }
    share_room(&mut names, room);
    names
}

/// Narrows the widest column until all fit. A reason counts as narrower than it is, because a reason that is cut says less.
fn share_room(names: &mut [(Name, usize)], room: usize) {
    let mut taken: usize = names.iter().map(|(_, wanted)| wanted + 1).sum();
    while taken > room {
        let weight = |(name, wanted): &&mut (Name, usize)| match name {
            Name::Dimension(dimension) if dimension.name() == "reason" => wanted.saturating_sub(REASON),
            _ => *wanted,
        };
        let Some((_, widest)) = names.iter_mut().max_by_key(weight).filter(|it| it.1 > 1) else { break };
        *widest -= 1;
        taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_each_cell_with_drops() {
        let mut trend = Trend::default();
        (trend[0], trend[CELLS - 1]) = (0.001, 100.0);
        let whole = bars(&trend, CELLS);
        assert_eq!(whole.chars().count(), CELLS);
        assert!(whole.starts_with("▁ ") && whole.ends_with(" █"), "{whole}");
        assert_eq!(bars(&trend, FEW_CELLS), "▁      █");
        assert_eq!(bars(&Trend::default(), FEW_CELLS), " ".repeat(FEW_CELLS));
    }

    #[test]
    fn shares_never_hide_drops() {
        assert_eq!([share(0, 10), share(1, 10_000), share(1, 3), share(3, 3)], ["0%", "<0.1%", "33.3%", "100%"]);
        assert_eq!(share(0, 0), "0%");
    }
}
