//! Prometheus, promtool and Alertmanager for tests: this machine's own, or Debian's in a folder of ours, where no service starts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateApt};
use super::cargo;
use super::process;

/// Debian's packages have the names of these programs.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// Alertmanager's program and package, of which each version has the API that is used.
const ALERTMANAGER: &str = "prometheus-alertmanager";

/// The first version that accepts pushes by OTLP.
const LEAST_VERSION: (u32, u32) = (2, 47);

/// The first suite with such a version. Its programs need no newer C library than bookworm's.
const SUITE: &str = "trixie";

/// Keeps Alertmanager of this machine, else fetches it.
pub(crate) fn set_up_alertmanager() -> Result<()> {
    let folder = cargo::root().join("target/prometheus");
    let starts = |program: &Path| process::output(Command::new(program).arg("--version")).is_ok();
    let own = folder.join("usr/bin").join(ALERTMANAGER);
    if process::find_program(ALERTMANAGER).is_some() || starts(&own) {
        return Ok(());
    }
    fetch(&[ALERTMANAGER], &folder)?;
    if starts(&own) { Ok(()) } else { bail!("{} does not start here", own.display()) }
}

/// Keeps the programs of this machine if they are new enough, else fetches them.
pub(crate) fn set_up() -> Result<()> {
    let folder = cargo::root().join("target/prometheus");
    let own = PROGRAMS.map(|program| folder.join("usr/bin").join(program));
    if PROGRAMS.iter().all(|program| process::find_program(program).is_some_and(suffices)) || own.iter().all(suffices) {
        return Ok(());
    }
    fetch(&PROGRAMS, &folder)?;
    match own.into_iter().find(|program| !suffices(program)) {
        None => Ok(()),
        Some(program) => bail!("{} does not start here", program.display()),
    }
}

fn fetch(packages: &[&str], folder: &Path) -> Result<()> {
    if !apt::available() {
        bail!("this machine has no apt to fetch it by");
    }
    let apt = PrivateApt::new(&folder.with_file_name("apt-prometheus"))?;
    apt.list(&[SUITE])?;
    apt.unpack(packages, folder).with_context(|| format!("cannot fetch {}", packages.join(", ")))
}

fn suffices(program: impl AsRef<Path>) -> bool {
    let program = program.as_ref();
    let version = || process::output(Command::new(program).arg("--version"));
    program.exists() && version().is_ok_and(|text| version_in(&text).is_some_and(|version| version >= LEAST_VERSION))
}

/// (2, 53) of `prometheus, version 2.53.3+ds1 (branch: …)`.
fn version_in(text: &str) -> Option<(u32, u32)> {
    let (_, rest) = text.split_once("version ")?;
    let mut numbers = rest.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(version_in("prometheus, version 2.53.3+ds1 (branch: debian/sid)\n"), Some((2, 53)));
        assert_eq!(version_in("promtool, version 3.0.1\n"), Some((3, 0)));
        assert_eq!(version_in("prometheus"), None);
    }
}
