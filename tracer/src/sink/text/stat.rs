//! The table of `stat`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use super::sentences::Recorded;
use super::table::{Columns, Row, Shown};
use super::{ledger, outside, past, refused, retransmit, sentences, stacks};
use crate::dimension::{Dimension, Dimensions, WHO};
use crate::domain::event::Origin;
use crate::domain::report::StatReport;
use crate::render::Size;
use crate::render::fit::width;
use crate::render::number::Grouped;
use crate::render::paint::{Painted, Style};
use crate::render::rank::{Rank, Ranking, Sort, per_second};
use crate::sink::StatSink;

/// Number of rows where neither `top` nor a terminal bounds them.
const DEFAULT_TOP: usize = 20;
/// Number of reasons without a key that a redrawn table shows.
const LIVE_OVERFLOW: usize = 3;

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
pub(crate) struct StatText<W> {
    out: W,
    options: StatOptions,
    ranking: Ranking,
    tables: usize,
    /// What could not be compared, as the last table said.
    gaps: Vec<String>,
}

impl<W: Write> StatText<W> {
    /// Writes to `out`, a table for each report.
    pub(crate) fn new(out: W, options: StatOptions) -> Self {
        let ranking = Ranking::new(options.sort);
        Self { out, options, ranking, tables: 0, gaps: vec![] }
    }
}

impl<W: Write> StatSink for StatText<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        let size = (self.options.size)();
        // The last table stays, so it is shown whole, even where it makes the terminal scroll.
        let height = size.height.filter(|_| self.options.live && !report.is_final);
        let (mut ranks, span) = self.ranking.rank(report);
        if height.is_some() {
            // The sort is stable: both parts keep their order.
            ranks.sort_by_key(|rank| !grows(rank));
        }
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

