//! The sentences that the text and the page share.

use std::fmt::Write as _;
use std::time::Duration;

use super::plan::SeriesName;
use super::report::{Report, SeriesReport};
use super::table::whole;
use super::target::Target;
use crate::render::number::Grouped;

/// The explanation of the figures.
pub(super) const MEANING: &str = "Figures are medians over the rounds, with the least and the most. NS ADDED and TIMES \
    NOTHING compare the whole path of a drop, the median of a run's batches, with a run before and one after without \
    any tool; the row `nothing` shows how far that is off. DROPS/S is the rate that was reached, other work of the \
    processor included. PROGRAM NS is the kernel's own time of BPF programs, less that of an empty \
    program at the same drops. SENT equals the kernel's own counters. CPU NS is the CPU time of the process for each \
    drop, without the reader of its output; MEMORY is the peak of resident memory; ATTACHED is the time from start to \
    attached. bpftrace, perf, retis and the drop monitor report drops of all network namespaces: those of others may hide a loss.";

/// The lines about the benchmark, the machine and the time.
pub(super) fn introduction(report: &Report) -> Vec<String> {
    let machine = &report.machine;
    let mut about = format!("{} processors", machine.cpus);
    if let Some(processor) = &machine.processor {
        _ = write!(about, " ({processor})");
    }
    if let Some(memory) = machine.memory {
        _ = write!(about, ", {} MiB of memory", Grouped(memory >> 20));
    }
    if machine.is_virtual {
        about.push_str(", a virtual machine");
    }
    if let Some(clock) = &machine.clock {
        _ = write!(about, ", clock {clock}");
    }
    if let Some(load) = machine.load {
        _ = write!(about, ", load {load:.2} before the start");
    }
    let mut lines = vec![
        format!("droptrace {} on {}, Linux {} {}", report.version, report.host, report.kernel, machine.build),
        about,
        format!("{}, {:.0} s", report.started_at, Duration::from_nanos(report.duration_ns).as_secs_f64()),
    ];
    if let Some(empty) = report.empty_program_ns {
        lines.push(format!(
            "an empty kernel program: {:.1} ns ({:.1} to {:.1}) by the kernel's own statistics",
            empty.median, empty.least, empty.most
        ));
    }
    lines
}

/// The title of a series, with its load.
pub(super) fn title(series: &SeriesReport) -> String {
    let load = match series.name {
        SeriesName::Keys => ": frames of protocols that nobody handles, each a key",
        SeriesName::Flows => ": UDP of several flows into a full receive buffer",
        SeriesName::Loads => "",
        _ => ": UDP into a full receive buffer",
    };
    let processors = match series.name {
        SeriesName::Loss | SeriesName::Cpus => "",
        _ => ", one processor",
    };
    let rounds = if series.rounds == 1 { "one round".to_owned() } else { format!("{} rounds", series.rounds) };
    format!("{}{load}{processors}, {rounds}", series.name.title())
}

/// The targets that were not measured, each with its reason once.
pub(super) fn errors(series: &SeriesReport) -> Vec<(&'static str, String)> {
    let mut errors: Vec<(&'static str, String)> = vec![];
    for row in &series.rows {
        let Some(error) = &row.error else { continue };
        if !errors.iter().any(|(who, reported)| *who == row.configuration && reported == error) {
            errors.push((row.configuration, error.clone()));
        }
    }
    errors
}

/// The greatest rate at which each target lost nothing.
pub(super) fn held(series: &SeriesReport) -> Vec<(&'static str, String)> {
    let held = Target::ALL.into_iter().filter_map(|target| {
        let name = target.name();
        let measured = series.rows.iter().any(|row| row.configuration == name && row.figures.is_some());
        let rate = series.greatest_lossless_rate(name);
        let text = rate.map_or_else(
            || "lost some at each rate".to_owned(),
            |rate| format!("lost nothing up to {} drops a second", Grouped(whole(rate))),
        );
        measured.then_some((name, text))
    });
    held.collect()
}
