//! The widths of a table's columns on a terminal: what gives way first where there is no room for all.

/// Columns between two columns of the table.
pub(super) const GAP: usize = 2;

/// The widths of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    /// The dimension's name, or one of those below.
    pub(super) name: &'static str,
    /// The width of the longest content, and of the heading.
    pub(super) wanted: usize,
    /// The same of the content in its short form.
    pub(super) brief: usize,
    /// The width of the heading.
    pub(super) heading: usize,
    /// The width that the column gets; 0 if it is left out.
    pub(super) width: usize,
}

pub(super) const PACKETS: &str = "packets";
pub(super) const RATE: &str = "rate";
pub(super) const BYTES: &str = "bytes";
pub(super) const USUAL: &str = "usual";
pub(super) const SEEN_BY: &str = "seen_by";

/// A way to make room.
enum Step {
    /// Show the short form of names that have one.
    Shorten(&'static str),
    /// Cut names down to this width.
    Cut(&'static str, usize),
    /// Cut the widest of all other names down to this width.
    CutWidest(usize),
    /// Leave the column out, unless it was asked for.
    LeaveOut(&'static str),
}

/// The least width of a column of names, where there is room at all.
const LEAST: usize = 10;

/// What gives way, the least important first. No reason of the kernel's core has more than 28 characters, and few functions
/// have more than 36: longer names do not take the room of columns.
const STEPS: [Step; 18] = [
    Step::Cut("reason", 28),
    Step::Shorten("site"),
    Step::Cut("site", 36),
    Step::LeaveOut("protocol"),
    Step::LeaveOut(BYTES),
    Step::LeaveOut("interface"),
    Step::Cut("site", 18),
    Step::CutWidest(18),
    Step::Cut("reason", 20),
    Step::Cut("site", 14),
    Step::LeaveOut(USUAL),
    Step::Cut("site", LEAST),
    Step::CutWidest(LEAST),
    Step::LeaveOut("who"),
    Step::Cut("reason", LEAST),
    Step::LeaveOut(SEEN_BY),
    Step::LeaveOut("netns"),
    Step::LeaveOut(RATE),
];

/// Numbers are never cut.
const NUMBERS: [&str; 5] = [PACKETS, RATE, BYTES, USUAL, SEEN_BY];

/// Gives the columns their widths within `room`. `are_chosen`: the dimensions were asked for, and are not left out.
pub(super) fn fit(columns: &mut [Widths], room: usize, are_chosen: bool) {
    for step in &STEPS {
        let excess = needed(columns).saturating_sub(room);
        if excess == 0 {
            break;
        }
        take(columns, step, excess, are_chosen);
    }
    // On the narrowest terminals a line must not wrap either.
    while needed(columns) > room
        && let Some(last) = columns.iter_mut().skip(1).rfind(|column| column.width > 0)
    {
        last.width = 0;
    }
    give_back(columns, room);
}

fn take(columns: &mut [Widths], step: &Step, excess: usize, are_chosen: bool) {
    match *step {
        Step::Shorten(name) => each(columns, name).for_each(|column| column.shrink(excess, column.brief)),
        Step::Cut(name, least) => each(columns, name).for_each(|column| column.shrink(excess, least)),
        Step::CutWidest(least) => cut_widest(columns, excess, least),
        Step::LeaveOut(name) => {
            let may_go = !are_chosen || NUMBERS.contains(&name);
            each(columns, name).filter(|_| may_go).for_each(|column| column.width = 0);
        }
    }
}

fn each<'c>(columns: &'c mut [Widths], name: &'static str) -> impl Iterator<Item = &'c mut Widths> {
    columns.iter_mut().filter(move |column| column.name == name)
}

fn cut_widest(columns: &mut [Widths], excess: usize, least: usize) {
    for _ in 0..excess {
        let others = columns.iter_mut().filter(|column| !NUMBERS.contains(&column.name) && column.name != "reason");
        let wide = others.filter(|column| column.width > least.max(column.heading));
        let Some(widest) = wide.max_by_key(|column| column.width) else { return };
        widest.width -= 1;
    }
}

/// A column that was left out may leave more room than the others lacked.
fn give_back(columns: &mut [Widths], room: usize) {
    let mut left = room.saturating_sub(needed(columns));
    let mut grow = |name, most: fn(&Widths) -> usize| {
        for column in each(columns, name).filter(|column| column.width > 0) {
            let more = most(column).saturating_sub(column.width).min(left);
            column.width += more;
            left -= more;
        }
    };
    grow("site", |column| column.brief.min(36));
    for name in ["reason", "who", "netns", "site"] {
        grow(name, |column| column.wanted);
    }
}

/// The width of the whole table.
pub(super) fn needed(columns: &[Widths]) -> usize {
    let shown = columns.iter().filter(|column| column.width > 0);
    shown.map(|column| column.width + GAP).sum::<usize>().saturating_sub(GAP)
}

impl Widths {
    fn shrink(&mut self, excess: usize, least: usize) {
        let least = least.max(self.heading).min(self.width);
        self.width = self.width.saturating_sub(excess).max(least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &'static str, wanted: usize, brief: usize) -> Widths {
        Widths { name, wanted, brief, heading: wanted.min(5), width: wanted }
    }

    fn columns() -> Vec<Widths> {
        vec![
            column(PACKETS, 9, 9),
            column(RATE, 7, 7),
            column(BYTES, 11, 11),
            column(USUAL, 5, 5),
            column("reason", 16, 16),
            column("site", 30, 22),
            column("interface", 9, 9),
            column("protocol", 5, 5),
            column("netns", 18, 18),
        ]
    }

    fn fitted(room: usize, are_chosen: bool) -> Vec<(&'static str, usize)> {
        let mut columns = columns();
        fit(&mut columns, room, are_chosen);
        assert!(needed(&columns) <= room || columns.iter().filter(|column| column.width > 0).count() == 1, "{room}");
        columns.into_iter().map(|column| (column.name, column.width)).filter(|(_, width)| *width > 0).collect()
    }

    fn width(columns: &[(&'static str, usize)], name: &str) -> usize {
        columns.iter().find(|(known, _)| *known == name).map_or(0, |(_, width)| *width)
    }

    #[test]
    fn wide_terminal_shows_all_names_whole() {
        assert_eq!(fitted(usize::MAX, false), fitted(126, false));
        assert_eq!(width(&fitted(126, false), "site"), 30);
    }

    #[test]
    fn offsets_give_way_before_columns_and_columns_before_names() {
        assert_eq!(width(&fitted(118, false), "site"), 22, "without offset");
        assert_eq!(fitted(118, false).len(), 9);
        let narrower = fitted(100, false);
        assert_eq!([width(&narrower, "protocol"), width(&narrower, BYTES)], [0, 0]);
        let small = fitted(80, false);
        assert_eq!([width(&small, "reason"), width(&small, "netns"), width(&small, USUAL)], [16, 18, 5]);
        assert!(width(&small, "site") >= 15 && width(&small, "interface") == 0, "{small:?}");
    }

    #[test]
    fn chosen_dimensions_stay_until_there_is_no_other_way() {
        let chosen = fitted(80, true);
        assert!(["interface", "protocol", "netns", "site"].iter().all(|name| width(&chosen, name) > 0), "{chosen:?}");
        for room in 0..130 {
            fitted(room, room % 2 == 0);
        }
        assert_eq!(fitted(5, true), [(PACKETS, 9)]);
    }

    #[test]
    fn room_that_is_left_goes_to_names() {
        for room in 20..126 {
            let columns = fitted(room, false);
            let used: usize = columns.iter().map(|(_, width)| width + GAP).sum::<usize>() - GAP;
            let is_whole = width(&columns, "site") == 30 || width(&columns, "site") == 0;
            assert!(used == room || is_whole, "{room}: {columns:?}");
        }
    }
}
