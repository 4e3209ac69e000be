//! The table of `compare`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use super::ledger;
use crate::dimension;
use crate::domain::compare::{Cause, Gap, Row, Verdict};
use crate::domain::event::NamedKey;
use crate::domain::report::CompareReport;
use crate::outside::printable;
use crate::render::number::{Grouped, seconds};
use crate::render::paint::{Painted, Style};
use crate::sink::CompareSink;

/// Shows a comparison as a table.
pub(crate) struct CompareText<W> {
    out: W,
    color: bool,
}

impl<W: Write> CompareText<W> {
    /// Writes to `out`, with colours if wanted.
    pub(crate) const fn new(out: W, color: bool) -> Self {
        Self { out, color }
    }

    fn line(&mut self, text: &str, style: Style) -> io::Result<()> {
        writeln!(self.out, "{}", Painted { text, style, color: self.color })
    }
}

impl<W: Write> CompareSink for CompareText<W> {
    fn report(&mut self, report: &CompareReport) -> io::Result<()> {
        let (name, kernel) = (printable(&report.host.name), printable(&report.host.kernel));
        let length = seconds(report.duration);
        self.line(&format!("Packets dropped on {name} (Linux {kernel}) in {length}, by both sources"), Style::Plain)?;
        if report.comparison.sites.is_empty() {
            self.line("No packet was dropped.", Style::Plain)?;
        } else {
            self.table(&report.comparison.sites)?;
        }
        let total = &report.comparison.total;
        let style = if total.verdict.is_explained() { Style::Plain } else { Style::Alarm };
        let text = format!(
            "{} by ebpf, {} by net_dm; by one only {} = {} explained + {} possibly + {} unexplained: {}",
            Grouped(total.ebpf),
            Grouped(total.net_dm),
            Grouped(total.only_one),
            Grouped(total.explained),
            Grouped(total.possible),
            Grouped(total.unexplained),
            verdict(total.verdict),
        );
        self.line(&text, style)?;
        let lines = ledger::accounting(&report.sources).into_iter().chain(ledger::events(&report.sources));
        for line in lines.chain(report.union.as_ref().map(ledger::union)) {
            self.line(&line.text, if line.healthy { Style::Plain } else { Style::Alarm })?;
        }
        self.out.flush()
    }
}

impl<W: Write> CompareText<W> {
    fn table(&mut self, rows: &[Row<Arc<NamedKey>>]) -> io::Result<()> {
        let headings = ["EBPF", "NET_DM", "DIFF", "REASON", "WHERE", "EXPLANATION"].map(str::to_owned);
        let cells: Vec<[String; 6]> = rows.iter().map(cells).collect();
        let width = |column: usize| {
            let lengths = cells.iter().chain([&headings]).map(|row| row[column].chars().count());
            lengths.max().unwrap_or_default()
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        let line = |row: &[String; 6]| {
            let [ebpf, net_dm, difference, reason, location, explanation] = row;
            let [w0, w1, w2, w3, w4, _] = widths;
            let mut text = format!("{ebpf:>w0$}  {net_dm:>w1$}  {difference:>w2$}  {reason:<w3$}  {location:<w4$}  ");
            text.push_str(explanation);
            text.truncate(text.trim_end().len());
            text
        };
        self.line(&line(&headings), Style::Heading)?;
        for (row, cells) in rows.iter().zip(&cells) {
            let is_well = row.gaps().into_iter().all(|gap| gap.unexplained == 0);
            self.line(&line(cells), if is_well { Style::Plain } else { Style::Alarm })?;
        }
        Ok(())
    }
}

fn cells(row: &Row<Arc<NamedKey>>) -> [String; 6] {
    let difference = match row.difference {
        0 => "0".into(),
        _ => format!("{}{}", if row.difference > 0 { '+' } else { '-' }, Grouped(magnitude(row.difference))),
    };
    [
        Grouped(row.ebpf).to_string(),
        Grouped(row.net_dm).to_string(),
        difference,
        dimension::reason(&row.site.reason).into_owned(),
        dimension::site(&row.site.location, usize::MAX),
        explanation(row),
    ]
}

fn magnitude(difference: i128) -> u64 {
    u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX)
}

/// Each part with its cause. The two directions are separate, because they do not cancel out.
fn explanation(row: &Row<Arc<NamedKey>>) -> String {
    let mut text = String::new();
    for (gap, whom) in [(&row.not_by_net_dm, "net_dm"), (&row.not_by_ebpf, "ebpf")] {
        if gap.packets > 0 {
            let separator = if text.is_empty() { "" } else { "; " };
            _ = write!(text, "{separator}{} not by {whom}: {}", Grouped(gap.packets), parts(gap).join(", "));
        }
    }
    text
}

fn parts(gap: &Gap) -> Vec<String> {
    let explained = gap.explained.iter().map(|part| format!("{} {}", Grouped(part.packets), words(part.cause)));
    let mut parts: Vec<String> = explained.collect();
    if gap.possible > 0 {
        let causes: Vec<&str> = gap.possible_causes.iter().map(|cause| words(*cause)).collect();
        parts.push(format!("{} possibly {}", Grouped(gap.possible), causes.join(" or ")));
    }
    if gap.unexplained > 0 {
        parts.push(format!("{} UNEXPLAINED", Grouped(gap.unexplained)));
    }
    parts
}

const fn words(cause: Cause) -> &'static str {
    match cause {
        Cause::NotCoveredByNetDm | Cause::NotCoveredByEbpf => "of a kind that it does not see",
        Cause::NoMacHeader => "without a MAC header",
        Cause::OwnNetlink => "to droptrace's own sockets",
        Cause::NetDmStartedOrStopped | Cause::EbpfStartedOrStopped => "while it started or stopped",
        Cause::NotSentAtStop => "not sent when it stopped",
        Cause::QueueTailDrops => "because its queue was full",
        Cause::SocketOverrun => "because the socket was full",
        Cause::Undecodable => "in malformed messages",
        Cause::NetDmOverflow | Cause::EbpfOverflow => "counted by reason only",
        Cause::Interrupted => "while others had stopped it",
        Cause::TooManySites => "at more than 64 drop sites a second",
        Cause::AlertBufferReplaced => "while an alert was sent",
        Cause::EbpfMissed => "while it was running on that CPU already",
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agree => "the sources agree",
        Verdict::Explained => "all differences are explained",
        Verdict::PossiblyExplained => "differences are explained, some by causes without a counter",
        Verdict::Unexplained => "NOT ALL DIFFERENCES ARE EXPLAINED",
    }
}
