//! The file system of a machine: droptrace, the tests, the programs that they call, and the first process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::initramfs::Initramfs;
use super::kernels::Kernel;
use super::modules;
use crate::support::apt::{self, PrivateApt};
use crate::support::cargo;
use crate::support::process::{self, announce};

/// Programs of this machine that tests and developers use; those that this machine lacks are left out.
const PROGRAMS: [&str; 12] = [
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
/// The folder of executables, to which `/bin`, `/sbin` and `/usr/sbin` point.
const BIN: &str = "usr/bin";
pub(super) const INIT: &str = "vm-init";
const DROPTRACE: &str = "droptrace";
/// The file that the first process reads.
const PLAN: &str = "etc/droptrace-vm.json";

/// A job of a machine.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
}

/// The part of the file system that is the same for every kernel.
pub(super) struct Guest(Initramfs);

impl Guest {
    /// Builds droptrace, the first process and all tests, and packs them with the programs.
    pub(super) fn build(busybox: &Path) -> Result<Self> {
        let droptrace = cargo::build_for_tests("tracer", DROPTRACE)?;
        let init = cargo::build_for_tests("tests", INIT)?;
        let mut guest = Self(Initramfs::default());
        guest.lay_out()?;
        guest.built("init", &init)?;
        guest.built(&in_bin(DROPTRACE), &droptrace)?;
        for (name, test) in cargo::build_tests("tests")? {
            guest.built(&in_bin(&name), &test)?;
        }
        for program in PROGRAMS {
            if let Some(file) = process::find_program(program) {
                guest.program(&in_bin(program), &file)?;
            }
        }
        guest.applets(busybox)?;
        Ok(guest)
    }

    /// A file system with only droptrace and the first process, which may need no other file.
    pub(super) fn bare(init: &Path, droptrace: &Path) -> Result<Self> {
        let mut guest = Self(Initramfs::default());
        guest.lay_out()?;
        guest.0.copy("init", init)?;
        guest.0.copy(&in_bin(DROPTRACE), droptrace)?;
        Ok(guest)
    }

    fn lay_out(&mut self) -> Result<()> {
        for folder in [BIN, "etc", "lib", "lib64", "usr/lib", "root", "var/tmp", "proc", "sys", "tmp", "run"] {
            self.0.folder(folder)?;
        }
        for (link, target) in [("bin", BIN), ("sbin", BIN), ("usr/sbin", "bin"), ("var/run", "/run")] {
            self.0.link(link, target)?;
        }
        // The kernel opens it for the first process.
        self.0.device("dev/console", (5, 1))?;
        self.0.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
        self.0.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    }

    /// A stripped executable of ours.
    fn built(&mut self, path: &str, file: &Path) -> Result<()> {
        let stripped = file.with_extension("stripped");
        let mut strip = Command::new("strip");
        if process::succeeds(strip.args(["--strip-debug", "-o"]).args([&stripped, file])) {
            self.program(path, &stripped)
        } else {
            self.program(path, file)
        }
    }

    /// An executable and the libraries that it is linked with.
    fn program(&mut self, path: &str, file: &Path) -> Result<()> {
        self.0.copy(path, file)?;
        for library in libraries(file)? {
            let path = library.to_str().with_context(|| format!("{} is not UTF-8", library.display()))?;
            if !self.0.has(path) {
                self.0.copy(path, &library)?;
            }
        }
        Ok(())
    }

    /// A shell and small programs, for those that this machine lacks.
    fn applets(&mut self, busybox: &Path) -> Result<()> {
        self.program(&in_bin("busybox"), busybox)?;
        for applet in applets(busybox)?.lines() {
            let path = in_bin(applet);
            if !self.0.has(&path) {
                self.0.link(&path, "busybox")?;
            }
        }
        Ok(())
    }

    /// Writes the whole file system of a machine with this kernel that is to do these jobs.
    pub(super) fn write(&self, to: &Path, kernel: &Kernel, jobs: &[Job], interactive: bool) -> Result<()> {
        let mut whole = self.0.clone();
        if let Some(folder) = &kernel.modules {
            let target = format!("lib/modules/{}", kernel.release);
            let lists = ["modules.dep", "modules.alias", "modules.symbols", "modules.builtin"].map(PathBuf::from);
            for file in lists.into_iter().chain(modules::wanted(folder)?) {
                let from = folder.join(&file);
                if from.exists() {
                    whole.copy(&format!("{target}/{}", file.display()), &from)?;
                }
            }
        }
        whole.file(PLAN, plan(jobs, interactive).to_string().as_bytes())?;
        let bytes = whole.finish()?;
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
    }
}

fn in_bin(name: &str) -> String {
    format!("{BIN}/{name}")
}

fn plan(jobs: &[Job], interactive: bool) -> Value {
    let job = |job: &Job| {
        let mut environment: serde_json::Map<_, _> =
            job.environment.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        for (name, value) in [
            ("PATH", "/usr/bin"),
            ("HOME", "/root"),
            ("DROPTRACE_BIN", "/usr/bin/droptrace"),
            ("DROPTRACE_TESTS_IN_VM", "1"),
        ] {
            environment.insert(name.to_owned(), value.into());
        }
        json!({"name": job.name, "program": job.program, "arguments": job.arguments, "environment": environment})
    };
    json!({"interactive": interactive, "jobs": jobs.iter().map(job).collect::<Vec<_>>()})
}

/// The files in the output of `ldd`; none for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
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

/// Finds a busybox with all applets that we need, or fetches Debian's.
pub(super) fn busybox(folder: &Path) -> Result<PathBuf> {
    let unpacked = folder.join("busybox");
    let own = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
    let known = process::find_program("busybox").into_iter().chain(own.clone());
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

fn applets(busybox: &Path) -> Result<String> {
    process::output(Command::new(busybox).arg("--list"))
}

/// Reports the programs that machines will lack.
pub(super) fn announce_missing() {
    let missing: Vec<_> = PROGRAMS[..5].iter().copied().filter(|name| process::find_program(name).is_none()).collect();
    if !missing.is_empty() {
        announce(format_args!("machines will lack {}, and skip tests for it", missing.join(", ")));
    }
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
}
