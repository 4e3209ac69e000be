//! The rows of `stat`, in columns that fit.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::domain::event::Location;
use crate::domain::report::OverflowTotal;
use crate::packet::ProtocolName;
use crate::render::fit;
use crate::render::number::{Grouped, rate};
use crate::render::rank::Rank;

const GAP: usize = 2;
/// Smallest room for drop reason and place; with less, the table leaves out the column of bytes.
const MIN_NAMES: usize = 34;
const MAX_NETNS: usize = 16;
/// Smallest width of drop reason and of place, where there is room at all.
const MIN_NAME: usize = 10;
/// Texts of a missing place; the first that fits is shown.
const NO_PLACE: [&str; 3] =
    ["drop site unknown: map full, raise --map-entries", "map full, raise --map-entries", "map full"];

/// The cells of a row before they are fitted.
pub(super) struct Row<'r> {
    packets: String,
    rate: String,
    bytes: String,
    reason: Cow<'r, str>,
    place: Place<'r>,
}

enum Place<'r> {
    Known {
        location: &'r Location,
        interface: Cow<'r, str>,
        protocol: String,
        netns: Cow<'r, str>,
        seen_by: &'static str,
    },
    Unknown,
    /// The label of a row that is a sum.
    Sum(String),
}

impl Place<'_> {
    fn interface(&self) -> &str {
        if let Self::Known { interface, .. } = self { interface } else { "" }
    }

    fn protocol(&self) -> &str {
        if let Self::Known { protocol, .. } = self { protocol } else { "" }
    }

    fn seen_by(&self) -> &str {
        if let Self::Known { seen_by, .. } = self { seen_by } else { "" }
    }

    fn netns(&self) -> &str {
        if let Self::Known { netns, .. } = self { netns } else { "" }
    }
}

impl<'r> Row<'r> {
    pub(super) fn of_place(rank: &Rank<'r>) -> Self {
        let place = &*rank.total.place;
        Self {
            packets: Grouped(rank.total.packets).to_string(),
            rate: rate(rank.rate),
            bytes: known(rank.total.bytes),
            reason: fit::reason(&place.reason),
            place: Place::Known {
                location: &place.location,
                interface: fit::interface(place),
                protocol: if place.protocol == 0 { "-".into() } else { ProtocolName(place.protocol).to_string() },
                netns: fit::shorten(&fit::netns(place), MAX_NETNS).into_owned().into(),
                seen_by: fit::seen_by(rank.total.seen_by),
            },
        }
    }

    pub(super) fn of_overflow(total: &'r OverflowTotal) -> Self {
        Self {
            packets: Grouped(total.packets).to_string(),
            rate: "-".into(),
            bytes: known(total.bytes),
            reason: total.reason.as_ref().map_or("-".into(), |reason| fit::reason(reason)),
            place: Place::Unknown,
        }
    }

    fn reason_length(&self) -> usize {
        self.reason.chars().count()
    }

    /// Width of the location; 0 for rows without a place.
    fn location_length(&self) -> usize {
        match &self.place {
            Place::Known { location, .. } => fit::location(location, usize::MAX).chars().count(),
            _ => 0,
        }
    }

    pub(super) fn of_sum(packets: u64, packets_a_second: f64, bytes: Option<u64>, what: String) -> Self {
        Self {
            packets: Grouped(packets).to_string(),
            rate: rate(packets_a_second),
            bytes: known(bytes),
            reason: "".into(),
            place: Place::Sum(what),
        }
    }
}

fn known(number: Option<u64>) -> String {
    number.map_or("-".into(), |number| Grouped(number).to_string())
}

/// Widths of the columns; 0 for one that is not shown.
pub(super) struct Columns {
    packets: usize,
    rate: usize,
    bytes: usize,
    reason: usize,
    location: usize,
    interface: usize,
    protocol: usize,
    netns: usize,
    seen_by: usize,
}

