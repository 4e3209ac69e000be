//! What is tested on which kernel.

use super::guest::Job;
use super::kernels::{Flavour, Series};
use super::out_of_tree;
use super::turns::{self, Rotation};

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
/// The tests of a kernel that does not run here, beside its turns.
const COUNTING: [&str; 2] = ["verifier", "exact"];
const FILTERS: &str = "filter";
/// The tests that take minutes.
const LONG: [&str; 5] = ["drops", "drops_net_dm", "truth", FILTERS, "storms"];

/// The tests on kernels for arm64: what depends on an architecture's code in the kernel. Not the order in which processors
/// see each other's stores: an `x86_64` machine that emulates arm64 keeps its own.
pub(super) const ON_ARM64: [&str; 6] = ["doctor", "fallback", "verifier", "drops", "exact", "storms"];

/// One start of a machine.
pub(super) struct Run {
    /// The part of file names that distinguishes it from others on the same kernel.
    pub(super) name: &'static str,
    /// What is added to the kernel's name where people read it.
    pub(super) title: &'static str,
    /// Words added to the kernel's command line.
    pub(super) append: &'static str,
    pub(super) jobs: Vec<Job>,
}

impl Run {
    fn of(name: &'static str, title: &'static str, tests: &[&str]) -> Self {
        Self { name, title, append: "", jobs: tests.iter().copied().map(job).collect() }
    }

    /// How long it takes compared with others. Provoked drops and single drops take longest.
    pub(super) fn weight(&self) -> usize {
        self.jobs.iter().map(|job| if LONG.contains(&job.name.as_str()) { 10 } else { 1 }).sum()
    }
}

/// The series of the running kernel, which is tested without emulation.
pub(super) fn running() -> Option<Series> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(str::parse);
    Some(Series::cloud(numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The runs on a kernel: of the series that runs `here` those that need the drop monitor, which the running kernel may
/// lack. One that was given as a file has all sets.
pub(super) fn plans(series: Option<Series>, here: Option<Series>, rotation: Rotation) -> Vec<Run> {
    if series.is_some_and(|series| series.flavour == Flavour::Realtime) {
        return of_realtime();
    }
    if series.is_some_and(|series| series.flavour == Flavour::Arm64) {
        return vec![Run::of("arm64", "", &ON_ARM64)];
    }
    let is_elsewhere = series.is_none() || series != here;
    let mut tests = vec!["doctor", "fallback"];
    if is_elsewhere {
        tests.extend(COUNTING);
    }
    let mut netlink = vec!["netlink"];
    if BOTH_SOURCES.map(Some).contains(&series) {
        netlink.push("both");
    }
    let mut by_monitor = vec!["net_dm"];
    if series == Some(out_of_tree::SERIES) {
        // It needs a simulated device.
        by_monitor.push("hardware");
    }
    let mut plans = vec![
        Run::of("tests", "", &tests),
        Run::of("net_dm", " by its drop monitor", &by_monitor),
        Run::of("netlink", " by netlink", &netlink),
    ];
    let sets = series.map_or_else(|| turns::ALL.to_vec(), |series| rotation.sets(series));
    plans.extend(sets.into_iter().filter(|set| set.by_monitor || is_elsewhere).map(of_set));
    if series == Some(MEASURED) {
        let mut bench = job("bench");
        bench.arguments.extend(["--exact", MEASURES_NET_DM].map(str::to_owned));
        let mut options = job("options");
        options.arguments.push(OF_COMPARE.to_owned());
        plans.push(Run { jobs: vec![bench, options], ..Run::of("bench", " by the benchmark", &[]) });
    }
    if series == Some(LOCKED_DOWN) {
        let locked = Run::of("lockdown", " locked down", &["doctor", "lockdown", FILTERS]);
        plans.push(Run { append: "lockdown=confidentiality", ..locked });
    }
    plans
}

/// Kernels with `PREEMPT_RT`, whose verifiers and drop monitors are those of their series.
fn of_realtime() -> Vec<Run> {
    let sets = [turns::PROVOKED, turns::TRUTH, turns::RARE, turns::STORMS];
    let tests: Vec<_> = COUNTING.into_iter().chain(sets.iter().flat_map(|set| set.tests.iter().copied())).collect();
    vec![Run::of("counting", " with PREEMPT_RT", &tests)]
}

fn of_set(set: &'static turns::Set) -> Run {
    let mut run = Run::of(set.name, set.title, set.tests);
    if let Some(only) = set.only {
        run.jobs.iter_mut().for_each(|job| job.arguments.extend(["--exact", only].map(str::to_owned)));
    }
    run
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
    fn realtime_kernels_have_the_tests_that_count() {
        let [run] = &plans(Some(Series::realtime(6, 12)), None, Rotation::Off)[..] else { panic!("more than one run") };
        let expected = [
            "verifier",
            "exact",
            "drops",
            "refused",
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

    #[test]
    fn kernels_for_arm64_have_the_tests_that_are_built_for_them() {
        let [run] = &plans(Some(Series::arm64(6, 12)), None, Rotation::Off)[..] else { panic!("more than one run") };
        assert_eq!(names(run), ON_ARM64);
    }

    fn names(run: &Run) -> Vec<&str> {
        run.jobs.iter().map(|job| job.name.as_str()).collect()
    }

    #[test]
    fn what_runs_here_is_not_emulated() {
        let plans = |here| plans(Some(Series::cloud(6, 18)), here, Rotation::Off);
        let here = plans(Some(Series::cloud(6, 18)));
        assert_eq!(names(&here[0]), ["doctor", "fallback"]);
        assert_eq!(here.iter().map(|run| run.name).collect::<Vec<_>>(), ["tests", "net_dm", "netlink", "monitored"]);
        let elsewhere = plans(Some(Series::cloud(6, 19)));
        assert_eq!(names(&elsewhere[0]), ["doctor", "fallback", "verifier", "exact"]);
        assert_eq!(names(&elsewhere[3]), ["drops", "refused"]);
        assert!(running().is_some());
    }

    #[test]
    fn machines_of_a_kernel_have_names_of_their_own() {
        for series in [None, Some(Series::cloud(5, 10)), Some(Series::cloud(6, 12)), Some(Series::cloud(7, 3))] {
            let plans = plans(series, None, Rotation::Off);
            let names: std::collections::BTreeSet<_> = plans.iter().map(|run| run.name).collect();
            assert_eq!(names.len(), plans.len(), "their logs have these names");
        }
    }

    #[test]
    fn one_series_is_tested_locked_down_too() {
        let is_locked = |run: &Run| run.append.contains("lockdown");
        assert!(!plans(Some(Series::cloud(5, 10)), None, Rotation::Off).iter().any(is_locked));
        assert_eq!(plans(None, None, Rotation::Off).len(), 3 + turns::ALL.len());
        assert!(
            plans(Some(LOCKED_DOWN), None, Rotation::Off).iter().any(|run| run.append == "lockdown=confidentiality")
        );
    }
}
