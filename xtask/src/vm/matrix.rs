//! The tests on other kernels, one after another.

use std::cmp::Reverse;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::guest::Job;
use super::kernels::{DEFAULT, Flavour, Kernel, Series};
use super::machine::{Plan, Workshop};
use super::{Ground, Source, out_of_tree};
use crate::support::process::announce;
use crate::support::tally::Tally;

/// Seconds without output after which a machine surely hangs: without much other load, no single test takes a quarter
/// of this time.
const SILENCE_LIMIT: u64 = 300;
/// The number of machines at a time: tests wait for their kernel more than they work.
const MACHINES: usize = 2;
/// The number of datagrams of a test that counts many drops: an emulated machine drops fewer in a second.
const DATAGRAMS: &str = "50000";
/// The number of filters of a test that loads many.
const FILTER_COUNT: &str = "16";
/// The series on which tests run once more while the kernel is locked down.
const LOCKED_DOWN: Series = Series::cloud(6, 12);
/// The series of the benchmark's tests, with its targets that need the drop monitor: its other parts are tested without
/// emulation.
const MEASURED: Series = Series::cloud(6, 12);
const MEASURES_NET_DM: &str = "the_drop_monitor_is_measured";
/// The tests of options that need the drop monitor and the kernel program, on the same series.
const OF_COMPARE: &str = "a_comparison";
/// The series on which both backends are tested at once, in a machine of their own.
const BOTH_SOURCES: [Series; 2] = [Series::cloud(6, 12), Series::cloud(7, 3)];
/// The tests that count drops, in the order in which they run.
const COUNTING: [&str; 3] = ["verifier", "drops", "exact"];
/// As these, of single drops and of what is rare.
const DETAILED: [&str; 6] = ["truth", "outside", "reconcile", "xdp", "nothing_lost", "retransmits"];
/// The filters, on the same series but not with `PREEMPT_RT`, whose verifiers are the same.
const FILTERS: &str = "filter";
/// The trace of nftables, on the same series: without and with owners of tables.
const RULES: &str = "rule";
/// The series on which those run: the ones whose verifiers know no casts, without and with reasons. `cargo xtask vm --kernel
/// 7.3 -- truth` runs them on a newer one.
const DETAILED_ON: [Series; 2] = [Series::cloud(5, 10), Series::cloud(6, 1)];
/// The series on which the drop monitor is tested in summary mode too, over all provoked drops: the oldest and the newest.
const SUMMARISED: [Series; 2] = [Series::cloud(5, 10), Series::cloud(7, 3)];
const IN_PACKET_MODE: &str = "packet_mode_beside_the_kernel_program";
/// As these, with far more drops: where the kernel shows nested drops too, where it withholds them, and with `PREEMPT_RT`.
const STORMS: &str = "storms";
const STORMY: [Series; 2] = [Series::cloud(5, 10), Series::cloud(7, 3)];

/// The kernels to test on.
#[derive(clap::Args)]
pub(crate) struct MatrixArgs {
    /// Other kernels to test on under QEMU: `default`, `none`, `all` that Debian has, or series such as `6.1,6.12-rt`
    ///
    /// Without this option no other kernel is tested on.
    #[arg(long)]
    pub(crate) kernels: Option<Selection>,
    #[command(flatten)]
    pub(crate) source: Source,
    /// Seconds that a machine may take between one line of output and the next; more where this machine is slow
    #[arg(long, default_value_t = SILENCE_LIMIT, value_name = "SECONDS")]
    pub(crate) silence_limit: u64,
}

impl Default for MatrixArgs {
    fn default() -> Self {
        Self { kernels: None, source: Source::default(), silence_limit: SILENCE_LIMIT }
    }
}

/// Which kernels to test on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// A set that covers what differs.
    Default,
    /// Only the running one.
    None,
    /// Each series of the archive.
    All,
    /// These series.
    Series(Vec<Series>),
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            list => match list.split(',').map(str::parse).collect() {
                Ok(series) => Ok(Self::Series(series)),
                Err(error) => Err(format!("none of default, none, all, and {error}")),
            },
        }
    }
}

