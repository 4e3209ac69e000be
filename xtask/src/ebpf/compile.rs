//! Cargo's part: the kernel program compiled and linked, the same to the byte wherever it is done.

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
/// Little-endian BPF: one object serves all little-endian machines, for the program reads no CPU registers.
const TARGET: &str = "bpfel-unknown-none";
/// Of the workspace's manifest.
const PROFILE: &str = "bpf";

/// Builds the kernel program and returns the linked object, DWARF and all.
pub(super) fn build(setup: &Setup, linker: &Path) -> Result<Vec<u8>> {
    announce("building the kernel program");
    // A folder of its own: the other builds' flags differ, and would undo this one's work.
    let folder = cargo::root().join("target/ebpf");
    let mut command = cargo(setup, "build");
    command.args(["--profile", PROFILE]).arg("--target-dir").arg(&folder).env("RUSTC", &setup.library.rustc);
    // Instructions on 32 bits, which every kernel from 5.1 on has.
    let options = [paths::joined("linker=", linker), "link-arg=--btf".into(), "target-cpu=v3".into()];
    let mut flags: Vec<OsString> = options.into_iter().flat_map(|option| ["-C".into(), option]).collect();
    flags.extend(paths::remap_flags()?);
    cargo::set_rustflags(&mut command, &flags)?;
    process::run(&mut command)?;
    let object = folder.join(TARGET).join(PROFILE).join(BINARY);
    fs::read(&object).with_context(|| format!("cannot read what cargo built, {}", object.display()))
}

/// Looks at the kernel program with clippy, warnings denied. The host's clippy sees only its empty other half.
pub(crate) fn clippy() -> Result<()> {
    let setup = Setup::new()?;
    process::run(checking(&setup, "clippy").args(["--", "-D", "warnings"]))
}

/// Makes the kernel program's documentation, all of it, warnings denied.
pub(crate) fn document() -> Result<()> {
    let setup = Setup::new()?;
    process::run(
        checking(&setup, "doc").args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Cargo at work without building: in another folder, for its own flags.
fn checking(setup: &Setup, subcommand: &str) -> Command {
    let mut command = cargo(setup, subcommand);
    command.arg("--target-dir").arg(cargo::root().join("target/ebpf-check"));
    command
}

/// Cargo at work on the kernel program with `core` built from source, which a stable compiler does only when told to.
fn cargo(setup: &Setup, subcommand: &str) -> Command {
    let mut command = cargo::cargo();
    command
        .args([subcommand, "--package", PACKAGE, "--bin", BINARY, "--target", TARGET, "-Z", "build-std=core"])
        .env("RUSTC_BOOTSTRAP", "1")
        // aya-ebpf's bindings go by the building machine otherwise. The program reads no registers: any will do.
        .env("AYA_BPF_TARGET_ARCH", "x86_64")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &setup.library.path);
    command
}
