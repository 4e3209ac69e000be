//! The rows of `stat`, in columns that fit.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::dimension::{self, Dimension, WHO};
use crate::domain::event::NamedKey;
use crate::domain::total::OverflowTotal;
use crate::render::fit;
use crate::render::number::{Grouped, range, rate};
use crate::render::rank::Rank;

const GAP: usize = 2;
/// Room for the columns without a width of their own that the column of residents leaves them.
const NAMES: usize = 48;
/// Smallest room for the columns without a width of their own; with less, the table leaves out the column of bytes.
const MIN_NAMES: usize = 34;
/// Smallest width of a column without a width of its own, where there is room at all.
const MIN_NAME: usize = 10;
/// Texts of a missing key; the first that fits is shown.
const NO_KEY: [&str; 3] =
    ["drop site unknown: map full, raise --map-entries", "map full, raise --map-entries", "map full"];
const SEEN_BY: &str = "SEEN BY";

/// The columns that a table has after its numbers.
pub(super) struct Shown {
    pub(super) dimensions: Vec<&'static dyn Dimension>,
    /// Several backends report drops.
    pub(super) seen_by: bool,
}

/// The cells of a row before they are fitted.
pub(super) struct Row<'r> {
    packets: String,
    rate: String,
    bytes: String,
    names: Names<'r>,
}

/// What a row is about.
enum Names<'r> {
    Key {
        key: &'r NamedKey,
        /// The widths that the dimensions need.
        widths: Vec<usize>,
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
        let width = |dimension: &&dyn Dimension| {
            fit::width(&dimension.text(key, dimension.column().max_width.unwrap_or(usize::MAX)))
        };
        Self {
            packets: range(rank.total.packets, rank.total.at_most()),
            rate: rank.rate.map_or("-".into(), rate),
            bytes: known(rank.total.bytes),
            names: Names::Key {
                key,
                widths: shown.dimensions.iter().map(width).collect(),
                seen_by: fit::seen_by(rank.total.seen_by),
            },
        }
    }

    pub(super) fn of_overflow(total: &'r OverflowTotal) -> Self {
        Self {
            packets: Grouped(total.packets).to_string(),
            rate: "-".into(),
            bytes: known(total.bytes),
            names: Names::Overflow(total.reason.as_ref().map_or("-".into(), |reason| dimension::reason(reason))),
        }
    }

    pub(super) fn of_sum(packets: u64, packets_a_second: Option<f64>, bytes: Option<u64>, label: String) -> Self {
        Self {
            packets: Grouped(packets).to_string(),
            rate: packets_a_second.map_or("-".into(), rate),
            bytes: known(bytes),
            names: Names::Sum(label),
        }
    }

    /// The width that the row needs in a column of dimensions.
    fn width(&self, column: usize, dimension: &dyn Dimension) -> usize {
        match &self.names {
            Names::Key { widths, .. } => widths[column],
            Names::Overflow(reason) if dimension.name() == "reason" => fit::width(reason),
            Names::Overflow(_) | Names::Sum(_) => 0,
        }
    }

    const fn seen_by(&self) -> &'static str {
        if let Names::Key { seen_by, .. } = self.names { seen_by } else { "" }
    }
}

fn known(number: Option<u64>) -> String {
    number.map_or("-".into(), |number| Grouped(number).to_string())
}

