//! The standard library's source, from which it is built for machines that the compiler came without: the kernel's, and
//! those of other architectures.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateApt};
use super::cargo::{self, Toolchain};
use super::process::{self, announce};

/// Debian's suites that may contain the compiler's version, the most likely first.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "sid", "trixie"];

/// The path of the library's source in a compiler's own folder.
const IN_SYSROOT: &str = "lib/rustlib/src/rust/library";

/// The library's source, in a folder that replaces the compiler's own.
pub(crate) struct Library {
    /// The source's folder `library`.
    pub(crate) path: PathBuf,
    /// The compiler, which uses that folder as its own.
    pub(crate) rustc: PathBuf,
}

/// The folder of the tools: within the checkout, whatever target folder cargo's other builds use, so that one remapped
/// prefix covers them.
pub(crate) fn folder() -> PathBuf {
    cargo::root().join("target/ebpf-tools")
}

impl Library {
    /// Finds or fetches the source, and lays out the folder.
    ///
    /// The names of symbols contain hashes that cargo makes from the paths of the sources. For the standard library
    /// that is the path within the compiler's folder. Wherever the source came from, it must therefore be in there, and
    /// always within the checkout, so that its name is the same on every machine.
    pub(crate) fn set_up(toolchain: &Toolchain, tools: &Path) -> Result<Self> {
        let source = find_or_fetch(toolchain, tools)?;
        let sysroot = tools.join("sysroot");
        let path = sysroot.join(IN_SYSROOT);
        link_to(&source, &path)?;
        // Build scripts and macros run here: they are built with the library that came with the compiler.
        let host = Path::new("lib/rustlib").join(&toolchain.host);
        link_to(&toolchain.sysroot.join(&host), &sysroot.join(host))?;
        let rustc = sysroot.join("bin/rustc");
        write_rustc(&toolchain.sysroot.join("bin/rustc"), &sysroot, &rustc)?;
        Ok(Self { path, rustc })
    }
}

/// Writes a script that runs the compiler with another folder as its own. Flags for cargo would not do: cargo does not
/// pass them to build scripts, which are among the standard library's packages.
fn write_rustc(compiler: &Path, sysroot: &Path, script: &Path) -> Result<()> {
    let text = format!("#!/bin/sh\nexec {} --sysroot={} \"$@\"\n", quoted(compiler)?, quoted(sysroot)?);
    // The script is only written if it differs, because cargo asks a compiler again that is newer than its answers.
    if fs::read_to_string(script).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let write = || {
        script.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(script, &text)?;
        fs::set_permissions(script, Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("cannot write {}", script.display()))
}

/// A path as one word of the shell's.
pub(crate) fn quoted(path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?;
    Ok(format!("'{}'", path.replace('\'', r"'\''")))
}

/// Makes `link` point to `target`, whatever it pointed to before.
pub(crate) fn link_to(target: &Path, link: &Path) -> Result<()> {
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    if link.is_symlink() {
        fs::remove_file(link).with_context(|| format!("cannot remove {}", link.display()))?;
    }
    symlink(target, link).with_context(|| format!("cannot create {}", link.display()))
}

/// Looks in the toolchain, then in the build's own folder; then asks rustup, then Debian.
fn find_or_fetch(toolchain: &Toolchain, tools: &Path) -> Result<PathBuf> {
    let in_sysroot = toolchain.sysroot.join(IN_SYSROOT);
    let unpacked = tools.join(format!("rust-src-{}", toolchain.release));
    let own = unpacked.join(format!("usr/src/rustc-{}/library", toolchain.release));
    if let Some(there) = [&in_sysroot, &own].into_iter().find(|path| is_library(path)) {
        announce(format_args!("the standard library's source is there: {}", there.display()));
        return Ok(there.clone());
    }
    let Err(by_rustup) = from_rustup(&in_sysroot) else { return Ok(in_sysroot) };
    announce(format_args!("{by_rustup:#}"));
    let Err(by_apt) = from_debian(toolchain, tools, &unpacked, &own) else { return Ok(own) };
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
    // A `+` separates the compiler's version from Debian's.
    let version = format!("{}+", toolchain.release);
    let package = PrivateApt::new(&tools.join("apt"))?.download("rust-src", &version, &SUITES)?;
    // The source is unpacked and then moved, so that half an unpacked package is never used as a whole one.
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
        bail!("Debian's package does not contain {}", library.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_to_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's $HOME")).unwrap(), r"'/a b/it'\''s $HOME'");
    }
}
