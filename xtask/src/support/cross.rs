//! Builds for another architecture than this machine's: Debian's cross-compiler in a folder of ours, which nothing on the
//! machine knows of, and Rust's standard library, built from its source.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateApt};
use super::architecture::Architecture;
use super::cargo::{self, Toolchain};
use super::library::{self, Library, quoted};
use super::process::{self, announce};

/// The compiler of C, which links as well, and the others that builds use.
const TOOLS: [&str; 3] = ["gcc", "ar", "strip"];

/// The compiler's flags with which programs contain the C library.
pub(crate) const STATIC: [&str; 2] = ["-C", "target-feature=+crt-static"];

/// What builds for one architecture.
pub(crate) struct Cross {
    architecture: Architecture,
    /// The scripts that start the tools.
    scripts: PathBuf,
    library: Library,
}

impl Cross {
    /// Finds or fetches everything.
    pub(crate) fn set_up(architecture: Architecture) -> Result<Self> {
        let folder = cargo::root().join("target/cross-tools").join(architecture.name());
        let unpacked = folder.join("unpacked");
        let cross = Self {
            architecture,
            scripts: folder.join("bin"),
            library: Library::set_up(&Toolchain::find()?, &library::folder())?,
        };
        if !program(&unpacked, architecture, "gcc").exists() {
            fetch(architecture, &folder, &unpacked)
                .with_context(|| format!("cannot fetch a compiler for {architecture}"))?;
        }
        for tool in TOOLS {
            write_script(&unpacked, architecture, tool, &cross.tool(tool))?;
        }
        if !process::succeeds(Command::new(cross.tool("gcc")).arg("--version")) {
            bail!("the compiler in {} does not start: remove the folder, and it is fetched anew", folder.display());
        }
        Ok(cross)
    }

    /// A tool that works on files of the architecture.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.scripts.join(name)
    }

    /// Makes a command of cargo, with its subcommand, build for the architecture. Without [`STATIC`], what it
    /// builds needs a C library as new as the cross-compiler's.
    pub(crate) fn direct(&self, command: &mut Command) {
        let target = self.architecture.target();
        command
            // A stable compiler builds its library only with `RUSTC_BOOTSTRAP`.
            .args(["--target", target, "-Z", "build-std=std,panic_abort"])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", &self.library.path)
            .env("RUSTC", &self.library.rustc)
            // Another compiler would invalidate what the machine's own built.
            .arg("--target-dir")
            .arg(cargo::root().join("target/cross"));
        let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
        let suffix = target.replace('-', "_");
        command
            .env(linker, self.tool("gcc"))
            .env(format!("CC_{suffix}"), self.tool("gcc"))
            .env(format!("AR_{suffix}"), self.tool("ar"));
    }
}

fn program(unpacked: &Path, architecture: Architecture, tool: &str) -> PathBuf {
    unpacked.join("usr/bin").join(format!("{}-{tool}", architecture.gnu()))
}

fn fetch(architecture: Architecture, folder: &Path, unpacked: &Path) -> Result<()> {
    if Architecture::host()? != Architecture::X86_64 {
        bail!("Debian's compilers for other architectures are known on x86_64 only");
    }
    if !apt::available() {
        bail!("it comes by apt, which this machine lacks");
    }
    let apt = PrivateApt::new(&folder.join("apt"))?;
    apt.list(&[apt.release()])?;
    let packages = [format!("gcc-{}", architecture.gnu()), format!("libc6-dev-{}-cross", architecture.debian())];
    // The folder is moved last, so that half of it is never used as a whole.
    let partial = folder.join("partial");
    let _ = fs::remove_dir_all(&partial);
    apt.unpack_with_dependencies(&packages.each_ref().map(String::as_str), apt.release(), &partial)?;
    let _ = fs::remove_dir_all(unpacked);
    fs::rename(&partial, unpacked).with_context(|| format!("cannot move it to {}", unpacked.display()))?;
    announce(format_args!("the compiler for {architecture} is there: {}", unpacked.display()));
    Ok(())
}

/// Writes a script that starts a tool with the libraries that it needs itself, and with the folders in which the compiler
/// finds what belongs to the architecture: it looks below `/usr` otherwise.
fn write_script(unpacked: &Path, architecture: Architecture, tool: &str, script: &Path) -> Result<()> {
    let root = quoted(unpacked)?;
    let host = Architecture::host()?.gnu();
    let start = format!("exec {}", quoted(&program(unpacked, architecture, tool))?);
    let call = if tool == "gcc" {
        let own = format!("{root}/usr/{}", architecture.gnu());
        format!(
            "export PATH={root}/usr/bin:\"$PATH\"\n\
             {start} --sysroot={root} -isystem {own}/include -B{own}/lib -L{own}/lib \"$@\"\n"
        )
    } else {
        format!("{start} \"$@\"\n")
    };
    let text = format!("#!/bin/sh\nexport LD_LIBRARY_PATH={root}/usr/lib/{host}\n{call}");
    // It is only written if it differs: the C code of packages would be built again.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_finds_only_what_belongs_to_its_architecture() {
        let script = std::env::temp_dir().join(format!("xtask-cross-{}/gcc", std::process::id()));
        write_script(Path::new("/a b"), Architecture::Aarch64, "gcc", &script).unwrap();
        let text = fs::read_to_string(&script).unwrap();
        let last = "exec '/a b/usr/bin/aarch64-linux-gnu-gcc' --sysroot='/a b' \
                    -isystem '/a b'/usr/aarch64-linux-gnu/include -B'/a b'/usr/aarch64-linux-gnu/lib \
                    -L'/a b'/usr/aarch64-linux-gnu/lib \"$@\"";
        assert_eq!(text.lines().last(), Some(last));
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_dir_all(script.parent().unwrap()).unwrap();
    }
}
