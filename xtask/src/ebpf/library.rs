//! The standard library's source, from which `core` is built for the kernel's machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::support::apt::{self, PrivateApt};
use crate::support::cargo::{self, Toolchain};
use crate::support::process::{self, announce};

/// Debian's suites that may hold the compiler's version, likeliest first.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "sid", "trixie"];

/// A source of the standard library that fits the compiler.
#[derive(Clone)]
pub(crate) struct Source {
    /// Its folder `library`.
    pub(crate) path: PathBuf,
    /// Whether it is where cargo looks by itself.
    pub(crate) in_sysroot: bool,
}

/// Looks in the toolchain, then in the build's own folder; then asks rustup, then Debian.
pub(crate) fn find_or_fetch(toolchain: &Toolchain, tools: &Path) -> Result<Source> {
    let in_sysroot = Source { path: toolchain.sysroot.join("lib/rustlib/src/rust/library"), in_sysroot: true };
    let unpacked = tools.join(format!("rust-src-{}", toolchain.release));
    let own = Source { path: unpacked.join(format!("usr/src/rustc-{}/library", toolchain.release)), in_sysroot: false };
    for source in [&in_sysroot, &own] {
        if is_library(&source.path) {
            announce(format_args!("the standard library's source is there: {}", source.path.display()));
            return Ok(source.clone());
        }
    }
    let Err(by_rustup) = from_rustup(&in_sysroot.path) else { return Ok(in_sysroot) };
    announce(format_args!("{by_rustup:#}"));
    let Err(by_apt) = from_debian(toolchain, tools, &unpacked, &own.path) else { return Ok(own) };
    bail!(
        "no source of the standard library for Rust {}: {by_rustup:#}; Debian: {by_apt:#}. \
         Add it with `rustup component add rust-src` where the network allows",
        toolchain.release
    )
}

fn is_library(path: &Path) -> bool {
    path.join("core/src/lib.rs").is_file()
}

fn from_rustup(library: &Path) -> Result<()> {
    announce("fetching the standard library's source: rustup component add rust-src");
    let mut command = Command::new("rustup");
    process::run(command.args(["component", "add", "rust-src"]).current_dir(cargo::root()))?;
    if !is_library(library) {
        bail!("rustup added rust-src, but {} is not there: the compiler in use is another", library.display());
    }
    Ok(())
}

fn from_debian(toolchain: &Toolchain, tools: &Path, unpacked: &Path, library: &Path) -> Result<()> {
    if !apt::available() {
        bail!("this machine has no apt");
    }
    // A `+` parts the compiler's version from Debian's.
    let version = format!("{}+", toolchain.release);
    let package = PrivateApt::new(&tools.join("apt"))?.download("rust-src", &version, &SUITES)?;
    // In two steps, so that half an unpacked package is never taken for a whole one.
    let partial = tools.join("rust-src.partial");
    for folder in [&partial, unpacked] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    announce("unpacking it");
    process::run(Command::new("dpkg").arg("-x").args([&package, &partial]))?;
    fs::rename(&partial, unpacked).with_context(|| format!("cannot move it to {}", unpacked.display()))?;
    if !is_library(library) {
        bail!("Debian's package holds no {}", library.display());
    }
    Ok(())
}
