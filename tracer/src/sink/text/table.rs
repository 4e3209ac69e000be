//! The rows of `stat`, in columns that fit.

mod layout;

use std::borrow::Cow;
use std::fmt::Write as _;

use layout::{BYTES, GAP, PACKETS, RATE, SEEN_BY, USUAL, Widths, fit};

use crate::dimension::{self, Dimension};
use crate::domain::event::{NamedKey, reason_name};
use crate::domain::total::OverflowTotal;
use crate::explain::{Usual, usual_of, usual_of_reason};
use crate::render::fit::{padded, seen_by, shorten, width};
use crate::render::number::{Grouped, range, rate};
use crate::render::paint::Style;
use crate::render::rank::Rank;

/// Texts of a missing key; the first that fits is shown.
const NO_KEY: [&str; 3] =
    ["drop site unknown: map full, raise --map-entries", "map full, raise --map-entries", "map full"];

/// The columns that a table has after its numbers.
pub(super) struct Shown {
    pub(super) dimensions: Vec<&'static dyn Dimension>,
    /// The dimensions were asked for.
    pub(super) are_chosen: bool,
    /// Several backends report drops.
    pub(super) seen_by: bool,
}

impl Shown {
    /// Whether rows say how usual they are: only drops with a reason do.
    fn has_usual(&self) -> bool {
        self.dimensions.iter().any(|dimension| dimension.name() == "reason")
    }
}

/// The cells of a row before they are fitted.
pub(super) struct Row<'r> {
    packets: String,
    rate: String,
    bytes: String,
    usual: &'static str,
    pub(super) style: Style,
    names: Names<'r>,
}

/// The subject of a row.
enum Names<'r> {
    Key {
        key: &'r NamedKey,
        /// The widths that the dimensions need, in full and in their short form.
        widths: Vec<[usize; 2]>,
        seen_by: &'static str,
    },
    /// Only the reason is known.
    Overflow(Cow<'r, str>),
    /// The label of a row that is a sum.
    Sum(String),
}

impl<'r> Row<'r> {
    pub(super) fn of_key(rank: &Rank<'r>, shown: &Shown) -> Self {
        let key = &*rank.total.key;
        let widths = |dimension: &&dyn Dimension| [width(&dimension.value(key)), width(&dimension.brief(key))];
        let usual = if shown.has_usual() { usual_of(key) } else { None };
        Self {
            packets: range(rank.total.packets, rank.total.at_most()),
            rate: rank.rate.map_or("-".into(), rate),
            bytes: known(rank.total.bytes),
            usual: usual.map_or("-", Usual::short),
            style: style_of(usual),
            names: Names::Key {
                key,
                widths: shown.dimensions.iter().map(widths).collect(),
                seen_by: seen_by(rank.total.seen_by),
            },
        }
    }

    pub(super) fn of_overflow(total: &'r OverflowTotal) -> Self {
        let reason = total.reason.as_deref();
        let usual = usual_of_reason(reason.and_then(reason_name));
        Self {
            packets: Grouped(total.packets).to_string(),
            rate: "-".into(),
            bytes: known(total.bytes),
            usual: usual.map_or("-", Usual::short),
            style: style_of(usual),
            names: Names::Overflow(reason.map_or("-".into(), dimension::reason)),
        }
    }

    pub(super) fn of_sum(packets: u64, packets_a_second: Option<f64>, bytes: Option<u64>, label: String) -> Self {
        Self {
            packets: Grouped(packets).to_string(),
            rate: packets_a_second.map_or("-".into(), rate),
            bytes: known(bytes),
            usual: "",
            style: Style::Plain,
            names: Names::Sum(label),
        }
    }

    /// The same row, as less important.
    pub(super) fn faint(self) -> Self {
        Self { style: Style::Faint, ..self }
    }

    /// The widths that the row needs in a column of dimensions.
    fn widths(&self, column: usize, dimension: &dyn Dimension) -> [usize; 2] {
        match &self.names {
            Names::Key { widths, .. } => widths[column],
            Names::Overflow(reason) if dimension.name() == "reason" => [width(reason); 2],
            Names::Overflow(_) | Names::Sum(_) => [0; 2],
        }
    }

    const fn seen_by(&self) -> &'static str {
        if let Names::Key { seen_by, .. } = self.names { seen_by } else { "" }
    }
}

/// Faults stand out, and the drops of healthy hosts step back.
pub(super) const fn style_of(usual: Option<Usual>) -> Style {
    match usual {
        Some(Usual::Never) => Style::Fault,
        Some(Usual::Often) => Style::Faint,
        Some(Usual::Sometimes) | None => Style::Plain,
    }
}

fn known(number: Option<u64>) -> String {
    number.map_or("-".into(), |number| Grouped(number).to_string())
}

/// The columns with their widths.
pub(super) struct Columns {
    dimensions: Vec<&'static dyn Dimension>,
    /// Packets, rate, bytes, whether it is usual, the dimensions, the sources.
    widths: Vec<Widths>,
}