/// What was seen, counted, hidden and lost, and what was lost outside `kfree_skb`.
#[cfg(any(feature = "html", feature = "top"))]
pub(crate) fn verdict(report: &StatReport) -> Vec<ledger::LedgerLine> {
    let hidden = report.hidden.iter().map(|hidden| ledger::LedgerLine::plain(sentences::hidden(hidden)));
    let refused = report.refused.iter().flat_map(|found| refused::lines(found, report.is_final, false));
    let outside = report.outside.iter().flat_map(|found| outside::lines(found, false));
    let past = report.past.iter().flat_map(past::lines);
    past.chain(ledger::accounting(&report.sources)).chain(hidden).chain(refused).chain(outside).collect()
}

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
        let head = sentences::fitting_head(self.report, self.span, self.recorded, self.width);
        let head = Line { text: head, style: Style::Plain };
        let hidden = self.report.hidden.iter().map(|hidden| ledger::LedgerLine::plain(sentences::hidden(hidden)));
        let past = self.report.past.iter().flat_map(past::lines);
        let tail: Vec<_> = past
            .chain(hidden)
            .chain(ledger::accounting(&self.report.sources))
            .chain(self.records())
            .chain(self.report.attribution.as_ref().map(ledger::attribution))
            .chain(self.report.flows.as_ref().map(ledger::flows))
            .chain(self.report.retransmissions.as_ref().map(|found| retransmit::ledger(&found.ledger)))
            .chain(self.refused())
            .chain(self.report.outside.iter().flat_map(|found| outside::lines(found, self.with_gaps)))
            .map(|line| Line { style: if line.healthy { Style::Plain } else { Style::Alarm }, text: line.text })
            .chain(sentences::not_packets(self.report).map(|text| Line { text, style: Style::Plain }))
            .chain(sentences::own(self.report).map(|text| Line { text, style: Style::Alarm }))
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

    /// The SYNs that listening sockets refused.
    fn refused(&self) -> Vec<ledger::LedgerLine> {
        let lines = |report| refused::lines(report, self.report.is_final, self.top == Some(0));
        self.report.refused.as_ref().map(lines).unwrap_or_default()
    }

    /// The drops that retransmissions followed, under the last table only.
    fn followed(&self) -> impl Iterator<Item = Line> {
        let found = self.report.retransmissions.as_ref().filter(|_| self.report.is_final);
        let lines = found.map(|found| retransmit::lines(found, self.top == Some(0))).unwrap_or_default();
        lines.into_iter().map(|text| Line { text, style: Style::Plain })
    }

    /// The call stacks, which are many lines: under the last table only.
    fn stacks(&self) -> impl Iterator<Item = Line> {
        let sites = self.report.stacks.as_deref().filter(|_| self.report.is_final).unwrap_or_default();
        let lines = stacks::lines(sites, self.top == Some(0));
        lines.into_iter().map(|text| Line { text, style: Style::Plain })
    }

    /// Drops that only the drop monitor reported, where both sources ran.
    fn filled(&self) -> Option<Line> {
        let drops = self.ranks.iter().map(|rank| rank.total);
        let packets: u64 = drops.filter(|total| *total.seen_by == [Origin::NetDm]).map(|total| total.packets).sum();
        let text = format!("union: {} of these were seen by net_dm only", Grouped(packets));
        (self.is_of_both() && packets > 0).then_some(Line { text, style: Style::Plain })
    }

    /// Rows of the terminal that a line takes, which may wrap.
    fn rows_taken(&self, line: &Line) -> usize {
        width(&line.text).div_ceil(self.width.max(1)).max(1)
    }

    /// The table; `around` rows of the terminal are taken by the lines before and after it.
    fn body(&self, around: usize) -> Vec<Line> {
        let report = self.report;
        if self.ranks.is_empty() && report.overflow.is_empty() {
            return vec![Line { text: sentences::nothing(self.report, self.recorded.is_some()), style: Style::Plain }];
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
        let mut rows: Vec<_> = ranks.iter().map(|rank| self.row(rank, &shown_columns)).collect();
        rows.extend(overflow.iter().map(Row::of_overflow));
        rows.push(self.sum());
        let columns = Columns::fit(&rows, shown_columns, self.width);
        let plain = |row: &Row<'_>| self.clipped(columns.line(row), row.style);

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
        let left_out = columns.left_out();
        if !left_out.is_empty() {
            let text = format!("no room for {}: widen the terminal, or choose columns with --by", left_out.join(", "));
            lines.push(self.clipped(text, Style::Faint));
        }
        lines
    }

    /// The row of a key. On a redrawn terminal, rows that do not grow any more are dim.
    fn row<'t>(&self, rank: &Rank<'t>, shown: &Shown) -> Row<'t> {
        let row = Row::of_key(rank, shown);
        if self.height.is_some() && !grows(rank) { row.faint() } else { row }
    }

    /// Rows of aggregation keys to show, of which `fitting` fit.
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
        Shown { dimensions, are_chosen: self.by.is_some(), seen_by: self.is_of_both() }
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

    fn more(&self, what: &str, count: usize, packets: u64) -> Line {
        let rows = counted(count, &format!("more {what}"));
        let packets = if packets == 1 { "1 packet".into() } else { format!("{} packets", Grouped(packets)) };
        self.clipped(format!("… and {rows} with {packets}"), Style::Faint)
    }

    /// On a redrawn terminal, a line that wraps would shift the others.
    fn clipped(&self, text: String, style: Style) -> Line {
        match self.height {
            Some(_) => Line { text: text.chars().take(self.width).collect(), style },
            None => Line { text, style },
        }
    }
}

/// Whether drops were counted in the last interval.
fn grows(rank: &Rank<'_>) -> bool {
    rank.rate.is_none_or(|rate| rate > 0.0)
}

/// `1 row`, `2 rows`, `2 reasons without a drop site`.
fn counted(count: usize, what: &str) -> String {
    let (noun, rest) = what.find(" without").map_or((what, ""), |at| what.split_at(at));
    format!("{count} {noun}{}{rest}", if count == 1 { "" } else { "s" })
}
