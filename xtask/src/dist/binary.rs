//! Static binaries, which contain the C library.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{ElfFile, FileHeader, ProgramHeader};
use object::{Endianness, Object};

use crate::support::architecture::Architecture;
use crate::support::cargo::{self, Toolchain};
use crate::support::cross::{Cross, STATIC};
use crate::support::paths;

/// What binaries are built for. The environment is GNU's: its C library can be linked statically, too.
pub(super) struct Target {
    pub(super) architecture: Architecture,
    /// Absent if it is this machine's architecture.
    cross: Option<Cross>,
}

impl Target {
    /// Finds or fetches the compiler.
    pub(super) fn set_up(architecture: Architecture) -> Result<Self> {
        let is_here = architecture == Architecture::host()?;
        let host = Toolchain::find()?.host;
        if is_here && !host.ends_with("-linux-gnu") {
            bail!("static binaries are built on machines with GNU's C library; this is {host}");
        }
        let cross = if is_here { None } else { Some(Cross::set_up(architecture)?) };
        Ok(Self { architecture, cross })
    }

    /// Whether this machine's processor executes the binaries.
    pub(super) fn is_here(&self) -> bool {
        self.cross.is_none()
    }

    /// Builds one binary of the workspace, optimized.
    pub(super) fn build(&self, package: &str, binary: &str) -> Result<PathBuf> {
        let mut flags: Vec<OsString> = STATIC.map(OsString::from).into();
        flags.extend(paths::remap_flags()?);
        // The build needs the standard library's source, where it is installed.
        flags.push(paths::remap_flag(&Toolchain::find()?.sysroot, "/remapped/rust"));
        let mut command = cargo::build(package, binary);
        cargo::set_rustflags(&mut command, &flags)?;
        command.args(["--release", "--locked"]);
        match &self.cross {
            Some(cross) => cross.direct(&mut command),
            // With an explicit target, the flags do not apply to code that runs during the build: macros cannot be static.
            None => _ = command.args(["--target", self.architecture.target()]),
        }
        cargo::built(command, binary)
    }

    /// Fails if the binary is for other processors, needs a loader, and with it libraries, or contains paths of this machine.
    pub(super) fn check(&self, binary: &Path) -> Result<()> {
        let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
        let (machine, loader) = head(&bytes)?;
        let expected = self.architecture.elf();
        ensure!(machine == expected, "{} is for the machine {machine}, not {expected}", binary.display());
        if let Some(loader) = loader {
            bail!("{} is not static: it asks for {loader}", binary.display());
        }
        paths::check(&bytes, &paths::of_this_machine(&[&Toolchain::find()?.sysroot]))
    }
}

/// The number of the machine that a program is for, and the program that the kernel would start to load libraries.
fn head(bytes: &[u8]) -> Result<(u16, Option<String>)> {
    let elf = ElfFile::<FileHeader64<Endianness>>::parse(bytes).context("not a program")?;
    let machine = elf.elf_header().e_machine(elf.endianness());
    let asks = |header: &&object::elf::ProgramHeader64<Endianness>| header.p_type(elf.endianness()) == PT_INTERP;
    let Some(header) = elf.elf_program_headers().iter().find(asks) else { return Ok((machine, None)) };
    let name = header.data(elf.endianness(), bytes).unwrap_or_default();
    Ok((machine, Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_with_libraries_or_for_another_machine_is_an_error() {
        let this = std::env::current_exe().unwrap();
        let (machine, loader) = head(&fs::read(&this).unwrap()).unwrap();
        let host = Architecture::host().unwrap();
        assert_eq!(machine, host.elf());
        assert!(loader.is_some_and(|loader| loader.contains("/ld")));
        assert!(head(b"#!/bin/sh").is_err());
        for architecture in Architecture::ALL {
            let error = Target { architecture, cross: None }.check(&this).unwrap_err().to_string();
            let expected = if architecture == host { "is not static: it asks for /" } else { "is for the machine " };
            assert!(error.contains(expected), "{error}");
        }
    }
}