/// Number of columns before the dimensions.
const NUMBERS: usize = 4;

impl Columns {
    /// Columns for these rows within `room`.
    pub(super) fn fit(rows: &[Row<'_>], shown: Shown, room: usize) -> Self {
        let widest = |name, heading: &str, of: &dyn Fn(&Row<'_>) -> [usize; 2]| {
            let most = |at: usize| rows.iter().map(|row| of(row)[at]).max().unwrap_or_default().max(heading.len());
            Widths { name, wanted: most(0), brief: most(1), heading: heading.len(), width: most(0) }
        };
        let (has_usual, has_seen_by) = (shown.has_usual(), shown.seen_by);
        let mut widths = vec![
            widest(PACKETS, "PACKETS", &|row| [row.packets.len(); 2]),
            widest(RATE, "PKT/S", &|row| [row.rate.len(); 2]),
            widest(BYTES, "BYTES", &|row| [row.bytes.len(); 2]),
            widest(USUAL, if has_usual { "USUAL" } else { "" }, &|row| {
                [if has_usual { row.usual.len() } else { 0 }; 2]
            }),
        ];
        let dimensions = shown.dimensions.iter().enumerate();
        widths.extend(dimensions.map(|(at, dimension)| {
            widest(dimension.name(), dimension.column().heading, &|row| row.widths(at, *dimension))
        }));
        widths.extend(has_seen_by.then(|| widest(SEEN_BY, "SEEN BY", &|row| [row.seen_by().len(); 2])));
        fit(&mut widths, room, shown.are_chosen);
        Self { dimensions: shown.dimensions, widths }
    }

    /// The headings of dimensions that have no room.
    pub(super) fn left_out(&self) -> Vec<&'static str> {
        self.of_dimensions().filter(|(_, width)| *width == 0).map(|(dimension, _)| dimension.column().heading).collect()
    }

    fn of_dimensions(&self) -> impl Iterator<Item = (&'static dyn Dimension, usize)> {
        self.dimensions.iter().copied().zip(self.widths[NUMBERS..].iter().map(|column| column.width))
    }

    fn seen_by(&self) -> usize {
        self.widths.get(NUMBERS + self.dimensions.len()).map_or(0, |column| column.width)
    }

    pub(super) fn heading(&self) -> String {
        let mut line = Line::default();
        line.numbers(&self.widths, ["PACKETS", "PKT/S", "BYTES", "USUAL"]);
        for (dimension, width) in self.of_dimensions() {
            line.left(dimension.column().heading, width);
        }
        line.left("SEEN BY", self.seen_by());
        line.finish()
    }

    pub(super) fn line(&self, row: &Row<'_>) -> String {
        let mut line = Line::default();
        line.numbers(&self.widths, [&row.packets, &row.rate, &row.bytes, row.usual]);
        match &row.names {
            Names::Sum(label) => line.left(label, label.len()),
            Names::Overflow(reason) => self.overflow(&mut line, reason),
            Names::Key { key, seen_by, .. } => {
                for (dimension, width) in self.of_dimensions() {
                    line.left(&text(dimension, key, width), width);
                }
                line.left(seen_by, self.seen_by());
            }
        }
        line.finish()
    }

    /// The reason, and why nothing else is known.
    fn overflow(&self, line: &mut Line, reason: &str) {
        let is_reason = |(dimension, _): &(&dyn Dimension, usize)| dimension.name() == "reason";
        let column = self.of_dimensions().find(is_reason);
        if let Some((_, width)) = column {
            line.left(&shorten(reason, width), width);
        }
        let others = self.of_dimensions().filter(|column| !is_reason(column) && column.1 > 0);
        let room = others.map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP);
        let shortest = if column.is_some() { "" } else { NO_KEY[2] };
        line.left(NO_KEY.into_iter().find(|text| text.len() <= room).unwrap_or(shortest), room);
    }
}

/// The value in full, or its short form, or as much of that as has room.
fn text<'k>(dimension: &dyn Dimension, key: &'k NamedKey, room: usize) -> Cow<'k, str> {
    let value = dimension.value(key);
    if width(&value) <= room { value } else { shorten(dimension.brief(key), room) }
}

#[derive(Default)]
struct Line(String);

impl Line {
    fn numbers(&mut self, columns: &[Widths], texts: [&str; NUMBERS]) {
        let [packets, rate, bytes, usual] = texts;
        self.0 = format!("{packets:>0$}", columns[0].width);
        for (text, column) in [rate, bytes].into_iter().zip(&columns[1..]).filter(|(_, column)| column.width > 0) {
            _ = write!(self.0, "{:GAP$}{text:>1$}", "", column.width);
        }
        self.left(usual, columns[NUMBERS - 1].width);
    }

    fn left(&mut self, text: &str, width: usize) {
        if width > 0 {
            _ = write!(self.0, "{:GAP$}{text:<1$}", "", padded(text, width));
        }
    }

    fn finish(mut self) -> String {
        self.0.truncate(self.0.trim_end().len());
        self.0
    }
}