/// Columns that are not always shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extra {
    /// There are several namespaces.
    pub(super) netns: bool,
    /// Several sources report drops.
    pub(super) seen_by: bool,
}

impl Columns {
    /// Columns for these rows within `width`. Reason and place share what the others leave.
    pub(super) fn fit(rows: &[Row<'_>], extra: Extra, width: usize) -> Self {
        let widest = |heading: &str, of: &dyn Fn(&Row<'_>) -> usize| {
            rows.iter().map(of).chain([heading.len()]).max().unwrap_or_default()
        };
        let mut columns = Self {
            packets: widest("PACKETS", &|row| row.packets.len()),
            rate: widest("PKT/S", &|row| row.rate.len()),
            bytes: widest("BYTES", &|row| row.bytes.len()),
            reason: widest("REASON", &|row| row.reason_length()),
            location: widest("WHERE", &|row| row.location_length()),
            interface: widest("IFACE", &|row| row.place.interface().chars().count()),
            protocol: widest("PROTO", &|row| row.place.protocol().len()),
            seen_by: if extra.seen_by { widest("SEEN BY", &|row| row.place.seen_by().len()) } else { 0 },
            netns: if extra.netns { widest("NETNS", &|row| row.place.netns().chars().count()) } else { 0 },
        };
        let wanted = columns.reason + columns.location;
        if columns.room_for_names(width) < wanted.min(MIN_NAMES) {
            columns.bytes = 0;
        }
        let room = columns.room_for_names(width);
        (columns.reason, columns.location) = share(room, rows, columns.reason, columns.location);
        columns
    }

    fn room_for_names(&self, width: usize) -> usize {
        let others = [self.packets, self.rate, self.bytes, self.interface, self.protocol, self.netns, self.seen_by];
        let shown = others.into_iter().filter(|&column| column > 0);
        width.saturating_sub(shown.map(|column| column + GAP).sum::<usize>() + GAP)
    }

    pub(super) fn heading(&self) -> String {
        let mut line = Line::default();
        line.numbers(self, "PACKETS", "PKT/S", "BYTES");
        line.left("REASON", self.reason);
        line.left("WHERE", self.location);
        line.left("IFACE", self.interface);
        line.left("PROTO", self.protocol);
        line.left("NETNS", self.netns);
        line.left("SEEN BY", self.seen_by);
        line.finish()
    }

    pub(super) fn line(&self, row: &Row<'_>) -> String {
        let mut line = Line::default();
        line.numbers(self, &row.packets, &row.rate, &row.bytes);
        if let Place::Sum(what) = &row.place {
            line.left(what, what.len());
            return line.finish();
        }
        line.left(&fit::shorten(&row.reason, self.reason), self.reason);
        if let Place::Known { location, interface, protocol, netns, seen_by } = &row.place {
            line.left(&fit::location(location, self.location), self.location);
            line.left(interface, self.interface);
            line.left(protocol, self.protocol);
            line.left(netns, self.netns);
            line.left(seen_by, self.seen_by);
        } else {
            let room = self.location + 2 * GAP + self.interface + self.protocol;
            let said = NO_PLACE.into_iter().find(|text| text.len() <= room).unwrap_or_default();
            line.left(said, room);
        }
        line.finish()
    }
}

/// Divides `room` between reason and place so that as little as possible is cut. A cut cell weighs more than the
/// characters that it loses, so that one long name does not cut all the others; a cut reason weighs double.
fn share(room: usize, rows: &[Row<'_>], reason: usize, location: usize) -> (usize, usize) {
    const CUT: usize = 10;
    if reason + location <= room {
        return (reason, location);
    }
    let loss = |length: usize, width: usize, cut: usize| if length > width { length - width + cut } else { 0 };
    let lengths: Vec<_> = rows.iter().map(|row| (row.reason_length(), row.location_length())).collect();
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
            _ = write!(self.0, "{:GAP$}{text:<width$}", "");
        }
    }

    fn finish(mut self) -> String {
        self.0.truncate(self.0.trim_end().len());
        self.0
    }
}