/// Runs the tests on every kernel selected, adding to the tally; kernels that are not available here are skipped.
pub(crate) fn run(selection: &Selection, args: &MatrixArgs, tally: &mut Tally) -> Result<()> {
    let MatrixArgs { source, silence_limit, .. } = args;
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
    let workshop = ground.workshop()?;
    let here = running();
    let mut runs: Vec<_> = kernels
        .iter()
        .flat_map(|(series, kernel)| plans(*series, here).into_iter().map(move |run| (kernel, run)))
        .collect();
    // Those with the most work first, so that no machine is left alone with a long run at the end.
    runs.sort_by_key(|(_, run)| Reverse(run.jobs.len()));
    for outcome in side_by_side(&runs, |(kernel, run)| start(&workshop, kernel, run, *silence_limit))? {
        tally.add(outcome?);
    }
    Ok(())
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

/// Starts one machine, and waits for its end.
fn start(workshop: &Workshop, kernel: &Kernel, run: &Run, silence_limit: u64) -> Result<Tally> {
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
    outcome.tally.qualify(&title);
    Ok(outcome.tally)
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
        Selection::Default => DEFAULT.to_vec(),
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

/// One start of a machine.
struct Run {
    name: &'static str,
    /// What is added to the kernel's name.
    title: &'static str,
    append: &'static str,
    jobs: Vec<Job>,
}

/// The series of the running kernel, which is tested without emulation.
fn running() -> Option<Series> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(str::parse);
    Some(Series::cloud(numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The runs on a kernel: of the series that runs `here` those that need the drop monitor, which the running kernel may
/// lack. One that was given as a file has those that run on every kernel.
fn plans(series: Option<Series>, here: Option<Series>) -> Vec<Run> {
    if series.is_some_and(|series| series.flavour == Flavour::Realtime) {
        let jobs = COUNTING.into_iter().chain(DETAILED).chain([STORMS]).map(job).collect();
        return vec![Run { name: "counting", title: " with PREEMPT_RT", append: "", jobs }];
    }
    let mut tests: Vec<_> = ["doctor", "fallback"].map(job).to_vec();
    if series.is_none() || series != here {
        tests.extend(COUNTING.map(job));
    }
    if series.is_none_or(|series| DETAILED_ON.contains(&series) && Some(series) != here) {
        tests.extend(DETAILED.map(job));
        tests.push(job(FILTERS));
        tests.push(job(RULES));
    }
    if series.is_some_and(|series| STORMY.contains(&series) && Some(series) != here) {
        tests.push(job(STORMS));
    }
    let mut by_monitor = ["drops_net_dm", "net_dm"].map(job).to_vec();
    if series.is_some_and(|series| !SUMMARISED.contains(&series)) {
        by_monitor[0].arguments.extend(["--exact", IN_PACKET_MODE].map(str::to_owned));
    }
    let mut netlink = vec![job("netlink")];
    if BOTH_SOURCES.map(Some).contains(&series) {
        netlink.push(job("both"));
    }
    if series == Some(out_of_tree::SERIES) {
        // It needs a simulated device.
        by_monitor.push(job("hardware"));
    }
    let mut plans = vec![
        Run { name: "tests", title: "", append: "", jobs: tests },
        Run { name: "net_dm", title: " by its drop monitor", append: "", jobs: by_monitor },
        Run { name: "netlink", title: " by netlink", append: "", jobs: netlink },
    ];
    if series == Some(MEASURED) {
        let mut bench = job("bench");
        bench.arguments.extend(["--exact", MEASURES_NET_DM].map(str::to_owned));
        let mut options = job("options");
        options.arguments.push(OF_COMPARE.to_owned());
        let jobs = vec![bench, options];
        plans.push(Run { name: "bench", title: " by the benchmark", append: "", jobs });
    }
    if series == Some(LOCKED_DOWN) {
        let append = "lockdown=confidentiality";
        plans.push(Run {
            name: "lockdown",
            title: " locked down",
            append,
            jobs: ["doctor", "lockdown", FILTERS].map(job).to_vec(),
        });
    }
    plans
}

fn job(name: &str) -> Job {
    Job {
        name: name.to_owned(),
        program: name.to_owned(),
        arguments: vec!["--color=never".to_owned()],
        environment: [("DROPTRACE_TESTS_DATAGRAMS", DATAGRAMS), ("DROPTRACE_TESTS_FILTERS", FILTER_COUNT)]
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_selected_by_series() {
        assert_eq!("default".parse(), Ok(Selection::Default));
        let series = vec![Series::cloud(6, 1), Series::realtime(6, 12)];
        assert_eq!("6.1,6.12-rt".parse(), Ok(Selection::Series(series)));
        assert!("6.1,newest".parse::<Selection>().unwrap_err().contains("`newest` is no series"));
        assert!("".parse::<Selection>().is_err());
    }

    #[test]
    fn all_work_is_done_once_and_told_in_its_order() {
        let work: Vec<_> = (0..50).collect();
        assert_eq!(side_by_side(&work, |number| number * 2).unwrap(), (0..50).map(|it| it * 2).collect::<Vec<_>>());
    }

    #[test]
    fn realtime_kernels_have_the_tests_that_count() {
        let [run] = &plans(Some(Series::realtime(6, 12)), None)[..] else { panic!("more than one run") };
        let expected = [
            "verifier",
            "drops",
            "exact",
            "truth",
            "outside",
            "reconcile",
            "xdp",
            "nothing_lost",
            "retransmits",
            "storms",
        ];
        assert_eq!(names(run), expected);
    }

    fn names(run: &Run) -> Vec<&str> {
        run.jobs.iter().map(|job| job.name.as_str()).collect()
    }

    #[test]
    fn what_runs_here_is_not_emulated() {
        let plans = |here| plans(Some(Series::cloud(6, 18)), here);
        assert_eq!(names(&plans(Some(Series::cloud(6, 18)))[0]), ["doctor", "fallback"]);
        assert_eq!(names(&plans(Some(Series::cloud(6, 19)))[0]), ["doctor", "fallback", "verifier", "drops", "exact"]);
        assert!(running().is_some());
    }

    #[test]
    fn one_series_is_tested_locked_down_too() {
        assert_eq!(plans(Some(Series::cloud(5, 10)), None).len(), 3);
        assert_eq!(plans(None, None).len(), 3);
        assert!(plans(Some(LOCKED_DOWN), None).iter().any(|run| run.append == "lockdown=confidentiality"));
    }
}
