//! Shows the report as one HTML page without other files.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::plan::SeriesName;
use super::report::{Figures, Report, Row, SeriesReport};
use super::table::Table;
use super::target::Target;
use super::{Spread, words};
use crate::render::html::{Escaped, write_head, write_row};
use crate::render::plot::{self, Bar, Curves};

const TITLE: &str = "Cost of tracing drops";

/// Writes the page: machine, tables, plots, commands.
pub fn write_html(out: &mut impl Write, report: &Report) -> io::Result<()> {
    write_head(out, TITLE)?;
    for line in words::introduction(report) {
        writeln!(out, "<p>{}</p>", Escaped(&line))?;
    }
    if !report.complete {
        writeln!(out, "<p><strong>Ended early: not all of it was measured.</strong></p>")?;
    }
    for series in &report.series {
        write_series(out, series)?;
    }
    writeln!(out, "<h2>What the figures mean</h2>\n<p>{}</p>", Escaped(words::MEANING))?;
    write_commands(out, report)?;
    writeln!(out, "</html>")
}

fn write_series(out: &mut impl Write, series: &SeriesReport) -> io::Result<()> {
    writeln!(out, "<h2>{}</h2>", Escaped(&words::title(series)))?;
    for svg in plots(series)? {
        writeln!(out, "<div>{svg}</div>")?;
    }
    let table = Table::of(series);
    writeln!(out, "<div><table>")?;
    write_row(out, "th", table.headings.iter().copied())?;
    for row in &table.rows {
        write_row(out, "td", row.iter().map(String::as_str))?;
    }
    writeln!(out, "</table></div>")?;
    let mut notes = words::errors(series);
    if series.name == SeriesName::Loss {
        notes.extend(words::held(series));
    }
    if !notes.is_empty() {
        writeln!(out, "<ul>")?;
        for (who, note) in notes {
            writeln!(out, "<li><strong>{who}</strong>: {}</li>", Escaped(&note))?;
        }
        writeln!(out, "</ul>")?;
    }
    Ok(())
}

fn write_commands(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "<h2>Commands</h2>\n<ul>")?;
    let rows = report.series.iter().flat_map(|series| &series.rows);
    let commands: BTreeSet<_> = rows.filter_map(|row| row.command.as_deref()).collect();
    for command in commands {
        writeln!(out, "<li><code>{}</code></li>", Escaped(command))?;
    }
    writeln!(out, "</ul>")
}

fn plots(series: &SeriesReport) -> io::Result<Vec<String>> {
    let lines = |x, y, of_x: fn(&Row, &Figures) -> Option<f64>, of_y: fn(&Figures) -> Option<f64>| {
        Curves { x, y, lines: through(series, of_x, of_y) }.draw()
    };
    let added = |it: &Figures| it.added_ns.map(|added| added.median);
    let program = |it: &Figures| it.program_ns.map(|program| program.median);
    Ok(match series.name {
        SeriesName::Cost | SeriesName::Owners => {
            let row = |of: fn(&Figures) -> Option<Spread>| {
                let rows = series.rows.iter();
                let bars = rows.filter_map(|row| Some(bar(row.configuration, of(row.figures.as_ref()?)?)));
                bars.collect::<Vec<_>>()
            };
            vec![
                plot::bars("nanoseconds added to a drop, whole path", &row(|it| it.added_ns))?,
                plot::bars("nanoseconds of BPF programs for each drop", &row(|it| it.program_ns))?,
            ]
        }
        SeriesName::Loss => vec![lines(
            "drops a second",
            "% accounted for",
            |_, it| Some(it.rate.median),
            |it| Some(100.0 * (1.0 - it.account.as_ref()?.share_lost)),
        )?],
        SeriesName::Keys => {
            vec![lines("distinct keys", "program ns", |row, _| row.keys.map(f64::from), program)?]
        }
        SeriesName::Flows => {
            // The load by Zipf's law has a single number of flows, and is in the table only.
            let in_turn = |row: &Row, _: &Figures| row.flows.filter(|_| row.load == "flows").map(f64::from);
            vec![lines("distinct flows in turn", "program ns", in_turn, program)?]
        }
        SeriesName::Snaplen => {
            vec![lines("bytes of a record", "program ns", |row, _| row.snaplen.map(f64::from), program)?]
        }
        SeriesName::Cpus => {
            let cpus = |row: &Row, _: &Figures| u32::try_from(row.cpus).ok().map(f64::from);
            vec![lines("processors that drop", "ns added", cpus, added)?]
        }
        SeriesName::Loads => vec![],
    })
}

fn bar(name: &str, Spread { median, least, most }: Spread) -> Bar {
    Bar { name: name.to_owned(), value: median, least, most }
}

/// Adds one line for each configuration, from left to right.
fn through(
    series: &SeriesReport,
    of_x: fn(&Row, &Figures) -> Option<f64>,
    of_y: fn(&Figures) -> Option<f64>,
) -> Vec<(String, Vec<(f64, f64)>)> {
    let line = |target: Target| {
        let rows = series.rows.iter().filter(|row| row.configuration == target.name());
        let point = |row: &Row| row.figures.as_ref().and_then(|it| Some((of_x(row, it)?, of_y(it)?)));
        let mut points: Vec<_> = rows.filter_map(point).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        (target.name().to_owned(), points)
    };
    Target::ALL.into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        write_html(&mut out, report).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page() {
        let page = page(&sample());
        // The plots come from the library, and are long.
        let (mut text, mut rest) = (String::new(), page.as_str());
        while let Some((before, from)) = rest.split_once("<svg") {
            text.push_str(before);
            text.push_str("<svg…/>");
            rest = from.split_once("</svg>\n").unwrap().1;
        }
        insta::assert_snapshot!(text + rest);
    }

    #[test]
    fn page_needs_no_other_files() {
        let page = page(&sample());
        assert_eq!(page.matches("<svg").count(), 7);
        for foreign in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("&lt;PREEMPT&gt;") && !page.contains("<PREEMPT>"));
    }
}
