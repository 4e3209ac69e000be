//! Prometheus and promtool for tests: this machine's own, or Debian's in a folder of ours, where no service starts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateApt};
use super::cargo;
use super::process;

/// Debian's packages have the names of both programs.
const PROGRAMS: [&str; 2] = ["prometheus", "promtool"];

/// The first version that accepts pushes by OTLP.
const LEAST_VERSION: (u32, u32) = (2, 47);

/// The first suite with such a version. Its programs need no newer C library than bookworm's.
const SUITE: &str = "trixie";

/// Keeps the programs of this machine if they are new enough, else fetches them.
pub(crate) fn set_up() -> Result<()> {
    let folder = cargo::root().join("target/prometheus");
    let own = PROGRAMS.map(|program| folder.join("usr/bin").join(program));
    if PROGRAMS.iter().all(|program| process::find_program(program).is_some_and(suffices)) || own.iter().all(suffices) {
        return Ok(());
    }
    fetch(&folder)?;
    match own.into_iter().find(|program| !suffices(program)) {
        None => Ok(()),
        Some(program) => bail!("{} does not start here", program.display()),
    }
}

fn fetch(folder: &Path) -> Result<()> {
    if !apt::available() {
        bail!("this machine has no apt to fetch it by");
    }
    let apt = PrivateApt::new(&folder.with_file_name("apt-prometheus"))?;
    apt.list(&[SUITE])?;
    apt.unpack(&PROGRAMS, folder).context("cannot fetch Prometheus")
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
