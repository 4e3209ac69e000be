//! The binaries that go into images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{ElfFile, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _};

/// Machines in files and in images (`GOARCH`), in the order in which images are listed.
pub(super) const ARCHITECTURES: [(u16, &str); 2] = [(EM_X86_64, "amd64"), (EM_AARCH64, "arm64")];

/// The depth of folders below `target/dist` in which binaries are looked for.
const DEPTH: usize = 2;

/// A static binary.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) file: PathBuf,
    /// The name in images.
    pub(super) architecture: &'static str,
}

impl Binary {
    /// Reads for which processor the file is.
    ///
    /// # Errors
    /// The file is not a program, needs libraries, which an image does not have, or is for another processor.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let architecture = architecture(&bytes).with_context(|| format!("{} cannot be in an image", file.display()))?;
        Ok(Self { file: file.to_owned(), architecture })
    }
}

fn architecture(bytes: &[u8]) -> Result<&'static str> {
    let elf = ElfFile::<FileHeader64<Endianness>>::parse(bytes).context("not a program")?;
    if elf.elf_program_headers().iter().any(|header| header.p_type(elf.endianness()) == PT_INTERP) {
        bail!("it is not static: it needs libraries; `cargo xtask dist` makes a static one");
    }
    let machine = elf.elf_header().e_machine(elf.endianness());
    match ARCHITECTURES.into_iter().find(|(number, _)| *number == machine) {
        Some((_, name)) => Ok(name),
        None => bail!("it is for {:?} (machine {machine}), not for amd64 or arm64", elf.architecture()),
    }
}

/// The files named `droptrace` that `cargo xtask dist` left in the target folder.
pub(super) fn built(target: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    look(&target.join("dist"), DEPTH, &mut found)?;
    found.sort();
    Ok(found)
}

fn look(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_file() && path.file_name().is_some_and(|name| name == "droptrace") {
            found.push(path);
        } else if kind.is_dir() && depth > 0 {
            look(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The header of a program for this machine, without any contents.
    pub(in super::super) fn program(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16..18].copy_from_slice(&2_u16.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[20..24].copy_from_slice(&1_u32.to_le_bytes());
        bytes[52..54].copy_from_slice(&64_u16.to_le_bytes());
        bytes
    }

    #[test]
    fn processor_is_read_from_the_binary() {
        assert_eq!(architecture(&program(EM_X86_64)).unwrap(), "amd64");
        assert_eq!(architecture(&program(EM_AARCH64)).unwrap(), "arm64");
        let error = |bytes: &[u8]| format!("{:#}", architecture(bytes).unwrap_err());
        assert!(error(&program(243)).contains("machine 243"));
        assert!(error(b"#!/bin/sh").starts_with("not a program"));
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(error(&this).contains("not static"), "{}", error(&this));
    }

    #[test]
    fn binaries_of_all_processors_are_found() {
        let folder = std::env::temp_dir().join(format!("xtask-image-built-{}", std::process::id()));
        super::super::empty(&folder).unwrap();
        assert_eq!(built(&folder).unwrap(), [] as [PathBuf; 0]);
        let files = ["dist/arm64/droptrace", "dist/droptrace"].map(|file| folder.join(file));
        for file in files.iter().chain([&folder.join("dist/man/droptrace.1"), &folder.join("release/droptrace")]) {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, b"").unwrap();
        }
        assert_eq!(built(&folder).unwrap(), files);
        fs::remove_dir_all(folder).unwrap();
    }
}
