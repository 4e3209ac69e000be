//! The subcommand `dist`: builds the files for distribution.

mod binary;
mod deb;
mod pages;
mod proof;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::support::cargo;
use crate::support::process::{self, announce};

/// The version of all packages of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The programs that are built: one for hosts, and one for their operator.
const PROGRAMS: [&str; 2] = ["droptrace", "droptrace-fleet"];
/// The packages of [`PROGRAMS`].
const PACKAGES: [&str; 2] = ["tracer", "droptrace-fleet"];
const SUMS: &str = "SHA256SUMS";

/// Builds the files for distribution in target/dist: static binaries that run on any distribution, manual pages,
/// completions for shells, Debian's package, and SHA-256 sums.
///
/// Shows that the binary needs only a kernel: it runs in an empty folder (as root), and in a machine under QEMU without
/// other files. Steps that cannot run here are SKIPPED, with the reason.
#[derive(clap::Args)]
pub(crate) struct Args {
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
    let target = binary::target()?;
    for (package, name) in PACKAGES.into_iter().zip(PROGRAMS) {
        let program = folder.join(name);
        install(&binary::build(package, name, &target)?, &program, EXECUTABLE)?;
        binary::check(&program)?;
    }
    let program = folder.join("droptrace");
    pages::generate(&folder)?;
    let mut files: Vec<_> = PROGRAMS.map(PathBuf::from).into();
    match deb::build(&folder, &target)? {
        Ok(package) => files.push(package),
        Err(reason) => steps.skip("Debian's package", reason),
    }
    sum(&folder, &files)?;
    proof::in_an_empty_folder(&program, &mut steps)?;
    if args.kernel == "none" {
        steps.skip("a machine without other files", "not wanted (--kernel none)");
    } else {
        proof::in_a_bare_machine(&args.kernel, &program, &target, &mut steps)?;
    }
    for file in files.iter().chain([&PathBuf::from(SUMS)]) {
        let path = folder.join(file);
        announce(format_args!("{}: {} bytes", path.display(), fs::metadata(&path)?.len()));
    }
    announce(format_args!("done, {} skipped", steps.skipped.len()));
    Ok(ExitCode::SUCCESS)
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
