//! The score as tables.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::super::truth::{Fault, FaultKind, Truth};
use super::{Point, Score, Verdict, curve, ratio};

/// Bands of factors: name, least factor.
const BANDS: [(&str, f64); 4] =
    [("3 to 10", 0.0), ("10 to 100", 10.0), ("100 to 1,000", 100.0), ("1,000 and more", 1_000.0)];
/// The most points of the curve that are shown.
const POINTS: usize = 25;

/// Prints recall by kind and factor, precision, and the curve.
///
/// # Errors
/// Fails if the output does.
pub fn print(out: &mut impl Write, truth: &Truth, score: &Score) -> io::Result<()> {
    recall(out, truth, &score.found())?;
    precision(out, truth, score)?;
    points(out, &curve(truth, score))
}

fn recall(out: &mut impl Write, truth: &Truth, found: &BTreeSet<usize>) -> io::Result<()> {
    let bands = BANDS.map(|band| band.0).join(" | ");
    writeln!(out, "| recall: faults of | {bands} | new | all |\n|---|---|---|---|---|---|---|")?;
    let mut line = |name: &str, is_of: &dyn Fn(&Fault) -> bool| {
        let cell = |is_in: &dyn Fn(&Fault) -> bool| {
            let of = truth.faults.iter().filter(|fault| is_of(fault) && is_in(fault));
            let hits = of.clone().filter(|fault| found.contains(&fault.id)).count();
            share(hits, of.count())
        };
        let cells: Vec<_> =
            (0..BANDS.len()).map(|at| cell(&|fault| fault.factor.is_some_and(|it| band(it) == at))).collect();
        let (new, all) = (cell(&|fault| fault.factor.is_none()), cell(&|_| true));
        writeln!(out, "| {name} | {} | {new} | {all} |", cells.join(" | "))
    };
    for kind in FaultKind::ALL {
        line(kind.name(), &|fault| fault.kind == kind)?;
    }
    line("all", &|_| true)
}

fn band(factor: f64) -> usize {
    BANDS.iter().rposition(|(_, least)| factor >= *least).unwrap_or(0)
}

fn share(part: usize, whole: usize) -> String {
    ratio(part, whole).map_or_else(String::new, |share| format!("{part} of {whole} ({:.1} %)", share * 100.0))
}

fn precision(out: &mut impl Write, truth: &Truth, score: &Score) -> io::Result<()> {
    let of = |verdict| score.count(verdict);
    let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.4}"));
    let per_thousand = ratio(of(Verdict::Wrong) * 1_000, truth.fleet.reporting);
    writeln!(
        out,
        "\n| claims | right | wrong | parts | repetitions | events | precision | strict precision | wrong per 1,000 hosts |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    writeln!(
        out,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        score.claims.len(),
        of(Verdict::Right),
        of(Verdict::Wrong),
        of(Verdict::Part),
        of(Verdict::Repetition),
        of(Verdict::Event),
        number(score.precision()),
        number(score.strict_precision()),
        number(per_thousand)
    )?;
    let Score { not_judged, unknown_groups, .. } = score;
    writeln!(
        out,
        "\n{not_judged} findings without reason or subject and {unknown_groups} about unknown groups are not judged."
    )
}

fn points(out: &mut impl Write, points: &[Point]) -> io::Result<()> {
    writeln!(
        out,
        "\n| score at least | right | wrong | recall | precision | false positives |\n|---|---|---|---|---|---|"
    )?;
    let number = |number: Option<f64>| number.map_or_else(|| "-".into(), |number| format!("{number:.4}"));
    for point in thinned(points) {
        let least = point.least.map_or_else(|| "any".into(), |least| format!("{least:.4}"));
        let false_positives = point.false_positives.map_or_else(|| "-".into(), |share| format!("{share:.3e}"));
        let (recall, precision) = (number(point.recall), number(point.precision));
        writeln!(out, "| {least} | {} | {} | {recall} | {precision} | {false_positives} |", point.right, point.wrong)?;
    }
    Ok(())
}

/// Points at equal distances, among them the last.
fn thinned(points: &[Point]) -> impl Iterator<Item = &Point> {
    let step = points.len().div_ceil(POINTS).max(1);
    points.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev()
}