/// The columns with their widths.
pub(super) struct Columns {
    packets: usize,
    rate: usize,
    /// 0 where the column is left out.
    bytes: usize,
    /// With a width of 0 where the column is left out.
    dimensions: Vec<(&'static dyn Dimension, usize)>,
    /// 0 where the column is left out.
    seen_by: usize,
}

impl Columns {
    /// Columns for these rows within `width`. Columns without a width of their own share what the others leave.
    pub(super) fn fit(rows: &[Row<'_>], shown: Shown, width: usize) -> Self {
        let widest = |heading: &str, of: &dyn Fn(&Row<'_>) -> usize| {
            rows.iter().map(of).chain([heading.len()]).max().unwrap_or_default()
        };
        let dimensions = shown.dimensions.into_iter().enumerate();
        let dimensions = dimensions
            .map(|(at, dimension)| (dimension, widest(dimension.column().heading, &|row| row.width(at, dimension))));
        let mut columns = Self {
            packets: widest("PACKETS", &|row| row.packets.len()),
            rate: widest("PKT/S", &|row| row.rate.len()),
            bytes: widest("BYTES", &|row| row.bytes.len()),
            dimensions: dimensions.collect(),
            seen_by: if shown.seen_by { widest(SEEN_BY, &|row| row.seen_by().len()) } else { 0 },
        };
        columns.squeeze(width);
        let wanted: usize = columns.shared().iter().map(|at| columns.dimensions[*at].1).sum();
        columns.narrow_residents(wanted.min(NAMES).saturating_sub(columns.room(width)));
        let has_no_room = wanted == 0 && columns.needed() > width;
        if has_no_room || columns.room(width) < wanted.min(MIN_NAMES) {
            columns.bytes = 0;
        }
        columns.share(rows, columns.room(width));
        columns
    }

    /// Whether there is no room for a column.
    pub(super) fn leaves_out(&self, column: &dyn Dimension) -> bool {
        self.dimensions.iter().any(|(dimension, width)| dimension.name() == column.name() && *width == 0)
    }

    /// The columns without a width of their own.
    fn shared(&self) -> Vec<usize> {
        (0..self.dimensions.len()).filter(|at| self.dimensions[*at].0.column().max_width.is_none()).collect()
    }

    /// What the other columns leave to them.
    fn room(&self, width: usize) -> usize {
        let own = self.dimensions.iter().filter(|(dimension, _)| dimension.column().max_width.is_some());
        let numbers = [self.packets, self.rate, self.bytes, self.seen_by].into_iter();
        let others = numbers.chain(own.map(|(_, width)| *width)).filter(|column| *column > 0);
        let gaps = GAP * self.shared().len().saturating_sub(1);
        width.saturating_sub(others.map(|column| column + GAP).sum::<usize>() + gaps)
    }

    /// Narrows the columns of owners, the widest first, until the others have the least room that they need.
    fn squeeze(&mut self, width: usize) {
        let bytes = std::mem::take(&mut self.bytes);
        while self.needed() > width {
            let owners =
                self.dimensions.iter_mut().filter(|column| column.0.column().is_attribution && column.1 > MIN_NAME);
            let Some((_, widest)) = owners.max_by_key(|(_, width)| *width) else { break };
            *widest -= 1;
        }
        self.bytes = bytes;
    }

    /// Narrows the column of residents by the characters that others lack, or leaves it out.
    fn narrow_residents(&mut self, lacking: usize) {
        if let Some((_, who)) = self.dimensions.iter_mut().find(|column| column.0.name() == WHO.name() && lacking > 0) {
            *who = who.checked_sub(lacking).filter(|left| *left >= MIN_NAME).unwrap_or(0);
        }
    }

    /// The least width of the whole table.
    fn needed(&self) -> usize {
        let least = |(dimension, width): &(&dyn Dimension, usize)| match dimension.column().max_width {
            Some(_) => *width,
            None => MIN_NAME.min(*width),
        };
        let numbers = [self.packets, self.rate, self.bytes, self.seen_by].into_iter();
        let columns = numbers.chain(self.dimensions.iter().map(least)).filter(|column| *column > 0);
        columns.map(|column| column + GAP).sum::<usize>().saturating_sub(GAP)
    }

    /// Gives the columns without a width of their own the room.
    fn share(&mut self, rows: &[Row<'_>], room: usize) {
        match *self.shared() {
            [only] => self.dimensions[only].1 = self.dimensions[only].1.min(room.max(MIN_NAME)),
            [first, second] => {
                let width = |row: &Row<'_>, at: usize| row.width(at, self.dimensions[at].0);
                let lengths: Vec<_> = rows.iter().map(|row| (width(row, first), width(row, second))).collect();
                let shares = share(room, &lengths, self.dimensions[first].1, self.dimensions[second].1);
                (self.dimensions[first].1, self.dimensions[second].1) = shares;
            }
            _ => {}
        }
    }

    pub(super) fn heading(&self) -> String {
        let mut line = Line::default();
        line.numbers(self, "PACKETS", "PKT/S", "BYTES");
        for (dimension, width) in &self.dimensions {
            line.left(dimension.column().heading, *width);
        }
        line.left(SEEN_BY, self.seen_by);
        line.finish()
    }

    pub(super) fn line(&self, row: &Row<'_>) -> String {
        let mut line = Line::default();
        line.numbers(self, &row.packets, &row.rate, &row.bytes);
        match &row.names {
            Names::Sum(label) => line.left(label, label.len()),
            Names::Overflow(reason) => self.overflow(&mut line, reason),
            Names::Key { key, seen_by, .. } => {
                for (dimension, width) in &self.dimensions {
                    line.left(&dimension.text(key, *width), *width);
                }
                line.left(seen_by, self.seen_by);
            }
        }
        line.finish()
    }

    /// The reason, and why nothing else is known.
    fn overflow(&self, line: &mut Line, reason: &str) {
        let is_reason = |(dimension, _): &&(&dyn Dimension, usize)| dimension.name() == "reason";
        let column = self.dimensions.iter().find(is_reason);
        if let Some((_, width)) = column {
            line.left(&fit::shorten(reason, *width), *width);
        }
        let others = self.dimensions.iter().filter(|column| !is_reason(column) && column.1 > 0);
        let room = others.map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP);
        let shortest = if column.is_some() { "" } else { NO_KEY[2] };
        line.left(NO_KEY.into_iter().find(|text| text.len() <= room).unwrap_or(shortest), room);
    }
}

/// Divides `room` between reason and drop site so that as little as possible is cut. A cut cell weighs more than the
/// characters that it loses, so that one long name does not cut all the others; a cut reason weighs double.
fn share(room: usize, lengths: &[(usize, usize)], reason: usize, site: usize) -> (usize, usize) {
    const CUT: usize = 10;
    if reason + site <= room {
        return (reason, site);
    }
    let loss = |length: usize, width: usize, cut: usize| if length > width { length - width + cut } else { 0 };
    let total_loss = |reason: usize| -> usize {
        lengths.iter().map(|row| loss(row.0, reason, 2 * CUT) + loss(row.1, room - reason, CUT)).sum()
    };
    let narrowest = MIN_NAME.min(room / 2);
    let reason = (narrowest..=room - narrowest).min_by_key(|&reason| total_loss(reason)).unwrap_or(room);
    (reason, room - reason)
}

#[derive(Default)]
struct Line(String);

impl Line {
    fn numbers(&mut self, columns: &Columns, packets: &str, rate: &str, bytes: &str) {
        self.0 = format!("{packets:>0$}", columns.packets);
        for (text, width) in [(rate, columns.rate), (bytes, columns.bytes)] {
            if width > 0 {
                _ = write!(self.0, "{:GAP$}{text:>width$}", "");
            }
        }
    }

    fn left(&mut self, text: &str, width: usize) {
        if width > 0 {
            _ = write!(self.0, "{:GAP$}{text:<1$}", "", fit::padded(text, width));
        }
    }

    fn finish(mut self) -> String {
        self.0.truncate(self.0.trim_end().len());
        self.0
    }
}
