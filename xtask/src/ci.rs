//! The subcommand `ci`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::support::cargo::{cargo, root};
use crate::support::process::{self, announce};
use crate::{build_ebpf, ebpf, fuzz, kubernetes, test};

/// Runs everything that a change must pass; stops at the first step that fails.
///
/// The steps are the lock files, formatting, clippy on the host's code and on the kernel program's, droptrace without its features and with
/// each of them alone, documentation without warnings, cargo-deny, a comparison of the checked-in object with a fresh
/// build, the Helm chart, and at last all tests.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests, for a caller that runs them next
    #[arg(long)]
    skip_tests: bool,
}

/// The result of a step that did not fail.
enum Outcome {
    Passed,
    /// The step could not run here, for this reason.
    Skipped(String),
}

type Step = (&'static str, fn() -> Result<Outcome>);

const STEPS: [Step; 10] = [
    ("lock files", locks),
    ("format", format),
    ("clippy", clippy),
    ("clippy of the kernel program", kernel_clippy),
    ("features", features),
    ("documentation", documentation),
    ("dependencies", dependencies),
    ("advisories", advisories),
    ("kernel program's object", object),
    ("Helm chart", chart),
];

pub(crate) fn run(args: &Args) -> ExitCode {
    let mut skipped = Vec::new();
    for (number, (name, step)) in STEPS.iter().enumerate() {
        let title = format!("[{}/{}] {name}", number + 1, STEPS.len());
        announce(&title);
        let start = Instant::now();
        let result = step();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(Outcome::Passed) => announce(format_args!("{title}: passed in {seconds:.1} s")),
            Ok(Outcome::Skipped(reason)) => {
                announce(format_args!("{title}: SKIPPED: {reason}"));
                skipped.push(*name);
            }
            Err(error) => {
                announce(format_args!("{title}: failed after {seconds:.1} s: {error:#}"));
                announce(summary(number, &skipped));
                let left: Vec<_> = STEPS[number + 1..].iter().map(|(name, _)| *name).chain(["tests"]).collect();
                announce(format_args!("not run: {}", left.join(", ")));
                return ExitCode::FAILURE;
            }
        }
    }
    announce(summary(STEPS.len(), &skipped));
    // The tests run last, so that their count is the last line.
    if args.skip_tests { ExitCode::SUCCESS } else { test::run(&test::Args::default()) }
}

/// Counts the steps that were done, of which some were skipped.
fn summary(done: usize, skipped: &[&str]) -> String {
    let passed = done - skipped.len();
    let skipped = if skipped.is_empty() { String::new() } else { format!(", skipped: {}", skipped.join(", ")) };
    format!("{passed} of {} steps before the tests passed{skipped}", STEPS.len())
}

/// A change to the manifests of the workspace can leave the other lock file behind, that of the fuzz targets.
fn locks() -> Result<Outcome> {
    for manifest in [root().join("Cargo.toml"), fuzz::manifest()] {
        let mut command = cargo();
        command.args(["metadata", "--locked", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let what = || format!("`cargo update --workspace --manifest-path {}` mends its Cargo.lock", manifest.display());
        process::output(&mut command).with_context(what)?;
    }
    Ok(Outcome::Passed)
}

fn format() -> Result<Outcome> {
    for manifest in [root().join("Cargo.toml"), fuzz::manifest()] {
        process::run(cargo().args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest))?;
    }
    Ok(Outcome::Passed)
}

fn clippy() -> Result<Outcome> {
    // The feature `pages` adds the part for packagers.
    let what = ["--locked", "--workspace", "--all-targets", "--features", "tracer/pages"];
    passed(process::run(cargo().arg("clippy").args(what).args(["--", "-D", "warnings"])))
}

fn kernel_clippy() -> Result<Outcome> {
    passed(ebpf::compile::clippy())
}

/// Features of droptrace that are built without the others; no feature at all is one of them.
const FEATURES: [&str; 7] = ["", "agent", "bench", "bench,html", "html", "otlp", "top"];

fn features() -> Result<Outcome> {
    for features in FEATURES {
        let what = ["--locked", "--package", "tracer", "--lib", "--bins", "--no-default-features"];
        let mut command = cargo();
        command.arg("clippy").args(what).args(["--features", features, "--", "-D", "warnings"]);
        process::run(&mut command).with_context(|| format!("with the features [{features}] alone"))?;
    }
    Ok(Outcome::Passed)
}

fn documentation() -> Result<Outcome> {
    process::run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    passed(ebpf::compile::document())
}

fn dependencies() -> Result<Outcome> {
    if !process::succeeds(cargo().args(["deny", "--version"])) {
        bail!("cargo-deny is missing: `cargo install cargo-deny`, or let .ci/run do it");
    }
    let mut command = cargo();
    // cargo-deny uses the network only for packages that were never fetched, such as those of other systems.
    command.args(["deny", "check", "bans", "licenses", "sources"]);
    passed(process::run(&mut command).context("dependencies break a rule of deny.toml"))
}

fn advisories() -> Result<Outcome> {
    if let Err(error) = process::run(cargo().args(["deny", "fetch", "db"])) {
        return Ok(Outcome::Skipped(format!("the database of known flaws is not available here: {error:#}")));
    }
    let mut command = cargo();
    command.args(["deny", "check", "--disable-fetch", "advisories"]);
    passed(process::run(&mut command).context("a dependency has a known flaw"))
}

fn object() -> Result<Outcome> {
    passed(build_ebpf::build(true))
}

fn chart() -> Result<Outcome> {
    match kubernetes::set_up() {
        Ok(python) => passed(kubernetes::check(&python, false)),
        Err(error) => Ok(Outcome::Skipped(format!("Helm is not available here: {error:#}"))),
    }
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_step_does_not_count_as_passed() {
        let all = STEPS.len();
        let skipped = format!("8 of {all} steps before the tests passed, skipped: advisories");
        assert_eq!(summary(9, &["advisories"]), skipped);
        assert_eq!(summary(2, &[]), format!("2 of {all} steps before the tests passed"));
    }
}
