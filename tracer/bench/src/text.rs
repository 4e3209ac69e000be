//! Shows the report as text.

use std::io::{self, Write};

use super::plan::SeriesName;
use super::report::{Report, SeriesReport};
use super::table::Table;
use super::words;

/// The width of paragraphs, in characters.
const WIDTH: usize = 100;

/// Writes one table for each series.
pub fn write_text(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for line in words::introduction(report) {
        writeln!(out, "{line}")?;
    }
    for series in &report.series {
        writeln!(out, "\n{}", words::title(series))?;
        Table::of(series).write(out)?;
        write_errors(out, series)?;
        if series.name == SeriesName::Loss {
            write_held(out, series)?;
        }
    }
    writeln!(out)?;
    for line in textwrap::wrap(words::MEANING, WIDTH) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "--format json and --html have the commands.")?;
    if !report.complete {
        writeln!(out, "Ended early: not all of it was measured.")?;
    }
    Ok(())
}

fn write_errors(out: &mut impl Write, series: &SeriesReport) -> io::Result<()> {
    for (who, error) in words::errors(series) {
        writeln!(out, "  {who}: {error}")?;
    }
    Ok(())
}

fn write_held(out: &mut impl Write, series: &SeriesReport) -> io::Result<()> {
    for (configuration, held) in words::held(series) {
        writeln!(out, "  {configuration}: {held}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        write_text(&mut out, report).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_report() {
        insta::assert_snapshot!(text(&sample()));
    }

    #[test]
    fn incomplete_report_says_that_it_ended_early() {
        let report = Report { complete: false, ..sample() };
        assert!(text(&report).ends_with("Ended early: not all of it was measured.\n"));
        assert!(!text(&sample()).contains("Ended early"));
    }
}
