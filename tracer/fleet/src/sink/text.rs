//! The report as text, for people.

use std::io::{self, Write};

use droptrace_base::outside::printable;
use droptrace_base::render::paint::{Painted, Style};
use textwrap::{Options, WordSplitter};

use super::words;
use crate::finding::{Finding, Severity};
use crate::report::Report;

/// Narrower text is unreadable: the terminal then wraps longer lines.
const NARROWEST: usize = 40;
/// Wider lines of sentences are hard to read.
const WIDEST: usize = 100;

/// The form of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextOptions {
    /// Columns.
    pub(crate) width: usize,
    /// Colours are wanted.
    pub(crate) color: bool,
    /// The most reasons.
    pub(crate) top: usize,
}

/// Writes the most frequent drops of the fleet, then the findings.
pub(crate) fn write_text(out: &mut impl Write, report: &Report, options: TextOptions) -> io::Result<()> {
    let mut text = Text { out, options, width: options.width.clamp(NARROWEST, WIDEST) };
    for line in words::introduction(report) {
        text.wrapped(&line, "", "")?;
    }
    for line in words::refused(report) {
        text.wrapped(&line, "  ", "    ")?;
    }
    text.dropped_most(report)?;
    writeln!(text.out)?;
    text.heading(&words::heading(&report.findings))?;
    for (at, finding) in report.findings.iter().enumerate() {
        let before = &report.findings[..at];
        let earlier = before.iter().position(|it| it.meaning == finding.meaning && it.next == finding.next);
        text.finding(at + 1, finding, earlier.map(|at| at + 1))?;
    }
    Ok(())
}

struct Text<'o, W> {
    out: &'o mut W,
    options: TextOptions,
    width: usize,
}

impl<W: Write> Text<'_, W> {
    fn dropped_most(&mut self, report: &Report) -> io::Result<()> {
        let rows: Vec<_> = report.dropped_most.iter().take(self.options.top).map(words::dropped).collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        self.heading("Dropped most")?;
        let headings = words::DROPPED.map(str::to_owned);
        let widest = |column: usize| {
            let cells = rows.iter().chain([&headings]).map(|row| printable(&row[column]).chars().count());
            cells.max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3, 4, 5].map(widest);
        for row in [&headings].into_iter().chain(&rows) {
            let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                let cell = printable(cell);
                if column < 3 { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            writeln!(self.out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        let more = report.dropped_most.len() - rows.len();
        if more > 0 {
            writeln!(self.out, "… and {more} more reasons")?;
        }
        Ok(())
    }

    /// `earlier` is the number of an earlier finding with the same meaning and the same commands.
    fn finding(&mut self, number: usize, finding: &Finding, earlier: Option<usize>) -> io::Result<()> {
        let style = match finding.severity {
            Severity::Critical => Style::Alarm,
            Severity::Warning => Style::Warning,
            Severity::Notice => Style::Faint,
        };
        let severity = Painted { text: words::severity(finding.severity), style, color: self.options.color };
        writeln!(self.out, "\n{number}. {severity}: {}", printable(&finding.title))?;
        if let Some(hosts) = words::hosts(finding) {
            self.wrapped(&format!("hosts: {hosts}"), "   ", "     ")?;
        }
        if !finding.evidence.is_empty() {
            let evidence: Vec<_> = finding.evidence.iter().map(words::evidence).collect();
            self.wrapped(&evidence.join("; "), "   ", "     ")?;
        }
        if let Some(earlier) = earlier {
            return writeln!(self.out, "   its meaning and the commands to run next: as in {earlier}");
        }
        if !finding.meaning.is_empty() {
            self.wrapped(&finding.meaning, "   ", "   ")?;
        }
        for (at, backend) in finding.next.iter().enumerate() {
            // Commands are not wrapped, so that they can be copied.
            writeln!(self.out, "   {} {}", if at == 0 { "next:" } else { "     " }, printable(backend))?;
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", Painted { text, style: Style::Heading, color: self.options.color })
    }

    fn wrapped(&mut self, text: &str, first: &str, then: &str) -> io::Result<()> {
        // Names of hosts and points in time are not wrapped.
        let options = Options::new(self.width).word_splitter(WordSplitter::NoHyphenation);
        let options = options.initial_indent(first).subsequent_indent(then);
        writeln!(self.out, "{}", textwrap::fill(&printable(text), options))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn text(report: &Report, color: bool) -> String {
        let mut out = Vec::new();
        write_text(&mut out, report, TextOptions { width: 100, color, top: 3 }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_fleet_with_findings() {
        insta::assert_snapshot!(text(&samples::report(), false));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert!(!text(&samples::report(), false).contains('\x1b'));
        assert!(text(&samples::report(), true).contains("\x1b[33mwarning\x1b[0m"));
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        let mut report = samples::report();
        report.findings[0].hosts.named[0].name = "evil\x1b[2J".into();
        report.input.refused[0].file = "evil\x1b[2J".into();
        report.dropped_most[0].symbol = Some("evil\x1b[2J".into());
        let text = text(&report, false);
        assert!(text.contains("evil\u{fffd}[2J") && !text.contains('\x1b'), "{text}");
    }
}
