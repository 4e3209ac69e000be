//! The subcommand `fuzz`.

use std::ffi::OsString;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::support::cargo::{self, Toolchain};
use crate::support::process::{self, announce};
use crate::support::{apt, paths};

/// The most memory that a reader may use for hostile bytes, in MiB.
const MEMORY: u32 = 2048;
/// The most time that a reader may use for them, in seconds.
const PATIENCE: u32 = 60;
/// The flags that libFuzzer needs to see the branches of the code (`cargo-fuzz` sets the same, and sanitizers that find
/// nothing in safe code).
const COVERAGE: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Feeds hostile bytes to the readers of what comes from outside, as `tracer/fuzz` has them.
///
/// Each target starts with its seeds and with the findings of earlier runs (`target/fuzz/corpus`). Bytes that make a
/// reader panic, hang or use too much memory are kept in `target/fuzz/artifacts`, and the command fails.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Targets that run at a time
    #[arg(long, value_name = "N", default_value = "2")]
    jobs: NonZero<usize>,
    /// Targets, such as snapshot or recording [default: all]
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let all = targets()?;
    if let Some(unknown) = args.targets.iter().find(|target| !all.contains(target)) {
        bail!("no target `{unknown}`; the targets are {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() { &all } else { &args.targets };
    fuzz(chosen, args)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs fuzz targets, some of them in parallel.
fn fuzz(targets: &[impl AsRef<str>], &Args { seconds, jobs, .. }: &Args) -> Result<()> {
    let binaries = build()?;
    let mut failed = Vec::new();
    for some in targets.chunks(jobs.get()) {
        let running =
            some.iter().map(|target| start(&binaries, target.as_ref(), seconds)).collect::<Result<Vec<_>>>()?;
        for (target, mut child) in some.iter().map(AsRef::as_ref).zip(running) {
            let status = child.wait().with_context(|| format!("fuzzing {target}"))?;
            let said = fs::read(log(target)).with_context(|| format!("reading the output of {target}"))?;
            let said = String::from_utf8_lossy(&said);
            let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            let Some(runs) = runs.filter(|_| status.success()) else {
                announce(format_args!("{target} failed:\n{said}"));
                failed.push(target);
                continue;
            };
            announce(format_args!("{target}: {} runs in {seconds} s, nothing found", runs.trim()));
        }
    }
    ensure!(failed.is_empty(), "readers that failed on hostile bytes: {}", failed.join(", "));
    Ok(())
}

fn folder() -> PathBuf {
    cargo::root().join("tracer/fuzz")
}

/// The targets are no member of the workspace, because only they need libFuzzer; they have a lock file of their own.
pub(crate) fn manifest() -> PathBuf {
    folder().join("Cargo.toml")
}

fn targets() -> Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let names = paths.iter().filter_map(|path| path.file_stem()?.to_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// Builds all targets, and returns their folder.
fn build() -> Result<PathBuf> {
    if process::find_program("c++").is_none() {
        apt::install(&["g++"]).context("libFuzzer needs a C++ compiler")?;
    }
    announce("building the fuzz targets");
    let target = work();
    let host = Toolchain::find()?.host;
    let mut command = cargo::cargo();
    // With an explicit target, the flags do not apply to build scripts.
    command.args(["build", "--release", "--locked", "--target", &host, "--target-dir"]).arg(&target);
    command.arg("--manifest-path").arg(manifest());
    let mut flags: Vec<OsString> = COVERAGE.map(OsString::from).to_vec();
    flags.extend(paths::remap_flags()?);
    cargo::set_rustflags(&mut command, &flags)?;
    process::run(&mut command)?;
    Ok(target.join(host).join("release"))
}

fn work() -> PathBuf {
    cargo::root().join("target/fuzz")
}

/// The output of a fuzzer goes to a file, because a pipe without a reader would block the fuzzer.
fn log(target: &str) -> PathBuf {
    work().join("artifacts").join(format!("{target}.log"))
}

fn start(binaries: &Path, target: &str, seconds: u32) -> Result<Child> {
    let work = work();
    let (corpus, artifacts) = (work.join("corpus").join(target), work.join("artifacts"));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut command = Command::new(binaries.join(target));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-rss_limit_mb={MEMORY}"));
    command.arg(format!("-timeout={PATIENCE}")).arg("-print_final_stats=1");
    command.arg(paths::joined("-artifact_prefix=", &artifacts.join(format!("{target}-")))).arg(corpus);
    let seeds = folder().join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    announce(format_args!("fuzzing {target} for {seconds} s"));
    let log = fs::File::create(log(target)).with_context(|| format!("making {}", log(target).display()))?;
    command.stdout(Stdio::null()).stderr(log);
    command.spawn().with_context(|| format!("cannot start {}", process::line(&command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_a_binary_of_the_manifest() {
        let manifest = fs::read_to_string(manifest()).unwrap();
        for target in targets().unwrap() {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
        }
    }
}
