//! What is done to the kernel program: its tools are set up, it is built, stripped and checked.

pub(crate) mod compile;
mod contents;
mod library;
mod linker;
mod paths;
mod strip;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::support::cargo::{self, Toolchain};
use crate::support::process::announce;

pub(crate) use contents::Contents;

/// Where the built object is kept.
pub(crate) fn object_path() -> PathBuf {
    cargo::root().join("tracer-ebpf/droptrace.bpf.o")
}

/// What the build needs, set up.
pub(crate) struct Setup {
    /// The compiler.
    toolchain: Toolchain,
    /// The workspace's target folder.
    target_dir: PathBuf,
    /// The standard library's source.
    library: library::Source,
}

impl Setup {
    /// Finds or fetches everything but the linker, which only [`build`] needs.
    pub(crate) fn new() -> Result<Self> {
        let toolchain = Toolchain::find()?;
        let target_dir = cargo::target_dir()?;
        let library = library::find_or_fetch(&toolchain, &tools_dir(&target_dir))?;
        Ok(Self { toolchain, target_dir, library })
    }
}

fn tools_dir(target_dir: &Path) -> PathBuf {
    target_dir.join("ebpf-tools")
}

/// Builds the object afresh, strips and checks it.
pub(crate) fn build() -> Result<(Vec<u8>, Contents)> {
    let setup = Setup::new()?;
    let linker = linker::find_or_build(&setup.toolchain, &tools_dir(&setup.target_dir))?;
    let built = compile::build(&setup, &linker)?;
    let object = strip::strip(&built).context("cannot strip the object")?;
    announce(format_args!("stripped: {} bytes to {}", built.len(), object.len()));
    let contents = contents::check(&object)?;
    paths::check(&object, &paths::of_this_machine(&setup))?;
    Ok((object, contents))
}
