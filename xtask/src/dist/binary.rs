//! Static binaries, which contain the C library.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{ElfFile, ProgramHeader};
use object::{Endianness, Object};

use crate::support::cargo::{self, Toolchain};
use crate::support::paths;

/// The environment of the target: GNU's C library can be linked statically, too.
pub(super) fn target() -> Result<String> {
    let host = Toolchain::find()?.host;
    if !host.ends_with("-linux-gnu") {
        bail!("static binaries are built on machines with GNU's C library; this is {host}");
    }
    Ok(host)
}

/// Builds one binary of the workspace, optimized.
pub(super) fn build(package: &str, binary: &str, target: &str) -> Result<PathBuf> {
    let mut flags: Vec<OsString> = vec!["-C".into(), "target-feature=+crt-static".into()];
    flags.extend(paths::remap_flags()?);
    // The build needs the standard library's source, where it is installed.
    flags.push(paths::remap_flag(&Toolchain::find()?.sysroot, "/remapped/rust"));
    // With an explicit target, the flags do not apply to code that runs during the build: macros cannot be static.
    cargo::build_binary_with(&flags, package, binary, &["--release", "--locked", "--target", target])
}

/// Fails if the binary needs a loader, and with it libraries, or contains paths of this machine.
pub(super) fn check(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if let Some(loader) = loader(&bytes)? {
        bail!("{} is not static: it asks for {loader}", binary.display());
    }
    paths::check(&bytes, &paths::of_this_machine(&[&Toolchain::find()?.sysroot]))
}

/// The program that the kernel would start to load libraries.
fn loader(bytes: &[u8]) -> Result<Option<String>> {
    let elf = ElfFile::<FileHeader64<Endianness>>::parse(bytes).context("not a program")?;
    let asks = |header: &&object::elf::ProgramHeader64<Endianness>| header.p_type(elf.endianness()) == PT_INTERP;
    let Some(header) = elf.elf_program_headers().iter().find(asks) else { return Ok(None) };
    let name = header.data(elf.endianness(), bytes).unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_with_libraries_is_an_error() {
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(loader(&this).unwrap().is_some_and(|loader| loader.contains("/ld")));
        assert!(loader(b"#!/bin/sh").is_err());
    }
}
