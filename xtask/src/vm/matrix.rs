//! The tests on other kernels, one after another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::kernels::{DEFAULT, Kernel, Series};
use super::machine::{Plan, Workshop};
use super::plans::{ON_ARM64, Run, plans, running};
use super::results::{Results, RunResult};
use super::selection::Selection;
use super::turns::Rotation;
use super::{Ground, Source, out_of_tree};
use crate::support::architecture::Architecture;
use crate::support::process::announce;
use crate::support::tally::Tally;

/// Seconds without output after which a machine surely hangs: without much other load, no single test takes a quarter
/// of this time.
const SILENCE_LIMIT: u64 = 300;
/// The number of machines at a time: tests wait for their kernel more than they work.
const MACHINES: usize = 2;

/// The kernels to test on.
#[derive(clap::Args)]
pub(crate) struct MatrixArgs {
    /// Other kernels to test on under QEMU: `default`, `daily`, `none`, `all` that Debian has for `x86_64`, or a list of
    /// series such as `6.1,6.12-rt,6.12-arm64`, in which `default` and `arm64` stand for several
    ///
    /// `daily` has the kernels of `default`; the long tests take turns of eight days.
    /// Without this option no other kernel is tested on.
    #[arg(long)]
    pub(crate) kernels: Option<Selection>,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Run only these test sets, such as `tests,netlink`, of those that a kernel has
    ///
    /// Their names are in the results, which are written to target/kernels.json.
    #[arg(long, value_name = "SET", value_delimiter = ',')]
    pub(crate) sets: Vec<String>,
    /// Seconds that a machine may take between one line of output and the next; more where this machine is slow
    #[arg(long, default_value_t = SILENCE_LIMIT, value_name = "SECONDS")]
    pub(crate) silence_limit: u64,
}

impl Default for MatrixArgs {
    fn default() -> Self {
        Self { kernels: None, source: Source::default(), sets: Vec::new(), silence_limit: SILENCE_LIMIT }
    }
}

/// Runs the tests on every kernel selected, adding to the tally; kernels that are not available here are skipped.
pub(crate) fn run(selection: &Selection, args: &MatrixArgs, tally: &mut Tally) -> Result<()> {
    let MatrixArgs { source, sets, silence_limit, .. } = args;
    if *selection == Selection::None && source.image.is_none() {
        return Ok(());
    }
    let mut ground = match Ground::prepare() {
        Ok(ground) => ground,
        Err(error) => {
            tally.skip("kernels under QEMU", &format!("{error:#}"));
            return Ok(());
        }
    };
    let kernels = kernels(&mut ground, selection, source, tally);
    if kernels.is_empty() {
        return Ok(());
    }
    let workshops = workshops(&ground, &kernels, tally)?;
    let here = running();
    let rotation = if *selection == Selection::Daily { Rotation::today() } else { Rotation::Off };
    let mut runs: Vec<_> = kernels
        .iter()
        .filter_map(|(series, kernel)| Some((series, kernel, workshops.get(&kernel.architecture)?)))
        .flat_map(|(series, kernel, workshop)| {
            plans(*series, here, rotation).into_iter().map(move |run| (workshop, (*series, kernel), run))
        })
        .filter(|(.., run)| sets.is_empty() || sets.iter().any(|set| set == run.name))
        .collect();
    // The longest first, so that no machine is left alone with a long run at the end.
    runs.sort_by_key(|(.., run)| Reverse(run.weight()));
    let outcomes = side_by_side(&runs, |(workshop, kernel, run)| start(workshop, *kernel, run, *silence_limit))?;
    let (mut results, mut broken) = (Results::default(), Ok(()));
    for outcome in outcomes {
        match outcome {
            Ok((of_run, result)) => {
                tally.add(of_run);
                results.take(result.into_iter().collect());
            }
            Err(error) => broken = broken.and(Err(error)),
        }
    }
    if !results.results.is_empty() {
        let path = Results::of_last_run();
        results.write(&path)?;
        announce(format_args!("the results are in {}; `cargo xtask kernels` takes them into the docs", path.display()));
    }
    broken
}

