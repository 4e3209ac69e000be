//! The subcommand `test`.

use std::io::{self, BufRead, BufReader, Write, stdout};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::support::apt;
use crate::support::cargo::{self, Toolchain};
use crate::support::process::{self, announce};
use crate::support::prometheus;
use crate::support::tally::Tally;
use crate::support::victoria_metrics;
use crate::vm;
use crate::vm::matrix::Selection;

/// Programs with which tests provoke drops or compare droptrace, and Debian's packages that contain them.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("iptables-nft", "iptables"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
];

/// The hint for tests that were not selected.
const REST: &str = "Nothing ran on other kernels. `cargo xtask test --kernels default` runs the tests on them as well, \
                    under QEMU, whose emulation takes much longer.";

/// Runs the tests on the running kernel: unit tests, documentation tests and kernel tests.
///
/// The kernel tests need root: they run through sudo when this is not root. A test that cannot run here is reported as
/// SKIPPED, with the reason. As root on Debian, missing programs that tests use are installed first.
/// With `--kernels`, the kernel tests run on other kernels under QEMU as well.
/// The last line counts all tests that were selected: `N passed, N failed, N skipped`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Run the tests on other kernels alone, on those of `--kernels default` unless others are named
    #[arg(long)]
    only_kernels: bool,
    #[command(flatten)]
    matrix: vm::matrix::MatrixArgs,
}

impl Args {
    /// The selection of other kernels.
    fn selection(&self) -> Selection {
        let unnamed = if self.only_kernels { Selection::Default } else { Selection::None };
        self.matrix.kernels.clone().unwrap_or(unnamed)
    }

    /// Returns whether the command line neither selects nor excludes tests on other kernels.
    fn leaves_kernels_out(&self) -> bool {
        self.matrix.kernels.is_none() && !self.only_kernels && self.matrix.source.image.is_none()
    }
}

pub(crate) fn run(args: &Args) -> ExitCode {
    set_up();
    let mut tally = Tally::default();
    let here: &[fn(&mut Tally) -> Result<()>] = if args.only_kernels { &[] } else { &[host_tests, kernel_tests] };
    let mut results: Vec<_> = here.iter().map(|suite| suite(&mut tally)).collect();
    results.push(vm::matrix::run(&args.selection(), &args.matrix, &mut tally));
    let broken: Vec<_> = results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    report(&tally, &broken, args.leaves_kernels_out().then_some(REST))
}

/// Installs the programs of tests if that is possible, and otherwise reports which are missing.
fn set_up() {
    if let Err(error) = prometheus::set_up() {
        announce(format_args!("without Prometheus, tests of the fleet will be skipped ({error:#})"));
    }
    if let Err(error) = victoria_metrics::set_up() {
        announce(format_args!("without VictoriaMetrics, tests with it will be skipped ({error:#})"));
    }
    let missing = PROGRAMS.iter().filter(|(program, _)| process::find_program(program).is_none());
    let (programs, mut packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    packages.dedup();
    if packages.is_empty() {
        return;
    }
    let result = if !apt::available() {
        Err("this machine has no apt".to_owned())
    } else if process::is_root() {
        apt::install(&packages).map_err(|error| format!("{error:#}"))
    } else {
        Err(format!("as root: apt-get install {}", packages.join(" ")))
    };
    if let Err(reason) = result {
        announce(format_args!("without {}, tests will be skipped ({reason})", programs.join(", ")));
    }
}

/// Unit and documentation tests, which need no privileges.
fn host_tests(tally: &mut Tally) -> Result<()> {
    let what = "unit tests and documentation tests";
    let options = ["test", "--workspace", "--exclude", "tests", "--no-fail-fast"];
    timed(&format!("building {what}"), || process::run(cargo::cargo_for_tests().args(options).arg("--no-run")))?;
    timed(what, || run_suite(cargo::cargo_for_tests().args(options), tally, &mut stdout()))
}

/// The tests on this kernel, which are built as this user and run as root.
fn kernel_tests(tally: &mut Tally) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let options = ["test", "--package", "tests", "--no-fail-fast"];
    let droptrace = timed("building tests on this kernel", || {
        process::run(cargo::cargo_for_tests().args(options).arg("--no-run"))?;
        // Tests find one binary next to the other.
        cargo::build_for_tests("droptrace-fleet", "droptrace-fleet")?;
        cargo::build_for_tests("tracer", "droptrace")
    })?;
    let mut command = cargo::cargo_for_tests();
    command.args(options).env("DROPTRACE_BIN", droptrace);
    if !process::is_root() {
        if let Some(sudo) = process::find_program("sudo") {
            announce("not root: running them through sudo");
            let runner = format!("{} --preserve-env=DROPTRACE_BIN,RUST_BACKTRACE --", sudo.display());
            command.env(runner_variable(&toolchain.host), runner);
        } else {
            announce("not root, and there is no sudo here: what needs root will be skipped");
        }
    }
    timed("tests on this kernel", || run_suite(&mut command, tally, &mut stdout()))
}

