//! Runs the plan.

use std::collections::{HashMap, HashSet};
use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};

use super::child::Child;
use super::contestant::{Contestant, PERF_DATA};
use super::cpus;
use super::generator::{Generator, Sent};
use super::load::Load;
use super::machine::Machine;
use super::netns::Netns;
use super::plan::{Case, Options, Series};
use super::programs;
use super::report::{Process, Report, Row, Run, SeriesReport, nanoseconds};
use super::spread::Spread;
use super::{Absent, Interrupted, Stopped, told};
use crate::kernel::btf::KernelBtf;
use crate::session;
use crate::source::ebpf::{self, EbpfSource, Mode};

/// Drops by which the speed of the machine is found.
const TRIAL: u64 = 16_384;
/// Runs of the empty program by which its time is found.
const EMPTY_RUNS: usize = 5;
/// Drops by which programs learn names, so that this is not in the measurement, and the time that it takes them.
const WARM_UP: u64 = 256;
const WARMING: Duration = Duration::from_millis(100);
/// The drop monitor tells its sums after a second.
const LATENESS: Duration = Duration::from_secs(2);
/// Readers look every 10 ms: after this they have read what there was.
const SETTLING: Duration = Duration::from_millis(25);

/// Measures what `options` say. `progress` is told what goes on.
///
/// # Errors
/// If nothing can be measured: without a network namespace for the load, which takes `CAP_SYS_ADMIN`.
pub fn run(options: &Options, stopped: &Stopped, progress: &mut dyn FnMut(&str)) -> Result<Report> {
    let (started, started_at) = (Instant::now(), SystemTime::now());
    let all_cpus = cpus::allowed()?;
    let machine = Machine::here(all_cpus.len());
    let mut bench = Bench::new(options, stopped, &all_cpus)?;
    let bare = bench.bare(&Case::trial())?;
    progress(&format!(
        "{:.0} ns a drop with nobody listening, {:.0} drops a second on one processor",
        bare.ns_per_drop,
        bare.rate()
    ));
    let empty = bench.empty_program();
    if let Err(error) = &empty {
        progress(&format!("no times of BPF programs: {error:#}"));
    }
    bench.empty = empty.ok();
    let mut reports = vec![];
    let series = options.series(all_cpus.len(), bare.rate());
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
    let host = session::host();
    let report = Report {
        schema: "droptrace.bench.v1",
        host: host.name,
        kernel: host.kernel,
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

/// What all runs share.
struct Bench<'o> {
    options: &'o Options,
    stopped: &'o Stopped,
    cpus: &'o [usize],
    netns: Netns,
    folder: Folder,
    own: PathBuf,
    /// What a drop takes with nobody listening, by load and processors, and drops of one run.
    speeds: HashMap<(Load, usize), f64>,
    /// Addresses at which a load is dropped, as far as that could be found.
    places: HashMap<Load, Option<HashSet<u64>>>,
    absent: HashMap<Contestant, String>,
    empty: Option<Spread>,
}

/// A case, and what came of it so far.
struct Progress {
    case: Case,
    runs: Vec<Run>,
    error: Option<String>,
}

/// What ran last with nobody listening.
struct Bare {
    load: Load,
    cpus: usize,
    ns: f64,
}

impl Case {
    const fn trial() -> Self {
        Self { contestant: Contestant::Nothing, load: Load::FullBuffer, pace: None, cpus: 1, snaplen: None }
    }
}

impl<'o> Bench<'o> {
    fn new(options: &'o Options, stopped: &'o Stopped, cpus: &'o [usize]) -> Result<Self> {
        Ok(Self {
            options,
            stopped,
            cpus,
            netns: Netns::new()?,
            folder: Folder::new()?,
            own: env::current_exe().context("cannot tell where droptrace itself is")?,
            speeds: HashMap::new(),
            places: HashMap::new(),
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
        // An unfinished round counts for those that were in it, if it is the first.
        rounds = rounds.max(usize::from(cases.iter().any(|it| !it.runs.is_empty())));
        let rows = cases.into_iter().filter(|it| it.error.is_some() || !it.runs.is_empty());
        let rows = rows.map(|it| Row::new(&it.case, &it.runs, it.error, self.empty)).collect();
        SeriesReport { name: series.name, rounds, rows }
    }

    /// Runs each case once, with nobody listening before and after; whether it got to the end.
    fn round(&mut self, cases: &mut [Progress], progress: &mut dyn FnMut(&str)) -> bool {
        let mut last = None;
        for it in cases.iter_mut().filter(|it| it.error.is_none()) {
            match self.run_between(&it.case, &mut last) {
                Ok(run) => it.runs.push(run),
                Err(error) if error.is::<Interrupted>() || self.stopped.is_set() => return false,
                Err(error) => {
                    let absent = error.downcast_ref().map(|Absent(reason)| reason.clone());
                    let is_known = absent.is_some_and(|it_is| self.absent.insert(it.case.contestant, it_is).is_some());
                    if !is_known {
                        progress(&format!("{}: {error:#}", it.case.contestant.name()));
                    }
                    it.error = Some(format!("{error:#}"));
                }
            }
        }
        true
    }

    /// Nobody before, the contestant, nobody after: linear drift cancels. What comes after one comes before the next.
    fn run_between(&mut self, case: &Case, last: &mut Option<Bare>) -> Result<Run> {
        if let Some(reason) = self.absent.get(&case.contestant) {
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

    /// One run with nobody listening.
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

    /// How many drops make a run of the time that was planned.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    fn drops(&self, case: &Case, ns: f64) -> u64 {
        if let Some(drops) = self.options.drops {
            return drops;
        }
        let time = self.options.run_time().as_secs_f64();
        match case.pace {
            // Long enough for a ring buffer to fill.
            Some(pace) => (pace as f64 * 2.0 * time) as u64,
            None => (1e9 * time / ns.max(1.0) * case.cpus as f64) as u64,
        }
    }

    fn run_once(&mut self, case: &Case) -> Result<Run> {
        if case.contestant.tells_places() && !self.places.contains_key(&case.load) {
            let places = self.find_places(case).ok();
            self.places.insert(case.load, places);
        }
        let speed = self.speeds.get(&(case.load, case.cpus)).copied();
        let speed = speed.map_or_else(|| self.bare(case).map(|sent| sent.ns_per_drop), Ok)?;
        let drops = self.drops(case, speed);
        let generator = self.generator(case)?;
        match case.contestant {
            Contestant::Nothing => {
                let sent = generator.send(drops, case.pace, self.stopped)?;
                Ok(without_a_program(sent, None))
            }
            Contestant::Empty => {
                let _program = Empty::start()?;
                let sent = generator.send(drops, case.pace, self.stopped)?;
                let (program_ns, _) = self.program_time(&generator, process::id(), drops)?;
                Ok(without_a_program(sent, program_ns))
            }
            _ => self.run_program(case, &generator, drops),
        }
    }

    fn run_program(&self, case: &Case, generator: &Generator<'_>, drops: u64) -> Result<Run> {
        let child = self.start(case)?;
        let mut all = generator.send(WARM_UP, case.pace, self.stopped)?.drops;
        thread::sleep(WARMING);
        let before = child.usage()?;
        let sent = generator.send(drops, case.pace, self.stopped)?;
        thread::sleep(SETTLING);
        let after = child.usage()?;
        all += sent.drops;
        let mut program_ns = None;
        if case.pace.is_none() && self.empty.is_some() {
            let (ns, drops) = self.program_time(generator, child.pid(), drops)?;
            (program_ns, all) = (ns, all + drops);
        }
        let process = Process {
            cpu: after.cpu.saturating_sub(before.cpu),
            user: after.user.saturating_sub(before.user),
            system: after.system.saturating_sub(before.system),
            drops: sent.drops,
            peak: child.usage()?.peak,
            attached_after: child.attached_after,
        };
        if case.contestant.is_late() {
            thread::sleep(LATENESS);
        }
        let account = self.finish(case, child)?.account(all)?;
        let (rate, ns) = (sent.rate(), sent.ns_per_drop);
        Ok(Run { rate, ns, bare_ns: None, program_ns, account, process: Some(process) })
    }

    fn start(&self, case: &Case) -> Result<Child> {
        let launch = case.contestant.launch(&self.own, &self.folder.0, self.netns.inum(), case.snaplen);
        Child::start(&launch.context("no program")?, &self.folder.0, self.stopped)
    }

    /// Ends a program, and reads what it told.
    fn finish(&self, case: &Case, child: Child) -> Result<told::Told> {
        let (mut stdout, stderr) = child.finish()?;
        if case.contestant == Contestant::Perf {
            stdout = perf_statistics(&self.folder.0)?;
        }
        let places = self.places.get(&case.load).and_then(Option::as_ref);
        told::read(case.contestant, &stdout, &stderr, places)
    }

    /// The kernel's own time of a process's programs: nanoseconds of a run, and how many drops were sent meanwhile.
    /// Apart from the measurement of the whole path, for its clock costs more than some programs.
    fn program_time(&self, generator: &Generator<'_>, pid: u32, drops: u64) -> Result<(Option<f64>, u64)> {
        let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).context("the kernel's BPF statistics")?;
        let before = programs::of_process(pid)?;
        let sent = generator.send(drops / 4, None, self.stopped)?;
        let after = programs::of_process(pid)?;
        drop(statistics);
        Ok((after.ns_since(before), sent.drops))
    }

    /// What an empty program takes: the price of the statistics' own clock.
    fn empty_program(&self) -> Result<Spread> {
        let generator = self.generator(&Case::trial())?;
        let _program = Empty::start()?;
        let times = (0..EMPTY_RUNS)
            .filter_map(|_| self.program_time(&generator, process::id(), 4 * TRIAL).map(|(ns, _)| ns).transpose());
        let times = times.collect::<Result<Vec<_>>>()?;
        Spread::of(times).context("the kernel counted no runs of an empty program")
    }

    /// Where a load is dropped, by droptrace itself.
    fn find_places(&self, case: &Case) -> Result<HashSet<u64>> {
        let case = Case { contestant: Contestant::Stat, snaplen: None, cpus: 1, ..*case };
        let generator = self.generator(&case)?;
        let child = self.start(&case)?;
        generator.send(4096, None, self.stopped)?;
        let document: serde_json::Value = serde_json::from_str(&child.finish()?.0)?;
        let rows = document["drops"].as_array().context("no drops")?;
        let address =
            |row: &serde_json::Value| u64::from_str_radix(row["address"].as_str()?.strip_prefix("0x")?, 16).ok();
        Ok(rows.iter().filter_map(address).collect())
    }
}

fn without_a_program(sent: Sent, program_ns: Option<f64>) -> Run {
    let account = told::Account { sent: sent.drops, accounted: sent.drops, ..told::Account::default() };
    Run { rate: sent.rate(), ns: sent.ns_per_drop, bare_ns: None, program_ns, account, process: None }
}

/// The kernel program that does nothing, attached as long as this lives.
struct Empty(EbpfSource);

impl Empty {
    fn start() -> Result<Self> {
        let options = ebpf::Options {
            mode: Mode::Nothing,
            map_entries: 1,
            events: None,
            netns: 0,
            ifindex: 0,
            kernel_log: false,
            by_address: true,
        };
        let (source, _) = EbpfSource::start(&options, &KernelBtf::load()?)?;
        Ok(Self(source))
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        // What stays attached ends with its files.
        _ = self.0.detach();
    }
}

fn perf_statistics(folder: &Path) -> Result<String> {
    let data = folder.join(PERF_DATA);
    let output = Command::new("perf").args(["report", "--stats", "-i"]).arg(&data).output().context("perf report")?;
    fs::remove_file(data).context("perf wrote no file")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder for files of others, which goes with its handle.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("droptrace-bench-{}", process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
