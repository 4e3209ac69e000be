//! What has to hold for a run.

use super::trend::{growth, rise};
use super::watch::{Check, Ledger, Sample};
use super::{LONG, Outcome};

/// How much the resident memory may grow in the second half of a run, bytes, and for each byte that it has at the end: the
/// allocator moves by about a percent. A leak of 4 kB for each scrape is more in half an hour.
const GROWTH: [u64; 2] = [1_000_000, 100];
/// How much of the resident memory may be a rise within the second half: one part of so many. The agent has lists of all rows at a
/// time, some of which the allocator keeps. The growth above does not see a single step.
const STEPS: u64 = 5;

/// Whether a criterion holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// The run says nothing about it.
    NotJudged,
}

impl Verdict {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotJudged => "not judged",
        }
    }
}

/// A criterion and its verdict.
#[derive(Clone, Debug)]
pub struct Criterion {
    /// What has to hold.
    pub name: &'static str,
    /// Whether it does.
    pub verdict: Verdict,
    /// The figures.
    pub figures: String,
}

/// All criteria.
pub fn judge(outcome: &Outcome) -> Vec<Criterion> {
    let Outcome { samples, checks, .. } = outcome;
    vec![
        duration(outcome),
        memory(outcome),
        steps(outcome),
        number("file descriptors are flat", outcome, |sample| sample.usage.files),
        number("threads are flat", outcome, |sample| sample.usage.threads),
        number("the kernel's memory of maps is flat", outcome, |sample| sample.usage.maps),
        ledger(samples, checks),
        counts(checks),
        history(outcome),
        load(outcome),
    ]
}

fn criterion(name: &'static str, holds: bool, figures: String) -> Criterion {
    Criterion { name, verdict: if holds { Verdict::Passed } else { Verdict::Failed }, figures }
}

fn duration(Outcome { plan, took, .. }: &Outcome) -> Criterion {
    let figures = format!("{} s of {} s", took.as_secs(), plan.duration.as_secs());
    criterion("the run is whole", *took >= plan.duration, figures)
}

fn memory(Outcome { plan, samples, .. }: &Outcome) -> Criterion {
    const NAME: &str = "memory is flat";
    if !plan.is_long() {
        return too_short(NAME);
    }
    let [least, part] = GROWTH;
    let limit = least + samples.last().map_or(0, |sample| sample.usage.resident) / part;
    let Some(growth) = growth(&points(samples, |sample| sample.usage.resident)) else { return too_few(NAME, samples) };
    let figures = format!("grows by {growth:.0} bytes in the second half; less than {limit} is flat");
    criterion(NAME, growth < precise(limit), figures)
}

fn steps(Outcome { plan, samples, .. }: &Outcome) -> Criterion {
    const NAME: &str = "memory does not rise in steps";
    if !plan.is_long() {
        return too_short(NAME);
    }
    let limit = samples.last().map_or(0, |sample| sample.usage.resident) / STEPS;
    let Some(rise) = rise(&points(samples, |sample| sample.usage.resident)) else { return too_few(NAME, samples) };
    let figures = format!("rises by {rise:.0} bytes in the second half; less than {limit} is allowed");
    criterion(NAME, rise < precise(limit), figures)
}

fn too_short(name: &'static str) -> Criterion {
    not_judged(name, format!("the run is shorter than {}", humantime::format_duration(LONG)))
}

/// A number that never rises. It counts what is there for a moment, too, such as the connection of a scrape: a short run has too
/// few samples to tell.
fn number(name: &'static str, Outcome { plan, samples, .. }: &Outcome, of: fn(&Sample) -> u64) -> Criterion {
    if !plan.is_long() {
        return too_short(name);
    }
    let Some(rise) = rise(&points(samples, of)) else { return too_few(name, samples) };
    let figures = format!("rises by {rise:.0} in the second half, to {}", samples.last().map_or(0, of));
    criterion(name, rise <= 0.0, figures)
}

fn points(samples: &[Sample], of: fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    samples.iter().map(|sample| (sample.at.as_secs_f64(), precise(of(sample)))).collect()
}

fn too_few(name: &'static str, samples: &[Sample]) -> Criterion {
    not_judged(name, format!("{} samples are too few", samples.len()))
}

fn not_judged(name: &'static str, figures: String) -> Criterion {
    Criterion { name, verdict: Verdict::NotJudged, figures }
}

#[expect(clippy::cast_precision_loss, reason = "they are far below 2⁵³")]
fn precise(number: u64) -> f64 {
    number as f64
}

fn ledger(samples: &[Sample], checks: &[Check]) -> Criterion {
    let ledgers: Vec<_> = samples.iter().map(|sample| sample.ledger).chain(checks.iter().map(|it| it.ledger)).collect();
    let wrong = ledgers.iter().filter(|ledger| !ledger.adds_up()).count();
    let lost = ledgers.iter().map(|ledger| ledger.lost).max().unwrap_or_default();
    let figures = format!("{wrong} of {} ledgers do not add up, {lost} drops lost", ledgers.len());
    criterion("the ledger adds up, and nothing is lost", wrong == 0 && !ledgers.is_empty(), figures)
}

