//! Packages from Python's index, in folders of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::process::{self, announce};

/// Installs packages of these versions (`name==1.2`, perhaps with extras) into a virtual environment, unless they are there; returns
/// its interpreter.
///
/// # Errors
/// There is no suitable Python here, or the packages cannot be fetched or do not run on this machine.
pub(crate) fn set_up(folder: &Path, packages: &[&str], modules: &[&str], options: &[&str]) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    if is_set_up(&python, packages, modules) {
        return Ok(python);
    }
    let Some(system) = process::find_program("python3") else { bail!("python3 is missing") };
    let names = packages.join(", ");
    announce(format_args!("installing {names} into {}", folder.display()));
    process::output(Command::new(system).args(["-m", "venv", "--clear"]).arg(folder))
        .context("cannot create a virtual environment: install python3-venv")?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"];
    process::output(Command::new(&python).args(install).args(options).args(packages))
        .with_context(|| format!("cannot install {names}"))?;
    if is_set_up(&python, packages, modules) { Ok(python) } else { bail!("{names} does not run here") }
}

/// Returns whether the interpreter has the packages in these versions, and can load the modules.
fn is_set_up(python: &Path, packages: &[&str], modules: &[&str]) -> bool {
    let pairs: Vec<_> = packages.iter().map(|package| name_and_version(package)).collect();
    let script = format!(
        "import {}, sys\nfrom importlib.metadata import version\nsys.exit(any(version(n) != v for n, v in {}))",
        modules.join(", "),
        tuples(&pairs)
    );
    python.exists() && process::succeeds(Command::new(python).args(["-c", &script]))
}

/// The parts of `name[extra]==1.2`, without the extras.
fn name_and_version(package: &str) -> (&str, &str) {
    let (name, version) = package.split_once("==").unwrap_or_default();
    (name.split_once('[').map_or(name, |(name, _)| name), version)
}

/// A list of pairs in Python's syntax.
fn tuples(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    format!("[{}]", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_compared_by_version() {
        assert_eq!(name_and_version("a[x]==1.2"), ("a", "1.2"));
        assert_eq!(tuples(&[("a", "1"), ("b", "2")]), "[('a', '1'), ('b', '2')]");
        assert!(!is_set_up(Path::new("/no such interpreter"), &["a==1"], &["a"]));
    }
}
