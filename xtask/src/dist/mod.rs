//! The subcommand `dist`: builds the files for distribution.

mod binary;
mod deb;
mod layout;
mod pages;
mod proof;
mod rpm;
mod sbom;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::support::architecture::Architecture;
use crate::support::cargo;
use crate::support::process::{self, announce};
use binary::Target;

/// The version of all packages of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The programs that are built: one for hosts, and one for their operator.
const PROGRAMS: [&str; 2] = ["droptrace", "droptrace-fleet"];
/// The packages of [`PROGRAMS`].
const PACKAGES: [&str; 2] = ["tracer", "droptrace-fleet"];
const SUMS: &str = "SHA256SUMS";

/// Builds the files for distribution in target/dist: static binaries that run on any distribution, manual pages,
/// completions for shells, packages for Debian and for RPM, software bills of materials (CycloneDX), and SHA-256 sums.
/// Binaries for another architecture than this machine's are in a folder of its name.
///
/// Shows that the binary needs only a kernel: it runs in an empty folder (as root), and in a machine under QEMU without
/// other files. Steps that cannot run here are SKIPPED, with the reason.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Target to build for: x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu, or their architecture alone. Several are
    /// parted by commas [default: this machine's]
    ///
    /// A cross-compiler is fetched from Debian into the target folder, and Rust's standard library is built from its source.
    #[arg(long = "target", value_delimiter = ',', value_name = "TARGET")]
    targets: Vec<Architecture>,
    /// Series of the kernel that the machine runs, or `none` to leave it out
    #[arg(long, default_value = "6.12")]
    kernel: String,
}

/// The steps that were done, and those that could not run here.
#[derive(Debug, Default)]
struct Steps {
    skipped: Vec<String>,
}

impl Steps {
    fn skip(&mut self, name: &str, reason: impl std::fmt::Display) {
        announce(format_args!("SKIPPED {name}: {reason}"));
        self.skipped.push(name.to_owned());
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::default();
    let folder = cargo::root().join("target/dist");
    empty(&folder)?;
    pages::generate(&folder)?;
    let targets = chosen(&args.targets)?.into_iter().map(Target::set_up).collect::<Result<Vec<_>>>()?;
    let mut files = Vec::new();
    for target in &targets {
        files.extend(build(&folder, target, &mut steps)?);
    }
    sum(&folder, &files)?;
    for target in &targets {
        prove(&folder, target, &args.kernel, &mut steps)?;
    }
    for file in files.iter().chain([&PathBuf::from(SUMS)]) {
        let path = folder.join(file);
        announce(format_args!("{}: {} bytes", path.display(), fs::metadata(&path)?.len()));
    }
    announce(format_args!("done, {} skipped", steps.skipped.len()));
    Ok(ExitCode::SUCCESS)
}

/// Each architecture once; this machine's if none is named.
fn chosen(named: &[Architecture]) -> Result<BTreeSet<Architecture>> {
    if named.is_empty() { Ok([Architecture::host()?].into()) } else { Ok(named.iter().copied().collect()) }
}

/// The folder of a target's programs, within that of all files.
fn programs(target: &Target) -> PathBuf {
    PathBuf::from(if target.is_here() { "" } else { target.architecture.name() })
}

/// Builds the programs and the package for one target; the names of the files in the folder.
fn build(folder: &Path, target: &Target, steps: &mut Steps) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (package, name) in PACKAGES.into_iter().zip(PROGRAMS) {
        let file = programs(target).join(name);
        let program = folder.join(&file);
        install(&target.build(package, name)?, &program, EXECUTABLE)?;
        target.check(&program)?;
        files.push(file);
    }
    let (programs, architecture) = (programs(target), target.architecture);
    let packages = [
        ("Debian's package", deb::build(folder, &programs, architecture)?),
        ("the RPM package", rpm::build(folder, &programs, architecture)?),
    ];
    for (name, package) in packages {
        match package {
            Ok(package) => files.push(package),
            Err(reason) => steps.skip(name, reason),
        }
    }
    match sbom::build(folder, &programs, architecture)? {
        Ok(bills) => {
            sbom::check(folder, &bills, steps)?;
            files.extend(bills);
        }
        Err(reason) => steps.skip("bills of materials", reason),
    }
    Ok(files)
}

/// Shows that the program runs.
fn prove(folder: &Path, target: &Target, kernel: &str, steps: &mut Steps) -> Result<()> {
    let program = folder.join(programs(target)).join("droptrace");
    proof::in_an_empty_folder(&program, target, steps)?;
    if kernel == "none" {
        steps.skip("a machine without other files", "not wanted (--kernel none)");
        return Ok(());
    }
    proof::in_a_bare_machine(kernel, &program, target, steps)
}

const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// Creates an empty folder.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    folder_for_all(folder)
}

/// Creates a folder and its parents, which all users may read whatever this user's mask is.
fn folder_for_all(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), folder_for_all)?;
    fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    set_mode(folder, EXECUTABLE)
}

/// A copy with this mode.
fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, &bytes, mode)
}

fn write(to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    to.parent().map_or(Ok(()), folder_for_all)?;
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    set_mode(to, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// Writes the sums, as `sha256sum --check` reads them.
fn sum(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let sums = process::output(Command::new("sha256sum").current_dir(folder).args(files))?;
    write(&folder.join(SUMS), sums.as_bytes(), PLAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_built_once() {
        let [here, x86, arm] = [Architecture::host().unwrap(), Architecture::X86_64, Architecture::Aarch64];
        assert_eq!(chosen(&[]).unwrap(), [here].into());
        assert_eq!(chosen(&[arm, x86, arm]).unwrap(), [x86, arm].into());
    }

    #[test]
    fn sums_are_those_of_the_files() {
        let folder = std::env::temp_dir().join(format!("xtask-sums-{}", std::process::id()));
        empty(&folder).unwrap();
        write(&folder.join("empty"), b"", PLAIN).unwrap();
        sum(&folder, &["empty".into()]).unwrap();
        let sums = fs::read_to_string(folder.join(SUMS)).unwrap();
        assert_eq!(sums, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty\n");
        assert!(sum(&folder, &["absent".into()]).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
