//! Manual pages and completions for shells, from the command line as the program understands it.

use std::path::Path;

use anyhow::Result;

use crate::support::cargo::cargo;
use crate::support::process;

/// Where in the folder manual pages go.
pub(super) const MAN: &str = "man";
/// Where in the folder completions go.
pub(super) const COMPLETIONS: &str = "completions";

/// Writes them into the folder.
pub(super) fn generate(folder: &Path) -> Result<()> {
    let run = ["run", "--quiet", "--locked", "--package", "tracer", "--features", "pages", "--bin", "droptrace-pages"];
    process::run(cargo().args(run).arg("--").args([folder.join(MAN), folder.join(COMPLETIONS)]))
}