fn counts(checks: &[Check]) -> Criterion {
    let wrong = checks.iter().filter(|check| check.dropped != check.ledger.counted()).count();
    let last = checks.last().map(|check| (check.ledger.counted(), check.dropped)).unwrap_or_default();
    let figures = format!(
        "{wrong} of {} comparisons differ; at the end {} counted, {} by the kernel's counters",
        checks.len(),
        last.0,
        last.1
    );
    criterion("counts equal the kernel's", wrong == 0 && last.1 > 0, figures)
}

fn history(Outcome { history, checks, .. }: &Outcome) -> Criterion {
    let counted = checks.last().map(|check| check.ledger).as_ref().map_or(0, Ledger::counted);
    let figures = format!("{history} in the history, {counted} in the metrics");
    criterion("the history has all drops", *history == counted, figures)
}

fn load(Outcome { work, reloads, plan, .. }: &Outcome) -> Criterion {
    let all = [work.bursts, work.containers, work.pairs, work.scrapes, reloads[0]];
    let figures = format!(
        "{} bursts of datagrams, {} containers, {} pairs of interfaces, {} frames of many protocols, {} scrapes, {} reloads and {} \
         that were refused",
        work.bursts, work.containers, work.pairs, work.frames, work.scrapes, reloads[0], reloads[1]
    );
    criterion("all of the load ran", !all.contains(&0) && (!plan.is_long() || work.frames > 0), figures)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::usage::Usage;
    use super::super::{Plan, Work};
    use super::*;

    fn ledger_of(counted: u64) -> Ledger {
        Ledger { series: counted, accounted: counted, ..Ledger::default() }
    }

    /// A run of half an hour without a fault.
    fn sound() -> Outcome {
        let duration = Duration::from_mins(30);
        let sample = |number: u64| Sample {
            at: Duration::from_secs(10 * number),
            usage: Usage {
                resident: 200_000_000 + number % 3 * 4096,
                files: 30,
                threads: 4,
                maps: 9000,
                cpu: Duration::ZERO,
            },
            ledger: ledger_of(number),
            ..Sample::default()
        };
        Outcome {
            plan: Plan { droptrace: "droptrace".into(), duration },
            took: duration,
            work: Work { bursts: 1, containers: 1, pairs: 1, frames: 1, scrapes: 1 },
            reloads: [1, 1],
            without_groups: None,
            samples: (0..180).map(sample).collect(),
            checks: vec![Check { dropped: 7, ledger: ledger_of(7) }; 2],
            history: 7,
        }
    }

    fn failed(outcome: &Outcome) -> Vec<&'static str> {
        let of_all = judge(outcome).into_iter();
        of_all.filter(|criterion| criterion.verdict == Verdict::Failed).map(|criterion| criterion.name).collect()
    }

    #[test]
    fn a_sound_run_passes() {
        let criteria = judge(&sound());
        assert!(criteria.iter().all(|criterion| criterion.verdict == Verdict::Passed), "{criteria:?}");
    }

    type Spoil = fn(&mut Outcome);

    /// Lets a quantity of the samples grow.
    fn grow(run: &mut Outcome, of: impl Fn(&mut Usage, u64)) {
        (0..).zip(&mut run.samples).for_each(|(at, sample)| of(&mut sample.usage, at));
    }

    #[test]
    fn each_fault_fails_its_criterion() {
        let faults: [(&str, Spoil); 9] = [
            ("the run is whole", |run| run.took = Duration::from_secs(1799)),
            ("memory is flat", |run| grow(run, |usage, at| usage.resident += at * 40_000)),
            ("memory does not rise in steps", |run| grow(run, |usage, at| usage.resident += at / 160 * 60_000_000)),
            ("file descriptors are flat", |run| grow(run, |usage, at| usage.files += at / 60)),
            ("threads are flat", |run| grow(run, |usage, at| usage.threads += at / 60)),
            ("the kernel's memory of maps is flat", |run| grow(run, |usage, at| usage.maps += at)),
            ("the ledger adds up, and nothing is lost", |run| run.samples[50].ledger.series += 1),
            ("counts equal the kernel's", |run| run.checks[0].dropped += 1),
            ("the history has all drops", |run| run.history -= 1),
        ];
        for (name, spoil) in faults {
            let mut run = sound();
            spoil(&mut run);
            assert_eq!(failed(&run), [name]);
        }
    }

    #[test]
    fn a_short_run_says_nothing_about_what_moves() {
        let mut run = sound();
        run.plan.duration = Duration::from_secs(20);
        let criteria = judge(&run).into_iter().filter(|criterion| criterion.verdict == Verdict::NotJudged);
        let names: Vec<_> = criteria.map(|criterion| criterion.name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
}
