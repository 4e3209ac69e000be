//! Plots as SVG.

use std::io;

use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::outside::printable_lines;
use crate::render::number::Grouped;

const WIDTH: u32 = 900;
const LINES_HEIGHT: u32 = 380;
const ROW_HEIGHT: u32 = 30;
/// Space on the right for the names of curves, as a multiple of their estimated width.
const ROOM: f64 = 1.25;
const FONT: (&str, u32) = ("sans-serif", 14);
/// Approximate width of capitals.
const WIDTH_OF_CHARACTER: u32 = 10;
/// These colours can be distinguished by people who do not distinguish red from green (Okabe and Ito).
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(120, 120, 120),
];

/// A name and a value, which lies between two others.
pub struct Bar {
    /// The name beside the bar.
    pub name: String,
    /// The bar's length.
    pub value: f64,
    /// Where the line over it starts.
    pub least: f64,
    /// Where the line ends.
    pub most: f64,
}

/// Draws a bar for each value, and a line from the least to the greatest where they differ.
pub fn bars(unit: &str, rows: &[Bar]) -> io::Result<String> {
    let count = u32::try_from(rows.len()).map_err(io::Error::other)?;
    let least = rows.iter().map(|row| row.least).fold(0.0, f64::min);
    let longest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    let names = (WIDTH_OF_CHARACTER * u32::try_from(longest).map_err(io::Error::other)?).clamp(150, WIDTH / 2);
    let most = rows.iter().map(|row| row.most).fold(1.0, f64::max);
    let right = most * 1.05;
    draw(70 + ROW_HEIGHT * count, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(names)
            .build_cartesian_2d(least * 1.05..right, Rows(rows))?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().light_line_style(TRANSPARENT);
        let whole = rows.iter().all(|row| [row.least, row.value, row.most].iter().all(|value| value.fract() == 0.0));
        let ticks = Ticks { span: right - least * 1.05, whole };
        let label = |value: &f64| ticks.label(*value);
        mesh.x_labels(ticks.count()).x_label_formatter(&label);
        mesh.x_desc(unit).label_style(FONT).axis_desc_style(FONT).draw()?;
        for (row, it) in (0_i32..).zip(rows) {
            let color = COLORS[0];
            let bar = [(0.0, 10 * row + 2), (it.value, 10 * row + 8)];
            chart.draw_series([Rectangle::new(bar, color.mix(0.6).filled())])?;
            if it.least < it.most {
                let line = vec![(it.least, 10 * row + 5), (it.most, 10 * row + 5)];
                chart.draw_series([PathElement::new(line, BLACK.stroke_width(2))])?;
            }
        }
        Ok(())
    })
}

/// Names on a vertical axis from above, ten units each.
struct Rows<'r>(&'r [Bar]);

impl Ranged for Rows<'_> {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = i32;

    fn map(&self, value: &i32, limit: (i32, i32)) -> i32 {
        // The limits are those of an axis that grows upwards.
        let (bottom, top) = limit;
        let all = i64::from(self.range().end.max(1));
        let part = i64::from(bottom - top) * i64::from(*value) / all;
        top + i32::try_from(part).unwrap_or_default()
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<i32> {
        (0_i32..).zip(self.0).map(|(row, _)| 10 * row + 5).collect()
    }

    fn range(&self) -> std::ops::Range<i32> {
        0..i32::try_from(10 * self.0.len()).unwrap_or(i32::MAX)
    }
}

impl ValueFormatter<i32> for Rows<'_> {
    fn format_ext(&self, value: &i32) -> String {
        let row = usize::try_from(value / 10).unwrap_or_default();
        self.0.get(row).map_or(String::new(), |row| row.name.clone())
    }
}

