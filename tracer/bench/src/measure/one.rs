//! One run of a target.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, TRIAL};
use crate::child::Child;
use crate::empty::Empty;
use crate::generator::{Generator, Sent};
use crate::plan::Case;
use crate::report::{Process, Run};
use crate::spread::Spread;
use crate::target::{PERF_DATA, Target};
use crate::{programs, reported};

/// The number of drops from which programs learn names, so that the measurement does not include the lookups, and the
/// time for the lookups.
const WARM_UP: u64 = 256;
const WARMING: Duration = Duration::from_millis(100);
/// The drop monitor reports its sums after a second.
const LATENESS: Duration = Duration::from_secs(2);
/// Readers look every 10 ms, so after this time they have read all drops.
const SETTLING: Duration = Duration::from_millis(25);
/// The number of runs from which the time of the empty program is found.
const EMPTY_RUNS: usize = 5;

impl Bench<'_> {
    pub(super) fn run_once(&mut self, case: &Case) -> Result<Run> {
        if case.target.reports_only_drop_sites() && !self.drop_sites.contains_key(&case.load) {
            let drop_sites = self.find_drop_sites(case).ok();
            self.drop_sites.insert(case.load, drop_sites);
        }
        let speed = self.speeds.get(&(case.load, case.cpus)).copied();
        let speed = speed.map_or_else(|| self.bare(case).map(|sent| sent.ns_per_drop), Ok)?;
        let drops = self.drops(case, speed);
        let generator = self.generator(case)?;
        match case.target {
            Target::Nothing => {
                let sent = generator.send(drops, case.pace, self.stopped)?;
                Ok(without_a_program(sent, None))
            }
            Target::Empty => {
                let _program = start_empty()?;
                let sent = generator.send(drops, case.pace, self.stopped)?;
                let (times, _) = self.program_times(&generator, process::id(), drops)?;
                Ok(without_a_program(sent, times.map(Times::above_empty)))
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
            let (times, drops) = self.program_times(generator, child.pid(), drops)?;
            (program_ns, all) = (times.map(Times::above_empty), all + drops);
        }
        let process = Process {
            cpu: after.cpu.saturating_sub(before.cpu),
            user: after.user.saturating_sub(before.user),
            system: after.system.saturating_sub(before.system),
            drops: sent.drops,
            peak: child.usage()?.peak,
            attached_after: child.attached_after,
        };
        if case.target.is_late() {
            thread::sleep(LATENESS);
        }
        let account = self.finish(case, child)?.account(all)?;
        let (rate, ns) = (sent.rate(), sent.ns_per_drop);
        Ok(Run { rate, ns, bare_ns: None, program_ns, sent: all, account: Some(account), process: Some(process) })
    }

    fn start(&self, case: &Case) -> Result<Child> {
        let launch = case.target.launch(&self.own, self.folder.path(), self.netns.inum(), case.snaplen);
        Child::start(&launch.context("no program")?, self.folder.path(), self.host.monitor_runs, self.stopped)
    }

    /// Ends a program, and reads its report.
    fn finish(&self, case: &Case, child: Child) -> Result<reported::Reported> {
        let (mut stdout, stderr) = child.finish()?;
        if case.target == Target::Perf {
            stdout = perf_statistics(self.folder.path())?;
        }
        let drop_sites = self.drop_sites.get(&case.load).and_then(Option::as_ref);
        reported::read(case.target, &stdout, &stderr, drop_sites)
    }

    /// The kernel's own times of a process's programs and of an empty program beside them, and the number of drops that
    /// were sent meanwhile. This is separate from the measurement of the whole path, because the statistics' clock
    /// costs more than some programs.
    fn program_times(&self, generator: &Generator<'_>, pid: u32, drops: u64) -> Result<(Option<Times>, u64)> {
        let held = programs::held_by(pid)?;
        let _empty = start_empty()?;
        let empty = &programs::held_by(process::id())? - &held;
        let statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).context("the kernel's BPF statistics")?;
        let before = (programs::runs(&held), programs::runs(&empty));
        let sent = generator.send(drops / 4, None, self.stopped)?;
        let after = (programs::runs(&held), programs::runs(&empty));
        drop(statistics);
        let times = after.0.ns_since(before.0).zip(after.1.ns_since(before.1));
        Ok((times.map(|(program, empty)| Times { program, empty }), sent.drops))
    }

    /// The time of an empty program, which is the cost of the statistics' own clock.
    pub(super) fn empty_program(&self) -> Result<Spread> {
        let generator = self.generator(&Case::trial())?;
        let _program = start_empty()?;
        let times = (0..EMPTY_RUNS).filter_map(|_| {
            self.program_times(&generator, process::id(), 4 * TRIAL).map(|(times, _)| times).transpose()
        });
        let times = times.map(|it| it.map(|it| it.program)).collect::<Result<Vec<_>>>()?;
        Spread::of(times).context("the kernel counted no runs of an empty program")
    }

    /// Finds the drop sites of a load with droptrace itself.
    fn find_drop_sites(&self, case: &Case) -> Result<HashSet<u64>> {
        let case = Case { target: Target::Stat, snaplen: None, cpus: 1, ..*case };
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

/// The nanoseconds of a run.
#[derive(Clone, Copy)]
struct Times {
    program: f64,
    /// The time of an empty program at the same drops. Both times include other work of the processor.
    empty: f64,
}

impl Times {
    fn above_empty(self) -> f64 {
        self.program - self.empty
    }
}

fn without_a_program(sent: Sent, program_ns: Option<f64>) -> Run {
    let (rate, ns) = (sent.rate(), sent.ns_per_drop);
    Run { rate, ns, bare_ns: None, program_ns, sent: sent.drops, account: None, process: None }
}

fn start_empty() -> Result<Empty> {
    Empty::start().context("cannot attach an empty BPF program")
}

fn perf_statistics(folder: &Path) -> Result<String> {
    let data = folder.join(PERF_DATA);
    let output = Command::new("perf").args(["report", "--stats", "-i"]).arg(&data).output().context("perf report")?;
    fs::remove_file(data).context("perf wrote no file")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
