//! The table of `stat`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use super::table::{Columns, Row, Shown};
use super::{ledger, outside, retransmit, stacks};
use crate::dimension::{Dimension, Dimensions, WHO};
use crate::domain::event::{Kind, Origin};
use crate::domain::ledger::Ledger;
use crate::domain::report::{SourceReport, StatReport};
use crate::outside::printable;
use crate::render::Size;
use crate::render::fit::width;
use crate::render::number::{Grouped, seconds};
use crate::render::paint::{Painted, Style};
use crate::render::rank::{Rank, Ranking, Sort, per_second};
use crate::sink::StatSink;

/// Number of rows where neither `top` nor a terminal bounds them.
const DEFAULT_TOP: usize = 20;
/// Number of reasons without a key that a redrawn table shows.
const LIVE_OVERFLOW: usize = 3;

/// A recording that a report is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It has the duration of its run.
    Whole,
    /// The end of its run is not known, because the recording is truncated or of an earlier version: the report ends with the
    /// last drop.
    ToLastDrop,
}

/// How totals are shown. Only [`sort`](Self::sort) and [`by`](Self::by) matter to formats for programs.
pub struct StatOptions {
    /// The dimensions with columns; absent for all of them, where the namespaces have a column only if there are several,
    /// and their residents only if one is known and has room.
    pub by: Option<Dimensions>,
    /// The order of rows.
    pub sort: Sort,
    /// Largest number of rows: absent for as many as fit, 0 for all of them (on a redrawn terminal: all that fit).
    pub top: Option<usize>,
    /// Inode number of the reader's own network namespace: the table shows namespaces when there are others. 0 = not
    /// known.
    pub home_netns: u32,
    /// Use colours.
    pub color: bool,
    /// The recording that the report is of; absent for a run of this process.
    pub recorded: Option<Recorded>,
    /// Draw each table over the last one. For terminals.
    pub live: bool,
    /// Returns the size of the terminal; called for each table.
    pub size: Box<dyn Fn() -> Size>,
}

/// Shows totals as a table.
pub struct StatText<W> {
    out: W,
    options: StatOptions,
    ranking: Ranking,
    tables: usize,
    /// What could not be compared, as the last table said.
    gaps: Vec<String>,
}

impl<W: Write> StatText<W> {
    /// Writes to `out`, a table for each report.
    pub fn new(out: W, options: StatOptions) -> Self {
        let ranking = Ranking::new(options.sort);
        Self { out, options, ranking, tables: 0, gaps: vec![] }
    }
}

impl<W: Write> StatSink for StatText<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        let size = (self.options.size)();
        // The last table stays, so it is shown whole, even where it makes the terminal scroll.
        let height = size.height.filter(|_| self.options.live && !report.is_final);
        let (ranks, span) = self.ranking.rank(report);
        let StatOptions { home_netns, recorded, live, .. } = self.options;
        let gaps = report.outside.as_ref().map_or(&[][..], |found| &found.gaps);
        // A table that stays need not repeat what the one before it says.
        let with_gaps = live || report.is_final || gaps != self.gaps;
        let (by, top) = (self.options.by.as_ref(), self.options.top);
        let view = View { report, ranks, span, by, width: size.width, height, top, home_netns, recorded, with_gaps };
        let frame = self.frame(&view.lines(), size);
        gaps.clone_into(&mut self.gaps);
        self.tables += 1;
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl<W> StatText<W> {
    fn frame(&self, lines: &[Line], size: Size) -> String {
        let mut frame = String::new();
        let line_end = if self.options.live {
            if self.tables == 0 {
                // The present content of the terminal scrolls up into its history.
                frame.extend(std::iter::repeat_n('\n', size.height.unwrap_or(1).saturating_sub(1)));
            }
            // The cursor goes home, and the table overwrites the old lines one by one, without the flicker of an empty
            // screen.
            frame.push_str("\x1b[H");
            "\x1b[K\n"
        } else {
            if self.tables > 0 {
                frame.push('\n');
            }
            "\n"
        };
        for Line { text, style } in lines {
            _ = write!(frame, "{}{line_end}", Painted { text, style: *style, color: self.options.color });
        }
        if self.options.live {
            frame.push_str("\x1b[J");
        }
        frame
    }
}

