//! A run as one HTML page without other files.

use std::io::{self, Write};

use droptrace_base::render::html::plot::Curves;
use droptrace_base::render::html::{
    Card, Column, Level, Maker, write_cards, write_figure, write_foot, write_head, write_table,
};
use droptrace_base::render::number::Grouped;

use super::judge::{Criterion, Verdict, judge};
use super::watch::Sample;
use super::{CONTAINERS, Outcome, STORMS};

type Line = (String, Vec<(f64, f64)>);

/// Writes the page: summary, criteria, plots, samples.
pub fn write_page(out: &mut impl Write, outcome: &Outcome, maker: &Maker) -> io::Result<()> {
    let criteria = judge(outcome);
    write_head(out, "A long life of droptrace agent", &lead(outcome))?;
    write_cards(out, &cards(outcome, &criteria))?;
    writeln!(out, "<h2>Criteria</h2>")?;
    let columns = ["criterion", "verdict", "figures"].map(|name| Column { name, number: false });
    let rows = criteria.iter().map(|it| vec![it.name, it.verdict.word(), &it.figures]);
    write_table(out, "Criteria", &columns, rows)?;
    writeln!(out, "<h2>The agent over time</h2>")?;
    for (caption, y, lines) in plots(outcome) {
        write_figure(out, caption, &Curves { x: "minutes", y, lines }.draw()?)?;
    }
    write_samples(out, &outcome.samples)?;
    write_foot(out, maker)
}

/// What the run was.
pub fn lead(outcome: &Outcome) -> Vec<String> {
    let Outcome { plan, without_groups, .. } = outcome;
    let mut lines = vec![format!(
        "The agent reads the totals every {} ms and is scraped as often, while {STORMS} storms of datagrams, {CONTAINERS} containers at a \
         time and pairs of interfaces come and go; its files are reloaded every {} s, one time of five with a wrong file. All drops are \
         compared with the kernel's own counters.",
        plan.interval().as_millis(),
        plan.sample_every().as_secs()
    )];
    if plan.is_long() {
        lines.push(format!(
            "From minute {:.0} on, frames of many protocols fill the rows that the agent keeps (65,536); from then on its memory has to \
             stay as it is.",
            plan.fills_at().as_secs_f64() / 60.0
        ));
    }
    lines.push("No kernel modules were unloaded, and no clock was set, because both are the whole host's.".to_owned());
    if let Some(reason) = without_groups {
        lines.push(format!("The containers had no control groups: {reason}."));
    }
    lines
}

fn cards(outcome: &Outcome, criteria: &[Criterion]) -> Vec<Card<'static>> {
    let failed = criteria.iter().filter(|criterion| criterion.verdict == Verdict::Failed).count();
    let passed = criteria.iter().filter(|criterion| criterion.verdict == Verdict::Passed).count();
    let (value, level) = match failed {
        0 => (format!("{passed} of {} hold", criteria.len()), Level::Good),
        _ => (format!("{failed} of {} failed", criteria.len()), Level::Critical),
    };
    let plain = |name, value| Card { name, value, level: Level::Plain };
    let last = outcome.samples.last().copied().unwrap_or_default();
    let dropped = outcome.checks.last().map_or(0, |check| check.dropped);
    vec![
        Card { name: "criteria", value, level },
        plain("duration", format!("{:.1} min", outcome.took.as_secs_f64() / 60.0)),
        plain("drops", Grouped(dropped).to_string()),
        plain("resident at the end", format!("{:.1} MB", megabytes(last.usage.resident))),
        plain("CPU time", format!("{:.1} s", last.usage.cpu.as_secs_f64())),
    ]
}

/// Each plot: its caption, its vertical axis, its lines.
fn plots(outcome: &Outcome) -> Vec<(&'static str, &'static str, Vec<Line>)> {
    let samples = &outcome.samples;
    let line = |name: &str, of: fn(&Sample) -> f64| {
        (name.to_owned(), samples.iter().map(|sample| (minutes(sample), of(sample))).collect())
    };
    vec![
        ("Resident memory of the agent.", "MB", vec![line("resident", |it| megabytes(it.usage.resident))]),
        (
            "File descriptors and threads of the agent.",
            "number",
            vec![line("files", |it| precise(it.usage.files)), line("threads", |it| precise(it.usage.threads))],
        ),
        ("The kernel's memory for the agent's BPF maps.", "MB", vec![line("maps", |it| megabytes(it.usage.maps))]),
        ("Processor time of the agent, in percent of one processor.", "%", vec![("agent".to_owned(), shares(samples))]),
        ("Series of drops.", "series", vec![line("series", |it| precise(it.series))]),
        (
            "Drops in the ledger: by row, and by reason only.",
            "millions",
            vec![
                line("by row", |it| precise(it.ledger.accounted) / 1e6),
                line("by reason", |it| precise(it.ledger.overflow) / 1e6),
            ],
        ),
        ("The history on disk.", "MB", vec![line("history", |it| megabytes(it.history))]),
    ]
}

/// Processor time between each two samples.
fn shares(samples: &[Sample]) -> Vec<(f64, f64)> {
    let pairs = samples.windows(2);
    pairs
        .map(|pair| {
            let [used, time] =
                [pair[1].usage.cpu.saturating_sub(pair[0].usage.cpu), pair[1].at.saturating_sub(pair[0].at)];
            (minutes(&pair[1]), 100.0 * used.as_secs_f64() / time.as_secs_f64())
        })
        .collect()
}

fn write_samples(out: &mut impl Write, samples: &[Sample]) -> io::Result<()> {
    writeln!(out, "<h2>Samples</h2>")?;
    let names = [
        "second",
        "resident, kB",
        "files",
        "threads",
        "maps, bytes",
        "CPU, s",
        "series",
        "by row",
        "by reason",
        "lost",
    ];
    let columns = names.map(|name| Column { name, number: true });
    let rows: Vec<_> = samples.iter().map(row).collect();
    write_table(out, "Samples", &columns, rows.iter().map(|row| row.iter().map(String::as_str).collect()))
}

fn row(Sample { at, usage, series, ledger, .. }: &Sample) -> [String; 10] {
    let number = |number: u64| Grouped(number).to_string();
    [
        number(at.as_secs()),
        number(usage.resident / 1000),
        number(usage.files),
        number(usage.threads),
        number(usage.maps),
        format!("{:.1}", usage.cpu.as_secs_f64()),
        number(*series),
        number(ledger.accounted),
        number(ledger.overflow),
        number(ledger.lost),
    ]
}

fn minutes(sample: &Sample) -> f64 {
    sample.at.as_secs_f64() / 60.0
}

fn megabytes(bytes: u64) -> f64 {
    precise(bytes) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn precise(number: u64) -> f64 {
    number as f64
}
