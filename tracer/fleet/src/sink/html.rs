//! The report as a self-contained page.

use std::io::{self, Write};

use droptrace_base::render::html::{Escaped, write_head, write_row};
use droptrace_base::render::plot::{self, Bar};

use super::words;
use crate::finding::Finding;
use crate::report::Report;

/// The most reasons in the plot.
const PLOTTED: usize = 15;

/// Writes the page: sums, plots, findings, and each reason with its explanation.
pub(crate) fn write_html(out: &mut impl Write, report: &Report) -> io::Result<()> {
    write_head(out, "What the fleet drops")?;
    for line in words::introduction(report) {
        writeln!(out, "<p>{}</p>", Escaped(&line))?;
    }
    write_list(out, words::refused(report).iter().map(String::as_str))?;
    writeln!(out, "<h2>{}</h2>", Escaped(&words::heading(&report.findings)))?;
    for (number, finding) in (1..).zip(&report.findings) {
        write_finding(out, number, finding)?;
    }
    write_dropped(out, report)?;
    writeln!(out, "<h2>Hosts by rate</h2>\n<div>{}</div>\n</html>", rates(report)?)
}

fn write_finding(out: &mut impl Write, number: usize, finding: &Finding) -> io::Result<()> {
    let severity = words::severity(finding.severity);
    writeln!(out, "<h3>{number}. {severity}: {}</h3>", Escaped(&finding.title))?;
    if let Some(hosts) = words::hosts(finding) {
        writeln!(out, "<p>Hosts: {}</p>", Escaped(&hosts))?;
    }
    if !finding.evidence.is_empty() {
        writeln!(out, "<div><table>")?;
        for figure in &finding.evidence {
            let amount = words::amount(figure.value, figure.unit);
            write_row(out, "td", [figure.what, &amount].into_iter())?;
        }
        writeln!(out, "</table></div>")?;
    }
    if !finding.meaning.is_empty() {
        writeln!(out, "<p>{}</p>", Escaped(&finding.meaning))?;
    }
    if finding.next.is_empty() {
        return Ok(());
    }
    writeln!(out, "<p>Next:</p>\n<ul>")?;
    for backend in &finding.next {
        writeln!(out, "<li><code>{}</code></li>", Escaped(backend))?;
    }
    writeln!(out, "</ul>")
}

fn write_dropped(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "<h2>Dropped most</h2>")?;
    let bar = |row: &crate::report::Dropped| {
        let value = row.percent?;
        Some(Bar { name: words::reason(row), value, least: value, most: value })
    };
    let bars: Vec<_> = report.dropped_most.iter().filter_map(bar).take(PLOTTED).collect();
    writeln!(out, "<div>{}</div>", plot::bars("% of all drops", &bars)?)?;
    writeln!(out, "<div><table>")?;
    write_row(out, "th", words::DROPPED.into_iter().chain(["MEANING"]))?;
    for row in &report.dropped_most {
        let cells = words::dropped(row);
        let meaning = row.meaning.as_deref().unwrap_or_default();
        write_row(out, "td", cells.iter().map(String::as_str).chain([meaning]))?;
    }
    writeln!(out, "</table></div>")
}

#[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
fn rates(report: &Report) -> io::Result<String> {
    let bars = report.rates.iter().map(|band| {
        let value = band.hosts as f64;
        Bar { name: words::band(band), value, least: value, most: value }
    });
    plot::bars("hosts by packets dropped per second", &bars.collect::<Vec<_>>())
}

fn write_list<'l>(out: &mut impl Write, lines: impl Iterator<Item = &'l str>) -> io::Result<()> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "<ul>")?;
    for line in lines {
        writeln!(out, "<li>{}</li>", Escaped(line))?;
    }
    writeln!(out, "</ul>")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        write_html(&mut out, report).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn page_loads_nothing() {
        let page = page(&samples::report());
        assert_eq!(page.matches("<svg").count(), 2);
        for foreign in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    }

    #[test]
    fn page_has_the_content_of_text() {
        let report = samples::report();
        let page = page(&report);
        for finding in &report.findings {
            assert!(page.contains(&Escaped(&finding.title).to_string()), "{}", finding.title);
            assert!(page.contains(&Escaped(&finding.meaning).to_string()), "{}", finding.meaning);
        }
    }

    #[test]
    fn names_are_escaped() {
        let mut report = samples::report();
        report.findings[0].hosts.named[0].name = "<script>".into();
        report.dropped_most[0].reason = Some("<script>".into());
        report.input.refused[0].file = "<script>".into();
        assert!(!page(&report).contains("<script"));
    }
}
