//! The rows of a series in columns, for the text and the page.

use std::io::{self, Write};

use super::plan::SeriesName;
use super::report::{Figures, Row, SeriesReport};
use super::spread::Spread;
use crate::render::number::Grouped;

/// Headings and cells. Columns of numbers after the first column are aligned to the right.
pub(super) struct Table {
    pub(super) headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

type Column = (&'static str, fn(&Row, &Figures) -> String);

const CONFIGURATION: Column = ("CONFIGURATION", |row, _| row.configuration.to_owned());
const ADDED: Column = ("NS ADDED", |_, it| spread(it.added_ns, 0));
const RATIO: Column = ("TIMES NOTHING", |_, it| spread(it.ratio, 3));
const PROGRAM: Column = ("PROGRAM NS", |_, it| spread(it.program_ns, 1));
const CPU: Column = ("CPU NS", |_, it| it.cpu_ns.map_or("-".into(), |cpu| format!("{:.0}", cpu.median)));
const MEMORY: Column =
    ("MEMORY", |_, it| it.peak_bytes.map_or("-".into(), |bytes| format!("{} kB", Grouped(bytes >> 10))));
const ATTACHED: Column =
    ("ATTACHED", |_, it| it.attach_ns.map_or("-".into(), |ns| format!("{:.0} ms", ns.median / 1e6)));
const SENT: Column = ("SENT", |_, it| Grouped(it.sent).to_string());
const LOST: Column = ("LOST", |_, it| lost(it));
const RATE: Column = ("DROPS/S", |_, it| Grouped(whole(it.rate.median)).to_string());
const ACCOUNTED: Column =
    ("ACCOUNTED", |_, it| it.account.as_ref().map_or("-".into(), |it| percent(1.0 - it.share_lost)));

impl Table {
    pub(super) fn of(series: &SeriesReport) -> Self {
        let columns = columns(series.name);
        let cells = |row: &Row| {
            let figures = row.figures.as_ref()?;
            Some(columns.iter().map(|(_, cell)| cell(row, figures)).collect())
        };
        let rows = series.rows.iter().filter_map(cells).collect();
        Self { headings: columns.iter().map(|(heading, _)| *heading).collect(), rows }
    }

    /// Whether a column has numbers: each cell begins with one, or stands for none.
    #[cfg(feature = "html")]
    pub(super) fn is_number(&self, column: usize) -> bool {
        let begins = |cell: &str| cell == "-" || cell.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
        self.rows.iter().all(|row| begins(&row[column]))
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let headings = self.headings.iter().map(|&heading| heading.to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&headings).chain(&self.rows).collect();
        let widest = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<_> = (0..self.headings.len()).map(widest).collect();
        for line in lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(index, (cell, &width))| match index {
                0 => format!("{cell:<width$}"),
                _ if index + 1 == widths.len() => cell.clone(),
                _ => format!("{cell:>width$}"),
            });
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The columns of a series, from the subject of the series to the losses.
fn columns(name: SeriesName) -> Vec<Column> {
    let varies: Column = match name {
        SeriesName::Loss => {
            let asked: Column = ("ASKED", |row, _| row.pace.map_or("-".into(), |pace| Grouped(pace).to_string()));
            let cpus: Column = ("CPUS", |row, _| row.cpus.to_string());
            return vec![CONFIGURATION, cpus, asked, RATE, SENT, ACCOUNTED, CPU, LOST];
        }
        SeriesName::Cost | SeriesName::Owners => {
            return vec![CONFIGURATION, ADDED, RATIO, PROGRAM, CPU, MEMORY, ATTACHED, SENT, LOST];
        }
        SeriesName::Keys => ("KEYS", |row, _| row.keys.map_or("-".into(), |keys| Grouped(keys.into()).to_string())),
        SeriesName::Flows => {
            let flows: Column =
                ("FLOWS", |row, _| row.flows.map_or("-".into(), |flows| Grouped(flows.into()).to_string()));
            let load: Column = ("LOAD", |row, _| row.load.to_owned());
            return vec![CONFIGURATION, load, flows, RATE, ADDED, RATIO, PROGRAM, CPU, MEMORY, SENT, LOST];
        }
        SeriesName::Snaplen => ("BYTES", |row, _| row.snaplen.map_or("-".into(), |bytes| bytes.to_string())),
        SeriesName::Cpus => ("CPUS", |row, _| row.cpus.to_string()),
        SeriesName::Loads => ("LOAD", |row, _| row.load.to_owned()),
    };
    vec![CONFIGURATION, varies, RATE, ADDED, RATIO, PROGRAM, CPU, MEMORY, SENT, LOST]
}

fn spread(spread: Option<Spread>, decimals: usize) -> String {
    let Some(Spread { median, least, most }) = spread else { return "-".into() };
    format!("{median:.decimals$} ({least:.decimals$} to {most:.decimals$})")
}

fn lost(figures: &Figures) -> String {
    let Some(account) = &figures.account else { return "-".into() };
    if account.accounted == figures.sent {
        return "0".into();
    }
    let causes = account.lost.iter().map(|lost| format!("{} {}", Grouped(lost.drops), lost.cause));
    format!("{}: {}", percent(account.share_lost), causes.collect::<Vec<_>>().join(", "))
}

/// The share in percent. Only exact shares are shown as 0 % or 100 %.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.2} %", 100.0 * share);
    match text.as_str() {
        "100.00 %" if share < 1.0 => ">99.99 %".into(),
        "0.00 %" if share > 0.0 => "<0.01 %".into(),
        _ => text,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded positive rate; casts saturate")]
pub(super) fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_never_rounded_away() {
        assert_eq!(percent(0.999_999), ">99.99 %");
        assert_eq!(percent(0.000_001), "<0.01 %");
        assert_eq!((percent(1.0), percent(0.0)), ("100.00 %".into(), "0.00 %".into()));
        assert_eq!(percent(0.5), "50.00 %");
    }

    #[test]
    fn a_spread_shows_its_ends() {
        assert_eq!(spread(Spread::of([3.0, 1.0, 2.5]), 1), "2.5 (1.0 to 3.0)");
        assert_eq!(spread(None, 1), "-");
    }
}
