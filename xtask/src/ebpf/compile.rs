//! Compiles and links the kernel program with cargo, to the same bytes on every machine.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Setup;
use crate::support::cargo;
use crate::support::paths;
use crate::support::process::{self, announce};

const PACKAGE: &str = "tracer-ebpf";
const BINARY: &str = "droptrace-bpf";
/// Little-endian BPF: one object serves all little-endian machines, because the program reads no CPU registers.
const TARGET: &str = "bpfel-unknown-none";
/// The path from the workspace's manifest.
const PROFILE: &str = "bpf";

/// Builds the kernel program and returns the linked object, DWARF and all.
pub(super) fn build(setup: &Setup, linker: &Path) -> Result<Vec<u8>> {
    announce("building the kernel program");
    // This build has its own folder, because its flags differ from those of other builds, which would each invalidate
    // the other.
    let folder = cargo::root().join("target/ebpf");
    let mut command = cargo(setup, "build");
    command.args(["--profile", PROFILE]).arg("--target-dir").arg(&folder).env("RUSTC", &setup.library.rustc);
    // Instructions on 32 bits, which every kernel from 5.1 on supports.
    let options = [paths::joined("linker=", linker), "link-arg=--btf".into(), "target-cpu=v3".into()];
    let mut flags: Vec<OsString> = options.into_iter().flat_map(|option| ["-C".into(), option]).collect();
    flags.extend(paths::remap_flags()?);
    cargo::set_rustflags(&mut command, &flags)?;
    process::run(&mut command)?;
    let object = folder.join(TARGET).join(PROFILE).join(BINARY);
    fs::read(&object).with_context(|| format!("cannot read what cargo built, {}", object.display()))
}

/// Checks the kernel program with clippy, with warnings denied. The host's clippy only sees the stub for the host.
pub(crate) fn clippy() -> Result<()> {
    let setup = Setup::new()?;
    process::run(checking(&setup, "clippy").args(["--", "-D", "warnings"]))
}

/// Builds the kernel program's documentation, including private items, with warnings denied.
pub(crate) fn document() -> Result<()> {
    let setup = Setup::new()?;
    process::run(
        checking(&setup, "doc").args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// A cargo command that does not build: its flags need another folder.
fn checking(setup: &Setup, subcommand: &str) -> Command {
    let mut command = cargo(setup, subcommand);
    command.arg("--target-dir").arg(cargo::root().join("target/ebpf-check"));
    command
}

/// A cargo command for the kernel program with `core` built from source, which a stable compiler only does with
/// `RUSTC_BOOTSTRAP`.
fn cargo(setup: &Setup, subcommand: &str) -> Command {
    let mut command = cargo::cargo();
    command
        .args([subcommand, "--package", PACKAGE, "--bin", BINARY, "--target", TARGET, "-Z", "build-std=core"])
        .env("RUSTC_BOOTSTRAP", "1")
        // Without this setting, aya-ebpf's bindings depend on the building machine. The program reads no registers, so
        // that any architecture will do.
        .env("AYA_BPF_TARGET_ARCH", "x86_64")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &setup.library.path);
    command
}
