//! The report as a self-contained page.

use std::io::{self, Write};

use droptrace_base::render::html::plot::{self, Bar};
use droptrace_base::render::html::{
    Card, Column, Escaped, Level, Maker, badge, write_cards, write_commands, write_facts, write_figure, write_finding,
    write_foot, write_head, write_list, write_table,
};

use super::words;
use crate::finding::{Finding, Severity};
use crate::number::Amount;
use crate::report::{Dropped, Report};

/// The most reasons in the plot.
const PLOTTED: usize = 15;

/// Writes the page: the summary, plots, findings, and each reason with its explanation.
pub(crate) fn write_html(out: &mut impl Write, report: &Report, maker: &Maker) -> io::Result<()> {
    write_head(out, "What the fleet drops", &words::introduction(report))?;
    write_cards(out, &cards(report))?;
    write_list(out, &words::refused(report))?;
    write_figure(out, "Drops by reason, in percent of all drops.", &reasons(report)?)?;
    write_figure(out, "Hosts by their rate of drops.", &rates(report)?)?;
    writeln!(out, "<h2>{}</h2>", Escaped(&words::heading(&report.findings)))?;
    if report.findings.is_empty() {
        writeln!(out, "<p>No host, group or reason stands out by the thresholds; the table has what was dropped.</p>")?;
    }
    for (number, finding) in (1..).zip(&report.findings) {
        show_finding(out, number, finding)?;
    }
    write_dropped(out, report)?;
    write_foot(out, maker)
}

/// The figures that a reader looks for first.
fn cards(report: &Report) -> Vec<Card<'static>> {
    let gravest = report.findings.iter().map(|finding| finding.severity).max();
    let fleet = &report.fleet;
    let certainty =
        if fleet.lost != Amount::default() || fleet.loss_unknown > 0 { Level::Warning } else { Level::Good };
    let lost = if fleet.loss_unknown > 0 { "unknown".into() } else { words::packets(fleet.lost) };
    let silent = if fleet.silent > 0 { Level::Warning } else { Level::Plain };
    let card = |name, value, level| Card { name, value, level };
    vec![
        card("findings", words::grouped(report.findings.len()), gravest.map_or(Level::Good, level)),
        card("packets dropped", words::packets(fleet.packets), Level::Plain),
        card("lost to the count", lost, certainty),
        card("hosts", words::grouped(fleet.hosts), Level::Plain),
        card("silent hosts", words::grouped(fleet.silent), silent),
    ]
}

const fn level(severity: Severity) -> Level {
    match severity {
        Severity::Notice => Level::Notice,
        Severity::Warning => Level::Warning,
        Severity::Critical => Level::Critical,
    }
}

fn show_finding(out: &mut impl Write, number: usize, finding: &Finding) -> io::Result<()> {
    let level = level(finding.severity);
    write_finding(out, level)?;
    let badge = badge(level, words::severity(finding.severity));
    writeln!(out, "<h3>{badge} {number}. {}</h3>", Escaped(&finding.title))?;
    let hosts = words::hosts(finding).map(|hosts| ("hosts", hosts));
    let evidence = finding.evidence.iter().map(|figure| (figure.what, words::amount(figure.value, figure.unit)));
    write_facts(out, &hosts.into_iter().chain(evidence).collect::<Vec<_>>())?;
    if !finding.meaning.is_empty() {
        writeln!(out, "<p>{}</p>", Escaped(&finding.meaning))?;
    }
    if !finding.next.is_empty() {
        writeln!(out, "<p>Next:</p>")?;
    }
    write_commands(out, &finding.next)?;
    writeln!(out, "</article>")
}

fn write_dropped(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "<h2>Dropped most</h2>")?;
    let names = words::DROPPED.into_iter().chain(["MEANING"]).enumerate();
    let columns: Vec<_> = names.map(|(at, name)| Column { name, number: at < words::NUMBERS }).collect();
    let cells: Vec<_> = report.dropped_most.iter().map(|row| (words::dropped(row), row.meaning.as_deref())).collect();
    let rows = cells
        .iter()
        .map(|(cells, meaning)| cells.iter().map(String::as_str).chain([meaning.unwrap_or_default()]).collect());
    write_table(out, "drops by reason", &columns, rows)
}

fn reasons(report: &Report) -> io::Result<String> {
    let bar = |row: &Dropped| {
        let value = row.percent?;
        Some(Bar { name: words::reason(row), value, least: value, most: value })
    };
    let bars: Vec<_> = report.dropped_most.iter().filter_map(bar).take(PLOTTED).collect();
    plot::bars("% of all drops", &bars)
}

#[expect(clippy::cast_precision_loss, reason = "hosts of a fleet")]
fn rates(report: &Report) -> io::Result<String> {
    let bars = report.rates.iter().map(|band| {
        let value = band.hosts as f64;
        Bar { name: words::band(band), value, least: value, most: value }
    });
    plot::bars("hosts by packets dropped per second", &bars.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use droptrace_base::domain::event::Timestamp;

    use super::super::samples;
    use super::*;

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        let (program, command) = ("droptrace-fleet 1.2.3".into(), "droptrace-fleet merge <script> x.json".into());
        write_html(&mut out, report, &Maker { program, command, at: Timestamp(0) }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn page_loads_nothing() {
        let page = page(&samples::report());
        assert_eq!(page.matches("<svg").count(), 2);
        for foreign in ["<link", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        // The page's own, which sorts tables.
        assert_eq!(page.matches("<script").count(), 1);
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
        assert_eq!(page(&report).matches("<script").count(), 1);
    }
}
