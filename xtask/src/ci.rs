//! `ci`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::support::cargo::cargo;
use crate::support::process::{self, announce};
use crate::{build_ebpf, ebpf, test};

/// Runs everything that a change must pass; stops at the first step that fails.
///
/// Formatting, clippy on the host's code and on the kernel program's, documentation without warnings, cargo-deny,
/// whether the object that is checked in is what its source gives, and at last all tests.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests, for a caller that runs them next
    #[arg(long)]
    skip_tests: bool,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 7] = [
    ("format", format),
    ("clippy", clippy),
    ("clippy of the kernel program", ebpf::compile::clippy),
    ("documentation", documentation),
    ("dependencies", dependencies),
    ("advisories", advisories),
    ("kernel program's object", object),
];

pub(crate) fn run(args: &Args) -> ExitCode {
    for (number, (name, step)) in STEPS.iter().enumerate() {
        announce(format_args!("[{}/{}] {name}", number + 1, STEPS.len()));
        let start = Instant::now();
        let result = step();
        let seconds = start.elapsed().as_secs_f64();
        if let Err(error) = result {
            announce(format_args!("[{}/{}] {name}: failed after {seconds:.1} s: {error:#}", number + 1, STEPS.len()));
            let left: Vec<_> = STEPS[number + 1..].iter().map(|(name, _)| *name).collect();
            announce(format_args!("{number} steps passed; not run: {}", [&left[..], &["tests"]].concat().join(", ")));
            return ExitCode::FAILURE;
        }
        announce(format_args!("[{}/{}] {name}: passed in {seconds:.1} s", number + 1, STEPS.len()));
    }
    announce(format_args!("all {} steps before the tests passed", STEPS.len()));
    // Last, so that its count is the last line.
    if args.skip_tests { ExitCode::SUCCESS } else { test::run(&test::Args {}) }
}

fn format() -> Result<()> {
    process::run(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    // Locked: a Cargo.lock that lags behind the manifests is found here.
    process::run(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    process::run(cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn dependencies() -> Result<()> {
    if !process::succeeds(cargo().args(["deny", "--version"])) {
        bail!("cargo-deny is missing: `cargo install cargo-deny`, or let .ci/run do it");
    }
    process::run(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))
        .context("dependencies break a rule of deny.toml")
}

fn advisories() -> Result<()> {
    if let Err(error) = process::run(cargo().args(["deny", "fetch", "db"])) {
        announce(format_args!("SKIPPED advisories: their database cannot be had here: {error:#}"));
        return Ok(());
    }
    process::run(cargo().args(["deny", "check", "--disable-fetch", "advisories"]))
        .context("a dependency has a known flaw")
}

fn object() -> Result<()> {
    build_ebpf::build(true)
}