/// The emulator and the file system for each architecture that a kernel is for; without them its kernels are skipped.
fn workshops(
    ground: &Ground,
    kernels: &[(Option<Series>, Kernel)],
    tally: &mut Tally,
) -> Result<BTreeMap<Architecture, Workshop>> {
    let architectures: BTreeSet<_> = kernels.iter().map(|(_, kernel)| kernel.architecture).collect();
    let mut workshops = BTreeMap::new();
    for architecture in architectures {
        match ground.qemu(architecture) {
            Ok(qemu) => _ = workshops.insert(architecture, ground.workshop(qemu, &ON_ARM64)?),
            Err(error) => tally.skip(&format!("kernels for {architecture} under QEMU"), &format!("{error:#}")),
        }
    }
    Ok(workshops)
}

/// Runs all jobs, [`MACHINES`] at a time; the results are in the order of the jobs.
fn side_by_side<W: Sync, R: Send>(work: &[W], run: impl Fn(&W) -> R + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let indices = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        indices.map_while(|index| Some((index, run(work.get(index)?)))).collect::<Vec<_>>()
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..MACHINES).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread panicked")));
        Ok::<_, anyhow::Error>(joined.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Starts one machine, and waits for its end. A kernel that was given as a file has no result for the table.
fn start(
    workshop: &Workshop,
    (series, kernel): (Option<Series>, &Kernel),
    run: &Run,
    silence_limit: u64,
) -> Result<(Tally, Option<RunResult>)> {
    let title = format!("{}{}", kernel.release, run.title);
    announce(format_args!("tests on {title}"));
    let silence_limit = Some(Duration::from_secs(silence_limit));
    let plan = Plan { name: run.name, append: run.append, jobs: &run.jobs, silence_limit };
    let mut outcome = workshop.run(kernel, &plan).with_context(|| format!("tests on {title}"))?;
    // The output is written at once, because machines run in parallel.
    print!("{}", outcome.output);
    announce(format_args!(
        "{title}: {} in {:.0} s, {} false starts",
        outcome.tally,
        outcome.duration.as_secs_f64(),
        outcome.false_starts
    ));
    let result = series.map(|series| RunResult::new(series, kernel, run, &outcome.tally)).transpose()?;
    outcome.tally.qualify(&title);
    Ok((outcome.tally, result))
}

/// The kernels, and the series that each was selected by; none for a kernel that was given as a file.
fn kernels(
    ground: &mut Ground,
    selection: &Selection,
    source: &Source,
    tally: &mut Tally,
) -> Vec<(Option<Series>, Kernel)> {
    if let Some(given) = ground.given(source) {
        return match given {
            Ok(kernel) => vec![(None, kernel)],
            Err(error) => {
                tally.fail(format!("{error:#}"));
                vec![]
            }
        };
    }
    let mut found: Vec<(Option<Series>, Kernel)> = Vec::new();
    for series in wanted(ground, selection, tally) {
        match ground.of_series(series) {
            Ok(kernel) if found.iter().any(|(_, other)| other.release == kernel.release) => {}
            Ok(kernel) => {
                if series == out_of_tree::SERIES {
                    skip_missing_modules(out_of_tree::add(&kernel, &ground.folder, &ground.busybox), tally);
                }
                found.push((Some(series), kernel));
            }
            Err(error) => tally.skip(&series.to_string(), &format!("{error:#}")),
        }
    }
    found
}

fn wanted(ground: &mut Ground, selection: &Selection, tally: &mut Tally) -> Vec<Series> {
    match selection {
        Selection::None => vec![],
        Selection::Default | Selection::Daily => DEFAULT.to_vec(),
        Selection::Series(series) => series.clone(),
        Selection::All => ground.kernels.series().unwrap_or_else(|error| {
            tally.skip("all kernels", &format!("{error:#}"));
            vec![]
        }),
    }
}

/// Tests that want these modules will not run.
fn skip_missing_modules(missing: Vec<(&str, String)>, tally: &mut Tally) {
    for (name, reason) in missing {
        tally.skip(&format!("{} module {name}", out_of_tree::SERIES), &reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_is_done_once_and_reported_in_its_order() {
        let work: Vec<_> = (0..50).collect();
        assert_eq!(side_by_side(&work, |number| number * 2).unwrap(), (0..50).map(|it| it * 2).collect::<Vec<_>>());
    }
}