/// Runs a step, and reports its duration.
fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    announce(what);
    let started = Instant::now();
    let result = work();
    announce(format_args!("{what}: done after {:.0} s", started.elapsed().as_secs_f64()));
    result
}

/// The variable with the program that starts the host's executables for cargo.
fn runner_variable(host: &str) -> String {
    format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"))
}

/// Runs one cargo command, shows its output, and adds it up.
fn run_suite(command: &mut Command, tally: &mut Tally, shown: &mut impl Write) -> Result<()> {
    let line = process::line(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let mut suite = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        pass_on(BufReader::new(stdout), &mut suite, shown)
            .with_context(|| format!("cannot read the output of `{line}`"))?;
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    let (failed, results) = (suite.failed, suite.results);
    tally.add(suite);
    // Failed tests are in the count, and are then the cause of cargo's failure.
    if !status.success() && failed == 0 {
        bail!("`{line}` failed, though no test did: {status}");
    }
    if results == 0 {
        bail!("`{line}` reported no result");
    }
    Ok(())
}

fn pass_on(mut output: impl BufRead, tally: &mut Tally, shown: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        shown.write_all(&line)?;
        tally.line(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

/// Prints the reasons why tests did not run, then failures, then the hint, and the count on the last line.
fn report(tally: &Tally, broken: &[String], left_out: Option<&str>) -> ExitCode {
    println!();
    for line in tally.skipped_lines() {
        println!("{line}");
    }
    for name in &tally.failures {
        println!("FAILED {name}");
    }
    for error in broken {
        println!("BROKEN {error}");
    }
    // If all tests report that they cannot run here, that is a result: other kernels may not be available.
    let nothing = tally.passed + tally.failed + tally.skipped == 0;
    if nothing {
        println!("BROKEN no test ran");
    }
    if let Some(left_out) = left_out {
        println!("{left_out}");
    }
    println!("{tally}");
    if nothing || tally.failed > 0 || !broken.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Tally, Result<()>) {
        let mut tally = Tally::default();
        // This is not printed to stdout, because this runner's own output is added up in turn.
        let result = run_suite(Command::new("sh").args(["-c", script]), &mut tally, &mut Vec::new());
        (tally, result)
    }

    #[test]
    fn failed_tests_are_counted_and_reported_once() {
        let (tally, result) = shell("echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored'; exit 101");
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 0 skipped");
        result.unwrap();
        assert_eq!(report(&tally, &[], None), ExitCode::FAILURE);
    }

    #[test]
    fn a_runner_that_dies_is_broken() {
        let (tally, result) = shell("echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; kill -9 $$");
        assert!(result.unwrap_err().to_string().contains("failed, though no test did: signal: 9"));
        assert_eq!(report(&tally, &[], None), ExitCode::SUCCESS);
        assert_eq!(report(&tally, &["x".to_owned()], None), ExitCode::FAILURE);
    }

    #[test]
    fn a_runner_that_says_nothing_is_broken() {
        assert!(shell("true").1.unwrap_err().to_string().ends_with("reported no result"));
        assert_eq!(report(&Tally::default(), &[], None), ExitCode::FAILURE);
    }

    #[test]
    fn other_kernels_are_tested_on_demand() {
        let args = |only_kernels, kernels| Args {
            only_kernels,
            matrix: vm::matrix::MatrixArgs { kernels, ..vm::matrix::MatrixArgs::default() },
        };
        assert_eq!(args(false, None).selection(), Selection::None);
        assert!(args(false, None).leaves_kernels_out());
        assert_eq!(args(true, None).selection(), Selection::Default);
        assert!(!args(true, None).leaves_kernels_out());
        assert_eq!(args(false, Some(Selection::All)).selection(), Selection::All);
        assert!(!args(false, Some(Selection::None)).leaves_kernels_out());
    }

    #[test]
    fn cargo_is_told_how_to_start_tests() {
        let variable = runner_variable("x86_64-unknown-linux-gnu");
        assert_eq!(variable, "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER");
    }
}
