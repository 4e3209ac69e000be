//! `VictoriaMetrics` for tests of pushes by OTLP, because Debian builds Prometheus without the OTLP receiver.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateApt};
use super::cargo;
use super::process;

const PROGRAM: &str = "victoria-metrics";

/// The first suite whose version accepts OTLP. It needs no newer C library than bookworm's.
const SUITE: &str = "trixie";

/// Keeps the program of this machine, else fetches it into Prometheus' folder.
pub(crate) fn set_up() -> Result<()> {
    let folder = cargo::root().join("target/prometheus");
    let own = folder.join("usr/bin").join(PROGRAM);
    if process::find_program(PROGRAM).is_some() || starts(&own) {
        return Ok(());
    }
    if !apt::available() {
        bail!("this machine has no apt to fetch it by");
    }
    let apt = PrivateApt::new(&folder.with_file_name("apt-prometheus"))?;
    apt.list(&[SUITE])?;
    apt.unpack(&[PROGRAM], &folder).context("cannot fetch VictoriaMetrics")?;
    if starts(&own) { Ok(()) } else { bail!("{} does not start here", own.display()) }
}

fn starts(program: &Path) -> bool {
    program.exists() && process::output(Command::new(program).arg("--version")).is_ok()
}