/// Named lines through points, which are in order.
pub struct Curves<'l> {
    /// What the horizontal axis shows.
    pub x: &'l str,
    /// What the vertical axis shows.
    pub y: &'l str,
    /// Each line's name and points.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Curves<'_> {
    /// The plot as SVG.
    pub fn draw(&self) -> io::Result<String> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let (right, top) = points().fold((1.0_f64, 1.0_f64), |(x, y), point| (x.max(point.0), y.max(point.1)));
        let bottom = points().map(|point| point.1).fold(0.0, f64::min);
        draw(LINES_HEIGHT, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(12)
                .x_label_area_size(44)
                .y_label_area_size(70)
                .build_cartesian_2d(0.0..right * ROOM, bottom * 1.05..top * 1.05)?;
            let mut mesh = chart.configure_mesh();
            mesh.light_line_style(TRANSPARENT);
            let across = Ticks { span: right * ROOM, whole: points().all(|point| point.0.fract() == 0.0) };
            let upwards = Ticks { span: (top - bottom) * 1.05, whole: points().all(|point| point.1.fract() == 0.0) };
            let (x, y) = (|value: &f64| across.label(*value), |value: &f64| upwards.label(*value));
            mesh.x_labels(across.count()).x_label_formatter(&x).y_labels(upwards.count()).y_label_formatter(&y);
            mesh.x_desc(self.x).y_desc(self.y).label_style(FONT).axis_desc_style(FONT).draw()?;
            for ((name, points), color) in self.lines.iter().zip(COLORS.iter().cycle()) {
                let style = color.stroke_width(2);
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), style))?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::MiddleRight)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .label_font(FONT)
                .draw()?;
            Ok(())
        })
    }
}

/// The numbers along an axis. No two of them have the same text.
struct Ticks {
    /// The greatest number less the least.
    span: f64,
    /// The values are whole, so that fractions would mean nothing.
    whole: bool,
}

impl Ticks {
    /// The most numbers, of which neighbours are 1, 2 or 5 times a power of ten apart.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most ten, and at least one")]
    fn count(&self) -> usize {
        if self.whole { self.span.clamp(1.0, 9.0) as usize + 1 } else { 10 }
    }

    /// The text of a number, with as many decimals as its neighbours need.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not negative")]
    fn label(&self, value: f64) -> String {
        let decimals = (0..6).find(|&decimals| self.whole || self.span * 10_f64.powi(decimals) >= 10.0).unwrap_or(6);
        let sign = if value < 0.0 { "-" } else { "" };
        match decimals {
            0 => format!("{sign}{}", Grouped(value.abs().round() as u64)),
            _ => format!("{value:.*}", decimals as usize),
        }
    }
}

type Area<'s> = DrawingArea<SVGBackend<'s>, plotters::coord::Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(height: u32, paint: impl FnOnce(&Area<'_>) -> Drawn) -> io::Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let painted = area.fill(&WHITE).map_err(Into::into).and_then(|()| paint(&area));
    let painted = painted.and_then(|()| area.present().map_err(Into::into));
    drop(area);
    painted.map(|()| printable_lines(&svg).into_owned()).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_in_order() {
        let rows = [("a <b>", [1.0, 2.0, 3.0]), ("last", [-4.0, 0.0, 9.0])];
        let rows = rows.map(|(name, [least, value, most])| Bar { name: name.to_owned(), value, least, most });
        let svg = bars("ns", &rows).unwrap();
        assert!(svg.find("a &lt;b&gt;").unwrap() < svg.find("last").unwrap(), "{svg}");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn ticks_are_distinct() {
        for (span, whole, values, expected) in [
            (3.15, true, [0.0, 1.0, 2.0, 3.0], ["0", "1", "2", "3"]),
            (3.15, false, [0.0, 0.5, 1.0, 1.5], ["0.0", "0.5", "1.0", "1.5"]),
            (0.4, false, [0.0, 0.05, 0.1, 0.15], ["0.00", "0.05", "0.10", "0.15"]),
            (840_000.0, true, [-2e5, 0.0, 2e5, 4e5], ["-200,000", "0", "200,000", "400,000"]),
        ] {
            let ticks = Ticks { span, whole };
            assert_eq!(values.map(|value| ticks.label(value)), expected, "{span}");
        }
    }

    #[test]
    fn ticks_of_hosts_are_whole() {
        let rows = [Bar { name: "none".to_owned(), value: 3.0, least: 3.0, most: 3.0 }];
        let svg = bars("hosts", &rows).unwrap();
        for whole in ["\n0\n", "\n1\n", "\n2\n", "\n3\n"] {
            assert_eq!(svg.matches(whole).count(), 1, "{whole}: {svg}");
        }
    }

    #[test]
    fn lines_have_legends_and_empty_plot_is_valid() {
        let lines = vec![("stat".to_owned(), vec![(1.0, 20.0), (8000.0, 90.0)])];
        assert!(Curves { x: "keys", y: "ns", lines }.draw().unwrap().contains("stat"));
        assert!(Curves { x: "keys", y: "ns", lines: vec![] }.draw().unwrap().starts_with("<svg"));
        assert!(bars("ns", &[]).unwrap().starts_with("<svg"));
    }
}