/// What was seen, counted and lost, and what the kernel's counters show outside `kfree_skb`.
#[cfg(feature = "top")]
pub(crate) fn verdict(report: &StatReport) -> Vec<ledger::LedgerLine> {
    let outside = report.outside.iter().flat_map(|found| outside::lines(found, false));
    ledger::accounting(&report.sources).into_iter().chain(outside).collect()
}

/// Shown where the terminal is too narrow for the column of residents.
const NO_ROOM_FOR_WHO: &str = "WHO has no room: widen the terminal, or --by reason,netns,container";

struct Line {
    text: String,
    style: Style,
}

/// One table: its report, and the room that it has.
struct View<'r> {
    report: &'r StatReport,
    ranks: Vec<Rank<'r>>,
    span: Duration,
    by: Option<&'r Dimensions>,
    width: usize,
    height: Option<usize>,
    top: Option<usize>,
    home_netns: u32,
    recorded: Option<Recorded>,
    /// Say what could not be compared.
    with_gaps: bool,
}

impl View<'_> {
    fn lines(&self) -> Vec<Line> {
        let head = Line { text: self.head(), style: Style::Plain };
        let tail: Vec<_> = ledger::accounting(&self.report.sources)
            .into_iter()
            .chain(self.records())
            .chain(self.report.attribution.as_ref().map(ledger::attribution))
            .chain(self.report.flows.as_ref().map(ledger::flows))
            .chain(self.report.retransmissions.as_ref().map(|found| retransmit::ledger(&found.ledger)))
            .chain(self.report.outside.iter().flat_map(|found| outside::lines(found, self.with_gaps)))
            .map(|line| Line { style: if line.healthy { Style::Plain } else { Style::Alarm }, text: line.text })
            .chain(self.not_packets())
            .chain(self.own())
            .chain(self.filled())
            .collect();
        let around = std::iter::once(&head).chain(&tail).map(|line| self.rows_taken(line)).sum();
        let mut body = self.body(around);
        if let Some(height) = self.height {
            // One row holds the cursor.
            body.truncate(height.saturating_sub(around + 1));
        }
        std::iter::once(head).chain(body).chain(self.followed()).chain(self.stacks()).chain(tail).collect()
    }

    /// The ledger of records. The table of a recording has only drops with a record; that of a run has all drops.
    fn records(&self) -> Vec<ledger::LedgerLine> {
        self.recorded.map(|_| ledger::events(&self.report.sources)).unwrap_or_default()
    }

    /// The drops that retransmissions followed, under the last table only.
    fn followed(&self) -> impl Iterator<Item = Line> {
        let found = self.report.retransmissions.as_ref().filter(|_| self.report.is_final);
        let lines = found.map(|found| retransmit::lines(found, self.top == Some(0))).unwrap_or_default();
        lines.into_iter().map(|text| Line { text, style: Style::Plain })
    }

    /// The call stacks, which are many lines: under the last table only.
    fn stacks(&self) -> impl Iterator<Item = Line> {
        let places = self.report.stacks.as_deref().filter(|_| self.report.is_final).unwrap_or_default();
        let lines = stacks::lines(places, self.top == Some(0));
        lines.into_iter().map(|text| Line { text, style: Style::Plain })
    }

    /// Drops that pass the tracepoint and are no packets of a network, by kind.
    fn not_packets(&self) -> Option<Line> {
        const WORDS: [(Kind, &str); 4] = [
            (Kind::Unix, "messages of Unix sockets"),
            (Kind::Netlink, "netlink messages"),
            (Kind::Copy, "copies of packets that went on"),
            (Kind::Empty, "empty buffers"),
        ];
        let count = |kind: Kind| {
            let rows = self.report.drops.iter().filter(move |total| total.key.kind == kind);
            rows.map(|total| total.packets).sum::<u64>()
        };
        let counted = WORDS.map(|(kind, words)| (count(kind), words)).into_iter().filter(|(count, _)| *count > 0);
        let words: Vec<_> = counted.map(|(count, words)| format!("{} {words}", Grouped(count))).collect();
        let text = format!("not packets of a network, and not in the table: {}", words.join(", "));
        (!words.is_empty()).then_some(Line { text, style: Style::Plain })
    }

    /// Drops that droptrace causes itself.
    fn own(&self) -> Option<Line> {
        let own = self.report.own_netlink_drops.filter(|own| *own > 0)?;
        let text =
            format!("own: {own} netlink messages for droptrace itself were dropped, because its sockets were full");
        Some(Line { text, style: Style::Alarm })
    }

    /// Drops that only the drop monitor reported, where both sources ran.
    fn filled(&self) -> Option<Line> {
        let drops = self.ranks.iter().map(|rank| rank.total);
        let packets: u64 = drops.filter(|total| *total.seen_by == [Origin::NetDm]).map(|total| total.packets).sum();
        let text = format!("union: {} of these were seen by net_dm only", Grouped(packets));
        (self.is_of_both() && packets > 0).then_some(Line { text, style: Style::Plain })
    }

    fn head(&self) -> String {
        let StatReport { host, duration, .. } = self.report;
        let (name, kernel) = (printable(&host.name), printable(&host.kernel));
        let mut head = format!("Packets dropped on {name} (Linux {kernel}) in {}", seconds(*duration));
        if self.recorded == Some(Recorded::ToLastDrop) {
            head.push_str(", from the start of the recording to its last drop");
        }
        if self.span != *duration {
            _ = write!(head, "; PKT/S of the last {}", seconds(self.span));
        }
        head
    }

    /// Rows of the terminal that a line takes, which may wrap.
    fn rows_taken(&self, line: &Line) -> usize {
        width(&line.text).div_ceil(self.width.max(1)).max(1)
    }

    /// The table; `around` rows of the terminal are taken by the lines before and after it.
    fn body(&self, around: usize) -> Vec<Line> {
        let report = self.report;
        if self.ranks.is_empty() && report.overflow.is_empty() {
            return vec![Line { text: self.nothing(), style: Style::Plain }];
        }
        let shown_overflow = match self.height {
            Some(_) => report.overflow.len().min(LIVE_OVERFLOW),
            None => report.overflow.len(),
        };
        // Heading, sum, the three lines about rows and a column that are left out, and the cursor's line.
        let fixed = around + shown_overflow + 6;
        let shown = self.rows(self.height.map(|height| height.saturating_sub(fixed)));
        let (ranks, hidden) = self.ranks.split_at(shown);
        let (overflow, hidden_overflow) = report.overflow.split_at(shown_overflow);

        let shown_columns = self.columns();
        let mut rows: Vec<_> = ranks.iter().map(|rank| Row::of_key(rank, &shown_columns)).collect();
        rows.extend(overflow.iter().map(Row::of_overflow));
        rows.push(self.sum());
        let columns = Columns::fit(&rows, shown_columns, self.width);
        let plain = |row| self.clipped(columns.line(row), Style::Plain);

        let mut lines = vec![self.clipped(columns.heading(), Style::Heading)];
        lines.extend(rows[..shown].iter().map(plain));
        if !hidden.is_empty() {
            let packets = hidden.iter().map(|rank| rank.total.packets).sum();
            lines.push(self.more("row", hidden.len(), packets));
        }
        lines.extend(rows[shown..shown + shown_overflow].iter().map(plain));
        if !hidden_overflow.is_empty() {
            let packets = hidden_overflow.iter().map(|total| total.packets).sum();
            lines.push(self.more("reason without a drop site", hidden_overflow.len(), packets));
        }
        lines.extend(rows[shown + shown_overflow..].iter().map(plain));
        if columns.leaves_out(WHO) {
            lines.push(self.clipped(NO_ROOM_FOR_WHO.into(), Style::Faint));
        }
        lines
    }

    /// Rows of places to show, of which `fitting` fit.
    fn rows(&self, fitting: Option<usize>) -> usize {
        let wanted = match self.top {
            None => fitting.unwrap_or(DEFAULT_TOP),
            Some(0) => usize::MAX,
            Some(top) => top,
        };
        self.ranks.len().min(wanted).min(fitting.unwrap_or(usize::MAX))
    }

    fn sum(&self) -> Row<'static> {
        let overflow = &self.report.overflow;
        let drops = self.ranks.iter().map(|rank| rank.total);
        let packets = drops.clone().map(|total| total.packets).chain(overflow.iter().map(|total| total.packets)).sum();
        let with_length = drops.filter(|total| total.key.kind.has_length());
        let bytes = with_length.map(|total| total.bytes).chain(overflow.iter().map(|total| total.bytes)).sum();
        // Drops without a key have no rate of an interval either: over the whole run the sum has all.
        let rate = if self.span == self.report.duration {
            per_second(packets, self.span)
        } else {
            self.ranks.iter().map(|rank| rank.rate).sum::<Option<f64>>()
        };
        Row::of_sum(packets, rate, bytes, format!("total, {}", counted(self.ranks.len(), "row")))
    }

    fn columns(&self) -> Shown {
        let has_netns = self.by.is_some() || self.has_other_namespaces();
        let by = self.by.cloned().unwrap_or_else(Dimensions::usual);
        let is_shown = |dimension: &&dyn Dimension| has_netns || dimension.name() != "netns";
        let has_resident = self.ranks.iter().any(|rank| rank.total.key.residence.is_some());
        let who = (self.by.is_none() && has_resident).then_some(WHO);
        let dimensions = by.iter().filter(is_shown).chain(who).collect();
        Shown { dimensions, seen_by: self.is_of_both() }
    }

    fn is_of_both(&self) -> bool {
        self.report.sources.len() > 1
    }

    fn has_other_namespaces(&self) -> bool {
        let known = self.report.drops.iter().map(|total| total.key.netns).filter(|&netns| netns != 0);
        let mut namespaces: HashSet<u32> = known.collect();
        if self.home_netns != 0 {
            namespaces.insert(self.home_netns);
        }
        namespaces.len() > 1
    }

    fn nothing(&self) -> String {
        let has_counters_only = |source: &SourceReport| matches!(source.ledger, Ledger::Counters(_));
        if self.report.sources.iter().any(has_counters_only) {
            return "No counter of drops rose.".into();
        }
        let filtered = self.report.sources.iter().any(|source| source.ledger.filtered() > 0);
        if self.recorded.is_some() {
            let filter = if filtered { " within the filter" } else { "" };
            return format!("The recording has no drops{filter}.");
        }
        let filter = if filtered { " within the filter" } else { "" };
        let yet = if self.report.is_final { "" } else { " so far" };
        match self.report.outside.as_ref().and_then(|found| found.outside().first().map(|first| first.outside)) {
            None => format!("No packet was dropped{filter}{yet}."),
            Some(outside) => {
                let show = if outside > 0 { "show" } else { "may show" };
                format!(
                    "kfree_skb showed no drop{filter}{yet}, and the kernel's counters {show} drops outside kfree_skb."
                )
            }
        }
    }

    fn more(&self, what: &str, count: usize, packets: u64) -> Line {
        let places = counted(count, &format!("more {what}"));
        let packets = if packets == 1 { "1 packet".into() } else { format!("{} packets", Grouped(packets)) };
        self.clipped(format!("… and {places} with {packets}"), Style::Faint)
    }

    /// On a redrawn terminal, a line that wraps would shift the others.
    fn clipped(&self, text: String, style: Style) -> Line {
        match self.height {
            Some(_) => Line { text: text.chars().take(self.width).collect(), style },
            None => Line { text, style },
        }
    }
}

/// `1 row`, `2 rows`, `2 reasons without a drop site`.
fn counted(count: usize, what: &str) -> String {
    let (noun, rest) = what.find(" without").map_or((what, ""), |at| what.split_at(at));
    format!("{count} {noun}{}{rest}", if count == 1 { "" } else { "s" })
}
