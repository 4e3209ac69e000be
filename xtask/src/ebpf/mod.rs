//! Prepares, builds, strips and checks the kernel program.

pub(crate) mod compile;
mod contents;
mod linker;
mod strip;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::support::cargo::{self, Toolchain};
use crate::support::library::{self, Library};
use crate::support::paths;
use crate::support::process::announce;

pub(crate) use contents::Contents;

/// The path of the checked-in object.
pub(crate) fn object_path() -> PathBuf {
    cargo::root().join("tracer-ebpf/droptrace.bpf.o")
}

/// The tools of the build.
pub(crate) struct Setup {
    /// The compiler.
    toolchain: Toolchain,
    /// The standard library's source.
    library: Library,
}

impl Setup {
    /// Finds or fetches everything except the linker, which only [`build`] needs.
    pub(crate) fn new() -> Result<Self> {
        let toolchain = Toolchain::find()?;
        let library = Library::set_up(&toolchain, &library::folder())?;
        Ok(Self { toolchain, library })
    }
}

/// Builds the object afresh, strips and checks it.
pub(crate) fn build() -> Result<(Vec<u8>, Contents)> {
    let setup = Setup::new()?;
    let linker = linker::find_or_build(&setup.toolchain, &library::folder())?;
    let built = compile::build(&setup, &linker)?;
    let object = strip::strip(&built).context("cannot strip the object")?;
    announce(format_args!("stripped: {} bytes to {}", built.len(), object.len()));
    let contents = contents::check(&object)?;
    paths::check(&object, &paths::of_this_machine(&[&setup.toolchain.sysroot, &setup.library.path]))?;
    Ok((object, contents))
}
