//! What is done to the kernel program: its tools are set up, it is built, stripped and checked.

pub(crate) mod compile;
mod contents;
mod library;
mod linker;
mod strip;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::support::cargo::{self, Toolchain};
use crate::support::paths;
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
    /// The standard library's source.
    library: library::Library,
}

impl Setup {
    /// Finds or fetches everything but the linker, which only [`build`] needs.
    pub(crate) fn new() -> Result<Self> {
        let toolchain = Toolchain::find()?;
        let library = library::Library::set_up(&toolchain, &tools_dir())?;
        Ok(Self { toolchain, library })
    }
}

/// Where the tools are kept: within the checkout, wherever cargo's other builds go, so that one remapped prefix covers
/// them.
fn tools_dir() -> PathBuf {
    cargo::root().join("target/ebpf-tools")
}

/// Builds the object afresh, strips and checks it.
pub(crate) fn build() -> Result<(Vec<u8>, Contents)> {
    let setup = Setup::new()?;
    let linker = linker::find_or_build(&setup.toolchain, &tools_dir())?;
    let built = compile::build(&setup, &linker)?;
    let object = strip::strip(&built).context("cannot strip the object")?;
    announce(format_args!("stripped: {} bytes to {}", built.len(), object.len()));
    let contents = contents::check(&object)?;
    paths::check(&object, &paths::of_this_machine(&[&setup.toolchain.sysroot, &setup.library.path]))?;
    Ok((object, contents))
}
