//! Prometheus and its tool, where this machine has them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::trials::Unable;

/// `prometheus` or `promtool`: what `cargo xtask test` fetched, else the one installed.
///
/// # Errors
/// [`Unable`] when there is none that starts.
pub fn program(name: &str) -> Result<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/prometheus/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let starts =
        |program: &PathBuf| Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success());
    let found = [fetched].into_iter().chain(env::split_paths(&path)).map(|folder| folder.join(name)).find(starts);
    Ok(found.ok_or_else(|| Unable(format!("no {name}: cargo xtask test fetches it, where there is apt")))?)
}
