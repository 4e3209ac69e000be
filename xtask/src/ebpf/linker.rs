//! bpf-linker, which is built from its source on the LLVM that comes with the compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::support::cargo::{self, Toolchain};
use crate::support::library::link_to;
use crate::support::process::{self, announce};

/// The linker's BTF layout is part of the object's bytes.
const VERSION: &str = "0.13.0";

/// Returns the linker, built for this compiler if it is not there yet.
pub(crate) fn find_or_build(toolchain: &Toolchain, tools: &Path) -> Result<PathBuf> {
    let folder = tools.join(format!("bpf-linker-{VERSION}-{}", toolchain.key()));
    let linker = folder.join("bin/bpf-linker");
    // The linker uses the compiler's own LLVM: if that has moved, the linker does not start.
    if process::succeeds(Command::new(&linker).arg("--version")) {
        announce(format_args!("bpf-linker {VERSION} is there"));
        return Ok(linker);
    }
    build(toolchain, &folder).with_context(|| format!("cannot build bpf-linker {VERSION}"))?;
    Ok(linker)
}

fn build(toolchain: &Toolchain, folder: &Path) -> Result<()> {
    let libraries = toolchain.sysroot.join("lib");
    let llvm = Llvm::find(&libraries)?;
    announce(format_args!("building bpf-linker {VERSION} on the compiler's own LLVM {}: about a minute", llvm.major));

    let prefix = folder.join("llvm");
    link_llvm(&llvm.file, &prefix)?;
    let build = folder.join("build");
    let mut command = cargo::cargo();
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--no-track"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", llvm.major)])
        .arg("--root")
        .arg(folder)
        .arg("--target-dir")
        .arg(&build)
        .env("LLVM_PREFIX", &prefix);
    let mut rpath = std::ffi::OsString::from("link-arg=-Wl,-rpath,");
    rpath.push(&libraries);
    cargo::set_rustflags(&mut command, &["-C".into(), rpath])?;
    process::run(&mut command)?;
    // Only the program is needed afterwards.
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// Lays out the folder in which the linker's build looks for LLVM.
fn link_llvm(library: &Path, prefix: &Path) -> Result<()> {
    link_to(library, &prefix.join("lib/libLLVM.so"))
}

/// The compiler's LLVM.
#[derive(Debug, PartialEq, Eq)]
struct Llvm {
    file: PathBuf,
    major: u32,
}

impl Llvm {
    fn find(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .find_map(|name| Some(Self { major: llvm_major(&name)?, file: folder.join(name) }))
            .with_context(|| {
                format!(
                    "no libLLVM.so.* in {}: this compiler brings no LLVM library; use one installed by rustup",
                    folder.display()
                )
            })
    }
}

/// The major version in a name such as `libLLVM.so.22.1-rust-1.95.0-stable`.
fn llvm_major(name: &str) -> Option<u32> {
    name.strip_prefix("libLLVM.so.")?.split(['.', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm_is_in_its_name() {
        assert_eq!(llvm_major("libLLVM.so.22.1-rust-1.95.0-stable"), Some(22));
        assert_eq!(llvm_major("libLLVM.so.23-rust-1.99.0-nightly"), Some(23));
        assert_eq!(llvm_major("libLLVM-22-rust-1.95.0-stable.so"), None);
        assert_eq!(llvm_major("librustc_driver-6108105cd7e839cf.so"), None);
    }
}
