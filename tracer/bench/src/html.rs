//! Shows the report as one HTML page without other files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::plan::SeriesName;
use super::report::{Figures, Report, Row, SeriesReport};
use super::table::{Table, whole};
use super::target::Target;
use super::{Spread, words};
use crate::render::html::plot::{self, Bar, Curves};
use crate::render::html::{
    self, Card, Column, Escaped, Level, Maker, write_cards, write_figure, write_foot, write_head, write_list,
    write_table,
};
use crate::render::number::Grouped;

const TITLE: &str = "Cost of tracing drops";

/// Writes the page: summary, plots, tables, machine, commands.
pub fn write_html(out: &mut impl Write, report: &Report, maker: &Maker) -> io::Result<()> {
    write_head(out, TITLE, &words::introduction(report))?;
    write_cards(out, &cards(report))?;
    for series in &report.series {
        write_series(out, series)?;
    }
    writeln!(out, "<h2>How to read the measurements</h2>\n<p>{}</p>\n<h2>Commands</h2>", Escaped(words::MEANING))?;
    let rows = report.series.iter().flat_map(|series| &series.rows);
    let commands: BTreeSet<_> = rows.filter_map(|row| row.command.as_deref()).collect();
    html::write_commands(out, &Vec::from_iter(commands))?;
    write_foot(out, maker)
}

/// The figures that a reader looks for first.
fn cards(report: &Report) -> Vec<Card<'static>> {
    let card = |name, value, level| Card { name, value, level };
    let rows_of = |series: SeriesName| report.series.iter().filter(move |of| of.name == series).flat_map(|of| &of.rows);
    let own = Target::Stat.name();
    let of_stat = rows_of(SeriesName::Cost).filter(|row| row.configuration == own).find_map(|row| row.figures.as_ref());
    let added = of_stat.and_then(|figures| figures.added_ns);
    let program = of_stat.and_then(|figures| figures.program_ns);
    let held = report.series.iter().find(|series| series.name == SeriesName::Loss);
    let held = held.and_then(|series| series.greatest_lossless_rate(own));
    let failed = report.series.iter().map(|series| words::errors(series).len()).sum::<usize>();
    let cards = [
        added.map(|ns| card("stat adds to a drop", format!("{:.0} ns", ns.median), Level::Plain)),
        program.map(|ns| card("of that, its BPF program", format!("{:.1} ns", ns.median), Level::Plain)),
        held.map(|rate| card("stat loses nothing up to", format!("{}/s", Grouped(whole(rate))), Level::Good)),
        (failed > 0).then(|| card("not measured", failed.to_string(), Level::Notice)),
        (!report.complete).then(|| card("ended early", "not all was measured".to_owned(), Level::Warning)),
    ];
    cards.into_iter().flatten().collect()
}

fn write_series(out: &mut impl Write, series: &SeriesReport) -> io::Result<()> {
    let title = words::title(series);
    writeln!(out, "<h2>{}</h2>", Escaped(&title))?;
    for (caption, svg) in plots(series)? {
        write_figure(out, caption, &svg)?;
    }
    let table = Table::of(series);
    let columns = table.headings.iter().enumerate();
    let columns: Vec<_> = columns.map(|(at, &name)| Column { name, number: table.is_number(at) }).collect();
    write_table(out, &title, &columns, table.rows.iter().map(|row| row.iter().map(String::as_str).collect()))?;
    let mut notes = words::errors(series);
    if series.name == SeriesName::Loss {
        notes.extend(words::held(series));
    }
    write_list(out, &notes.iter().map(|(who, note)| format!("{who}: {note}")).collect::<Vec<_>>())
}

