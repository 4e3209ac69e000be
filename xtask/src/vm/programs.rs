//! The programs of a machine beside droptrace: this machine's own, or Debian's for another architecture; and the libraries
//! that they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{ElfFile, ProgramHeader};

use crate::support::apt::{self, PrivateApt};
use crate::support::architecture::Architecture;
use crate::support::process::{self, announce};

/// Programs that tests and developers use; those that a machine cannot have are left out.
pub(super) const NAMES: [&str; 12] = [
    "ip",
    "tc",
    "nft",
    "ethtool",
    "devlink",
    "genl",
    "setpriv",
    "unshare",
    "dropwatch",
    "bpftool",
    "tcpdump",
    "strace",
];
/// Debian's packages of those that tests need most, and of a shell, each with a program of its own.
const PACKAGES: [(&str, &str); 5] = [
    ("busybox-static", BUSYBOX),
    ("ethtool", "ethtool"),
    ("iproute2", "ip"),
    ("nftables", "nft"),
    // Its `setpriv` takes away capabilities, which that of busybox does not.
    ("util-linux", "setpriv"),
];
const BUSYBOX: &str = "busybox";

/// Where programs come from.
pub(super) enum Programs {
    /// This machine has them, but perhaps a busybox of ours.
    Here { busybox: PathBuf },
    /// Debian's packages for another architecture, unpacked.
    Unpacked { architecture: Architecture, root: PathBuf },
}

impl Programs {
    /// Finds or fetches those of an architecture. `busybox` is one that this machine can run.
    pub(super) fn set_up(architecture: Architecture, folder: &Path, busybox: &Path) -> Result<Self> {
        if architecture == Architecture::host()? {
            return Ok(Self::Here { busybox: busybox.to_owned() });
        }
        let programs = Self::Unpacked { architecture, root: folder.join(format!("programs-{architecture}")) };
        if PACKAGES.iter().any(|(_, program)| programs.find(program).is_none()) {
            programs.fetch(folder)?;
        }
        Ok(programs)
    }

    fn fetch(&self, folder: &Path) -> Result<()> {
        let Self::Unpacked { architecture, root } = self else { return Ok(()) };
        if !apt::available() {
            bail!("programs for {architecture} come by apt, which this machine lacks");
        }
        let apt = PrivateApt::of(*architecture, &folder.join(format!("apt-programs-{architecture}")))?;
        apt.list(&[apt.release()])?;
        let partial = root.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        apt.unpack_with_dependencies(&PACKAGES.map(|(package, _)| package), apt.release(), &partial)?;
        let _ = fs::remove_dir_all(root);
        // The folder is moved last, so that half of it is never used as a whole.
        fs::rename(&partial, root).with_context(|| format!("cannot move it to {}", root.display()))
    }

    /// The file of a program, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::Here { busybox } if name == BUSYBOX => Some(busybox.clone()),
            Self::Here { .. } => process::find_program(name),
            Self::Unpacked { root, .. } => ["usr/bin", "bin", "usr/sbin", "sbin"]
                .into_iter()
                .map(|folder| root.join(folder).join(name))
                .find(|file| file.exists()),
        }
    }

    /// The libraries of a program, each with its path in the machine.
    pub(super) fn libraries(&self, program: &Path) -> Result<Vec<(String, PathBuf)>> {
        match self {
            Self::Here { .. } => libraries_here(program)?
                .into_iter()
                .map(|library| Ok((library.to_str().context("a library's path is not UTF-8")?.to_owned(), library)))
                .collect(),
            Self::Unpacked { architecture, root } => Unpacked { architecture: *architecture, root }.libraries(program),
        }
    }

    /// Reports the programs that machines will lack.
    pub(super) fn announce_missing(&self) {
        let missing: Vec<_> = NAMES[..5].iter().copied().filter(|name| self.find(name).is_none()).collect();
        if !missing.is_empty() {
            announce(format_args!("machines will lack {}, and skip tests for it", missing.join(", ")));
        }
    }
}

/// The files in the output of `ldd`; none for a static program.
fn libraries_here(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .context("cannot start ldd, which tells what libraries programs need")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} needs a library that is missing: {}", program.display(), missing.trim());
    }
    Ok(paths(&text))
}

