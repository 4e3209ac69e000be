//! Sentences that text and page share.

use std::fmt::Write as _;
use std::time::Duration;

use super::contestant::Contestant;
use super::plan::SeriesName;
use super::report::{Report, SeriesReport};
use super::table::whole;
use crate::sink::Grouped;

/// What the figures mean.
pub(super) const MEANING: &str = "Figures are medians over the rounds, with the least and the most. NS ADDED and TIMES \
    NOTHING compare the whole path of a drop, the median of a run's batches, with a run before and one after in which \
    nobody listened; the row `nothing` shows how far that is off. DROPS/S is the rate that was reached, and has in it \
    what else the processor did. PROGRAM NS is the kernel's own time of BPF programs, less that of an empty \
    one. SENT equals what the kernel's own counters tell. CPU NS is what the process takes of a processor for each drop, without \
    the reader of its output; MEMORY is what was resident at the peak; ATTACHED is from its start until it listened. \
    bpftrace, perf, retis and the drop monitor tell drops of all network namespaces: those of others may hide a loss.";

/// What was measured, when and where.
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

/// What a series shows, and under which load.
pub(super) fn title(series: &SeriesReport) -> String {
    let load = match series.name {
        SeriesName::Keys => ": frames of protocols that nobody handles, each a key",
        SeriesName::Loads => "",
        _ => ": UDP into a full receive buffer",
    };
    let processors = match series.name {
        SeriesName::Cost | SeriesName::Keys | SeriesName::Snaplen | SeriesName::Loads => ", one processor",
        SeriesName::Loss | SeriesName::Cpus => "",
    };
    let rounds = if series.rounds == 1 { "one round".to_owned() } else { format!("{} rounds", series.rounds) };
    format!("{}{load}{processors}, {rounds}", series.name.title())
}

/// Who was not measured, and why, each once.
pub(super) fn errors(series: &SeriesReport) -> Vec<(&'static str, String)> {
    let mut errors: Vec<(&'static str, String)> = vec![];
    for row in &series.rows {
        let Some(error) = &row.error else { continue };
        if !errors.iter().any(|(who, told)| *who == row.configuration && told == error) {
            errors.push((row.configuration, error.clone()));
        }
    }
    errors
}

/// The greatest rate that each contestant held.
pub(super) fn held(series: &SeriesReport) -> Vec<(&'static str, String)> {
    let held = Contestant::ALL.into_iter().filter_map(|contestant| {
        let name = contestant.name();
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
