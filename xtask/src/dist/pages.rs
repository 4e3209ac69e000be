//! Manual pages and completions for shells, from the program's own command line.

use std::path::Path;

use anyhow::Result;

use crate::support::cargo::cargo;
use crate::support::process;

/// The folder of manual pages.
pub(super) const MAN: &str = "man";
/// The folder of completions.
pub(super) const COMPLETIONS: &str = "completions";

/// Writes the files into the folder.
pub(super) fn generate(folder: &Path) -> Result<()> {
    let run = ["run", "--quiet", "--locked", "--package", "tracer", "--features", "pages", "--bin", "droptrace-pages"];
    process::run(cargo().args(run).arg("--").args([folder.join(MAN), folder.join(COMPLETIONS)]))
}