/// The absolute paths in lines such as `libc.so.6 => /lib/libc.so.6 (0x7f…)` and `/lib64/ld.so (0x7f…)`.
fn paths(ldd: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line.trim();
        let file = line.split_once(" => ").map_or(line, |(_, file)| file);
        let (file, _) = file.split_once(" (")?;
        file.starts_with('/').then(|| PathBuf::from(file))
    };
    ldd.lines().filter_map(path).collect()
}

/// Packages for another architecture, whose programs this machine cannot ask what they need.
struct Unpacked<'p> {
    architecture: Architecture,
    root: &'p Path,
}

impl Unpacked<'_> {
    fn libraries(&self, program: &Path) -> Result<Vec<(String, PathBuf)>> {
        let mut found: Vec<(String, PathBuf)> = Vec::new();
        let mut unread = vec![program.to_owned()];
        while let Some(file) = unread.pop() {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            for name in needed(&bytes).with_context(|| format!("cannot read {}", file.display()))? {
                let path = self.path(&name).with_context(|| format!("{} needs {name}", program.display()))?;
                let library = self.root.join(&path);
                if !found.iter().any(|(known, _)| *known == path) {
                    unread.push(library.clone());
                    found.push((path, library));
                }
            }
        }
        Ok(found)
    }

    /// The path of a library, or of the loader, whose name is a path.
    fn path(&self, name: &str) -> Result<String> {
        let gnu = self.architecture.gnu();
        let candidates = match name.strip_prefix('/') {
            Some(path) => vec![path.to_owned()],
            None => ["lib", "usr/lib"].map(|folder| format!("{folder}/{gnu}/{name}")).into(),
        };
        let found = candidates.into_iter().find(|path| self.root.join(path).exists());
        found.with_context(|| format!("Debian's packages in {} lack it", self.root.display()))
    }
}

/// The names of the libraries that a program or library asks for, and the path of its loader.
fn needed(bytes: &[u8]) -> Result<Vec<String>> {
    let elf = ElfFile::<FileHeader64<Endianness>>::parse(bytes)?;
    let endian = elf.endian();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let loader = elf.elf_program_headers().iter().find(|header| header.p_type(endian) == PT_INTERP);
    let loader = loader.and_then(|header| header.data(endian, bytes).ok()).map(text);
    let table = elf.elf_dynamic_table()?;
    let libraries = table.iter().filter(|entry| entry.tag == DT_NEEDED).map(|entry| Ok(text(table.string(entry)?)));
    loader.map(Ok).into_iter().chain(libraries).collect()
}

/// Finds a busybox with all applets that we need, or fetches Debian's.
pub(super) fn busybox(folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("busybox");
    let own = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
    let known = process::find_program(BUSYBOX).into_iter().chain(own.clone());
    if let Some(there) = known.filter(|file| file.exists()).find(|file| suffices(file)) {
        return Ok(there);
    }
    if !apt::available() {
        bail!("busybox with the applets depmod and modprobe is missing, and this machine has no apt to fetch it by");
    }
    let apt = PrivateApt::new(&folder.join("apt"))?;
    apt.list(&[apt.release()])?;
    apt.unpack(&["busybox-static"], &unpacked)?;
    own.into_iter().find(|file| suffices(file)).context("Debian's busybox lacks an applet that we need")
}

fn suffices(busybox: &Path) -> bool {
    applets(busybox)
        .is_ok_and(|list| ["depmod", "modprobe", "sh"].iter().all(|name| list.lines().any(|it| it == *name)))
}

/// The names of its programs, each on a line.
pub(super) fn applets(busybox: &Path) -> Result<String> {
    process::output(Command::new(busybox).arg("--list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_files() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffc)\n\
                   \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f01)\n\
                   \t/lib64/ld-linux-x86-64.so.2 (0x00007f02)\n\
                   \tstatically linked\n";
        assert_eq!(paths(ldd), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
    }

    #[test]
    fn a_program_says_what_it_needs() {
        let this = std::env::current_exe().unwrap();
        let needed = needed(&fs::read(&this).unwrap()).unwrap();
        assert!(needed[0].starts_with("/lib") && needed.iter().any(|name| name.starts_with("libc.so")), "{needed:?}");
        let nothing = Unpacked { architecture: Architecture::Aarch64, root: Path::new("/nowhere") };
        let error = format!("{:#}", nothing.libraries(&this).unwrap_err());
        assert!(error.ends_with("Debian's packages in /nowhere lack it"), "{error}");
        assert!(super::needed(b"#!/bin/sh").is_err());
    }
}
