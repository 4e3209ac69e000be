//! Runs the plan.

mod one;

use std::collections::{HashMap, HashSet};
use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::cpus;
use super::folder::Folder;
use super::generator::{Generator, Sent};
use super::load::Load;
use super::machine::Machine;
use super::netns::Netns;
use super::plan::{Case, Options, Series};
use super::report::{Report, Row, Run, SeriesReport, nanoseconds};
use super::spread::Spread;
use super::target::Target;
use super::{Absent, Interrupted, LocalHost, Stopped};

/// The number of drops that measure the speed of the machine.
const TRIAL: u64 = 16_384;

/// Measures the targets and series in `options` on this host. `progress` receives messages about the progress.
///
/// # Errors
/// Fails if nothing can be measured: without a network namespace for the load, which needs `CAP_SYS_ADMIN`.
pub fn run(options: &Options, host: &LocalHost, stopped: &Stopped, progress: &mut dyn FnMut(&str)) -> Result<Report> {
    let (started, started_at) = (Instant::now(), SystemTime::now());
    let all_cpus = cpus::allowed()?;
    let machine = Machine::here(all_cpus.len());
    let mut bench = Bench::new(options, host, stopped, &all_cpus)?;
    let bare = bench.bare(&Case::trial())?;
    progress(&format!(
        "{:.0} ns a drop without any tool, at most {:.0} drops a second on one processor",
        bare.ns_per_drop,
        1e9 / bare.ns_per_drop
    ));
    let empty = bench.empty_program();
    if let Err(error) = &empty {
        progress(&format!("no times of BPF programs: {error:#}"));
    }
    bench.empty = empty.ok();
    let mut reports = vec![];
    let series = options.series(all_cpus.len(), 1e9 / bare.ns_per_drop);
    for (index, one) in series.iter().enumerate() {
        let left = options.time().saturating_sub(started.elapsed());
        let report = bench.series(one, Options::share(&series[index..], left), progress);
        let has_figures = report.rounds > 0;
        reports.extend(has_figures.then_some(report));
        if stopped.is_set() {
            break;
        }
    }
    let has_any = !reports.is_empty();
    let report = Report {
        schema: "droptrace.bench.v1",
        host: host.names.name.clone(),
        kernel: host.names.kernel.clone(),
        version: env!("CARGO_PKG_VERSION"),
        machine,
        started_at: humantime::format_rfc3339_seconds(started_at).to_string(),
        duration_ns: nanoseconds(started.elapsed()),
        complete: !stopped.is_set(),
        empty_program_ns: bench.empty,
        series: reports,
    };
    if has_any { Ok(report) } else { Err(Interrupted.into()) }
}

/// The state that all runs share.
struct Bench<'o> {
    options: &'o Options,
    host: &'o LocalHost,
    stopped: &'o Stopped,
    cpus: &'o [usize],
    netns: Netns,
    folder: Folder,
    own: PathBuf,
    /// The nanoseconds of a drop without any tool, by load and number of processors.
    speeds: HashMap<(Load, usize), f64>,
    /// The drop-site addresses of each load; `None` if they could not be found.
    drop_sites: HashMap<Load, Option<HashSet<u64>>>,
    absent: HashMap<Target, String>,
    empty: Option<Spread>,
}

/// A case and its results so far.
struct Progress {
    case: Case,
    runs: Vec<Run>,
    error: Option<String>,
}

/// The last run without any tool.
struct Bare {
    load: Load,
    cpus: usize,
    ns: f64,
}

impl Case {
    const fn trial() -> Self {
        Self { target: Target::Nothing, load: Load::FullBuffer, pace: None, cpus: 1, snaplen: None }
    }
}

impl<'o> Bench<'o> {
    fn new(options: &'o Options, host: &'o LocalHost, stopped: &'o Stopped, cpus: &'o [usize]) -> Result<Self> {
        Ok(Self {
            options,
            host,
            stopped,
            cpus,
            netns: Netns::new()?,
            folder: Folder::new()?,
            own: env::current_exe().context("cannot find droptrace's own binary")?,
            speeds: HashMap::new(),
            drop_sites: HashMap::new(),
            absent: HashMap::new(),
            empty: None,
        })
    }