/// Each plot with what it shows.
fn plots(series: &SeriesReport) -> io::Result<Vec<(&'static str, String)>> {
    let program = |it: &Figures| it.program_ns.map(|program| program.median);
    let lines = |x, y, lines| Curves { x, y, lines }.draw();
    Ok(match series.name {
        SeriesName::Cost | SeriesName::Owners => {
            let row = |of: fn(&Figures) -> Option<Spread>| {
                let rows = series.rows.iter();
                let bars = rows.filter_map(|row| Some(bar(row.configuration, of(row.figures.as_ref()?)?)));
                bars.collect::<Vec<_>>()
            };
            let added = "Nanoseconds added to a drop, whole path: median, with the least and the most.";
            let own = "Nanoseconds of BPF programs for each drop: median, with the least and the most.";
            vec![
                (added, plot::bars("ns added", &row(|it| it.added_ns))?),
                (own, plot::bars("program ns", &row(|it| it.program_ns))?),
            ]
        }
        SeriesName::Loss => {
            let accounted = |it: &Figures| Some(100.0 * (1.0 - it.account.as_ref()?.share_lost));
            let through = through(series, with_processors, |_, it| Some(it.rate.median), accounted);
            let what = "Share of the drops that was accounted for, by rate of drops.";
            vec![(what, lines("drops a second", "% accounted for", through)?)]
        }
        SeriesName::Keys => {
            let through = through(series, configuration, |row, _| row.keys.map(f64::from), program);
            vec![("Time of the BPF program by distinct keys.", lines("distinct keys", "program ns", through)?)]
        }
        SeriesName::Flows => {
            // The load by Zipf's law has a single number of flows, and is in the table only.
            let in_turn = |row: &Row, _: &Figures| row.flows.filter(|_| row.load == "flows").map(f64::from);
            let through = through(series, configuration, in_turn, program);
            vec![("Time of the BPF program by flows.", lines("distinct flows in turn", "program ns", through)?)]
        }
        SeriesName::Snaplen => {
            let through = through(series, configuration, |row, _| row.snaplen.map(f64::from), program);
            vec![("Time of the BPF program by length of records.", lines("bytes of a record", "program ns", through)?)]
        }
        SeriesName::Cpus => {
            let cpus = |row: &Row, _: &Figures| u32::try_from(row.cpus).ok().map(f64::from);
            let through = through(series, configuration, cpus, |it| it.added_ns.map(|added| added.median));
            vec![("Nanoseconds added by processors that drop.", lines("processors that drop", "ns added", through)?)]
        }
        SeriesName::Loads => vec![],
    })
}

fn bar(name: &str, Spread { median, least, most }: Spread) -> Bar {
    Bar { name: name.to_owned(), value: median, least, most }
}

fn configuration(row: &Row) -> String {
    row.configuration.to_owned()
}

/// Rates of several processors are not those of one.
fn with_processors(row: &Row) -> String {
    format!("{}, {} CPU{}", row.configuration, row.cpus, if row.cpus == 1 { "" } else { "s" })
}

/// One line for each name of rows, from left to right, in the order of the targets.
fn through(
    series: &SeriesReport,
    name: fn(&Row) -> String,
    of_x: fn(&Row, &Figures) -> Option<f64>,
    of_y: fn(&Figures) -> Option<f64>,
) -> Vec<(String, Vec<(f64, f64)>)> {
    let order = |row: &Row| Target::ALL.iter().position(|target| target.name() == row.configuration);
    let mut lines = BTreeMap::<_, Vec<_>>::new();
    for row in &series.rows {
        let point = row.figures.as_ref().and_then(|it| Some((of_x(row, it)?, of_y(it)?)));
        if let Some(point) = point {
            lines.entry((order(row), name(row))).or_default().push(point);
        }
    }
    let sorted = |mut points: Vec<(f64, f64)>| {
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points
    };
    lines.into_iter().map(|((_, name), points)| (name, sorted(points))).collect()
}

#[cfg(test)]
mod tests {
    use droptrace_base::domain::event::Timestamp;

    use super::super::report::tests::sample;
    use super::*;

    fn page(report: &Report) -> String {
        let mut out = Vec::new();
        let (program, command) = ("droptrace 1.2.3".into(), "droptrace bench".into());
        write_html(&mut out, report, &Maker { program, command, at: Timestamp(0) }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page() {
        let page = page(&sample());
        // The style is the same on each page, and the plots come from the library; both are long.
        let page = page.split_once("</head>").unwrap().1.split_once("<script>").unwrap().0;
        let (mut text, mut rest) = (String::new(), page);
        while let Some((before, from)) = rest.split_once("<svg") {
            text.push_str(before);
            text.push_str("<svg…/>");
            rest = from.split_once("</svg>").unwrap().1;
        }
        insta::assert_snapshot!(text + rest);
    }

    #[test]
    fn page_needs_no_other_files() {
        let page = page(&sample());
        assert_eq!(page.matches("<svg").count(), 7);
        for foreign in ["<link", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("&lt;PREEMPT&gt;") && !page.contains("<PREEMPT>"));
    }
}
