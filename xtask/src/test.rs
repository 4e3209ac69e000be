//! The subcommand `test`.

use std::io::{self, BufRead, BufReader, Write, stdout};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};

use crate::support::apt;
use crate::support::cargo;
use crate::support::openssh;
use crate::support::process::{self, announce};
use crate::support::prometheus;
use crate::support::tally::Tally;
use crate::support::test_build::{Executable, Targets, TestBuild};
use crate::support::victoria_metrics;
use crate::vm;
use crate::vm::selection::Selection;

/// Programs with which tests provoke drops or compare droptrace, and Debian's packages that contain them.
const PROGRAMS: [(&str, &str); 13] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("nstat", "iproute2"),
    ("sysctl", "procps"),
    ("conntrack", "conntrack"),
    ("nft", "nftables"),
    ("iptables-nft", "iptables"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("rpmbuild", "rpm"),
    ("ssh", "openssh-client"),
];

/// The variable from which tests know the binary that they start.
const BINARY: &str = "DROPTRACE_BIN";

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
    let mut broken = if args.only_kernels { Vec::new() } else { tests_here(&mut tally) };
    broken.extend(vm::matrix::run(&args.selection(), &args.matrix, &mut tally).err());
    report(&tally, &broken, args.leaves_kernels_out().then_some(REST))
}

/// Fetches and installs the programs of tests if that is possible, and otherwise reports which are missing.
fn set_up() {
    if let Err(error) = prometheus::set_up() {
        announce(format_args!("without Prometheus, tests of the fleet will be skipped ({error:#})"));
    }
    if let Err(error) = prometheus::set_up_alertmanager() {
        announce(format_args!("without Alertmanager, tests with it will be skipped ({error:#})"));
    }
    if let Err(error) = victoria_metrics::set_up() {
        announce(format_args!("without VictoriaMetrics, tests with it will be skipped ({error:#})"));
    }
    install_programs();
    // The server uses libraries of the client, which is one of the programs.
    if let Err(error) = openssh::set_up() {
        announce(format_args!("without OpenSSH's server, tests with it will be skipped ({error:#})"));
    }
}

/// Installs the programs of tests that are missing, as root.
fn install_programs() {
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

/// Builds all tests, and runs those of this machine: unit and documentation tests, which need no privileges, and the
/// tests on this kernel, which run as root. Returns what was no test's failure.
fn tests_here(tally: &mut Tally) -> Vec<Error> {
    let build = match timed("building tests", || TestBuild::make(Targets::All, None)) {
        Ok(build) => build,
        Err(error) => return vec![error],
    };
    let mut documentation = cargo::cargo_for_tests();
    documentation.args(["test", "--workspace", "--no-fail-fast", "--doc"]);
    let suites = [
        ("unit tests", Ok(build.host_tests().map(|test| test.command(None)).collect())),
        ("documentation tests", Ok(vec![documentation])),
        ("tests on this kernel", kernel_tests(&build)),
    ];
    suites.into_iter().flat_map(|(what, suite)| timed(what, || run_suites(suite, tally))).collect()
}

/// The tests on this kernel, which are built as this user and run as root.
fn kernel_tests(build: &TestBuild) -> Result<Vec<Command>> {
    let runner = runner();
    // Tests find one binary next to the other.
    let droptrace = build.binary("droptrace")?;
    let command = |test: &Executable| {
        let mut command = test.command(runner.as_deref());
        command.env(BINARY, droptrace);
        command
    };
    Ok(build.kernel_tests().map(command).collect())
}

fn run_suites(suites: Result<Vec<Command>>, tally: &mut Tally) -> Vec<Error> {
    match suites {
        Ok(suites) => {
            suites.into_iter().filter_map(|mut suite| run_suite(&mut suite, tally, &mut stdout()).err()).collect()
        }
        Err(error) => vec![error],
    }
}

/// The command that starts a test as root, unless this process already is.
fn runner() -> Option<Vec<String>> {
    if process::is_root() {
        return None;
    }
    let Some(sudo) = process::find_program("sudo") else {
        announce("not root, and there is no sudo here: what needs root will be skipped");
        return None;
    };
    announce("not root: running them through sudo");
    let preserved = format!("--preserve-env={BINARY},RUST_BACKTRACE");
    Some(vec![sudo.display().to_string(), preserved, "--".to_owned()])
}

/// Runs a step, and reports its duration.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    announce(what);
    let started = Instant::now();
    let result = work();
    announce(format_args!("{what}: done after {:.0} s", started.elapsed().as_secs_f64()));
    result
}

/// Runs the tests of one command, shows its output, and adds it up.
fn run_suite(command: &mut Command, tally: &mut Tally, shown: &mut impl Write) -> Result<()> {
    let line = process::line(command);
    announce(&line);
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
fn report(tally: &Tally, broken: &[Error], left_out: Option<&str>) -> ExitCode {
    println!();
    for line in tally.skipped_lines() {
        println!("{line}");
    }
    for line in tally.failed_lines() {
        println!("{line}");
    }
    for error in broken {
        println!("BROKEN {error:#}");
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
    use anyhow::anyhow;

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
        assert_eq!(report(&tally, &[anyhow!("x")], None), ExitCode::FAILURE);
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
}