    fn series(&mut self, series: &Series, time: Duration, progress: &mut dyn FnMut(&str)) -> SeriesReport {
        let (started, mut rounds) = (Instant::now(), 0);
        let mut cases: Vec<_> = series.cases.iter().map(|&case| Progress { case, runs: vec![], error: None }).collect();
        let most = self.options.most_rounds();
        while rounds < most && !self.stopped.is_set() {
            progress(&format!("{}: round {} of {most}", series.name.name(), rounds + 1));
            let round = Instant::now();
            if !self.round(&mut cases, progress) {
                break;
            }
            rounds += 1;
            if self.options.rounds.is_none() && started.elapsed() + round.elapsed() > time {
                break;
            }
        }
        // An unfinished first round counts for the cases that it measured.
        rounds = rounds.max(usize::from(cases.iter().any(|it| !it.runs.is_empty())));
        let rows = cases.into_iter().filter(|it| it.error.is_some() || !it.runs.is_empty());
        let rows = rows.map(|it| Row::new(&it.case, &it.runs, it.error)).collect();
        SeriesReport { name: series.name, rounds, rows }
    }

    /// Runs each case once, between two runs without any tool. Returns whether the round is complete.
    fn round(&mut self, cases: &mut [Progress], progress: &mut dyn FnMut(&str)) -> bool {
        let mut last = None;
        for it in cases.iter_mut().filter(|it| it.error.is_none()) {
            match self.run_between(&it.case, &mut last) {
                Ok(run) => it.runs.push(run),
                Err(error) if error.is::<Interrupted>() || self.stopped.is_set() => return false,
                Err(error) => {
                    let absent = error.downcast_ref().map(|Absent(reason)| reason.clone());
                    let is_known = absent.is_some_and(|it_is| self.absent.insert(it.case.target, it_is).is_some());
                    if !is_known {
                        progress(&format!("{}: {error:#}", it.case.target.name()));
                    }
                    it.error = Some(format!("{error:#}"));
                }
            }
        }
        true
    }

    /// Runs without any tool, then with the target, then without any tool, so that linear drift cancels. The run after
    /// one case is also the run before the next case.
    fn run_between(&mut self, case: &Case, last: &mut Option<Bare>) -> Result<Run> {
        if let Some(reason) = self.absent.get(&case.target) {
            return Err(Absent(reason.clone()).into());
        }
        if case.pace.is_some() {
            return self.run_once(case);
        }
        let before = match last.take_if(|last| (last.load, last.cpus) == (case.load, case.cpus)) {
            Some(last) => last.ns,
            None => self.bare(case)?.ns_per_drop,
        };
        let mut run = self.run_once(case)?;
        let after = self.bare(case)?.ns_per_drop;
        *last = Some(Bare { load: case.load, cpus: case.cpus, ns: after });
        run.bare_ns = Some(f64::midpoint(before, after));
        Ok(run)
    }

    /// One run without any tool.
    fn bare(&mut self, case: &Case) -> Result<Sent> {
        let generator = self.generator(case)?;
        let drops = self.speeds.get(&(case.load, case.cpus)).map_or(TRIAL, |&ns| self.drops(case, ns));
        let sent = generator.send(drops, None, self.stopped)?;
        drop(generator);
        self.speeds.insert((case.load, case.cpus), sent.ns_per_drop);
        Ok(sent)
    }

    fn generator(&self, case: &Case) -> Result<Generator<'_>> {
        let cpus = case.cpus.min(self.cpus.len());
        cpus::stay_on(cpus::left_by(cpus, self.cpus))?;
        Generator::new(&self.netns, case.load, &self.cpus[..cpus])
    }

    /// The number of drops in a run of the planned time.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    fn drops(&self, case: &Case, ns: f64) -> u64 {
        if let Some(drops) = self.options.drops {
            return drops;
        }
        let time = self.options.run_time().as_secs_f64();
        match case.pace {
            // The run must be long enough to fill a ring buffer.
            Some(pace) => (pace as f64 * 2.0 * time) as u64,
            None => (1e9 * time / ns.max(1.0) * case.cpus as f64) as u64,
        }
    }
}
