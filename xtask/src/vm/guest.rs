//! The file system of a machine: droptrace, the tests, the programs that they call, and the first process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::initramfs::Initramfs;
use super::kernels::Kernel;
use super::modules;
use super::programs::{self, Programs};
use crate::support::cross::Cross;
use crate::support::process;
use crate::support::test_build::{Targets, TestBuild};

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

/// The part of the file system that is the same for every kernel of an architecture.
pub(super) struct Guest(Initramfs);

/// What a guest is made from.
pub(super) struct Materials {
    pub(super) programs: Programs,
    /// Builds for the machine's architecture; absent if it is this machine's.
    pub(super) cross: Option<Cross>,
    /// A busybox that this machine can run.
    pub(super) busybox: PathBuf,
}

impl Guest {
    /// Builds droptrace, the first process and these tests, and packs them with the programs.
    pub(super) fn build(materials: &Materials, tests: Targets<'_>) -> Result<Self> {
        let build = TestBuild::make(tests, materials.cross.as_ref())?;
        let mut guest = Self(Initramfs::default());
        guest.lay_out()?;
        guest.built(materials, "init", build.binary(INIT)?)?;
        guest.built(materials, &in_bin(DROPTRACE), build.binary(DROPTRACE)?)?;
        for test in build.machine_tests() {
            guest.built(materials, &in_bin(&test.name), &test.path)?;
        }
        for name in programs::NAMES {
            if let Some(file) = materials.programs.find(name) {
                guest.program(&materials.programs, &in_bin(name), &file)?;
            }
        }
        guest.applets(materials)?;
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
    fn built(&mut self, materials: &Materials, path: &str, file: &Path) -> Result<()> {
        let stripped = file.with_extension("stripped");
        let strip = materials.cross.as_ref().map_or_else(|| "strip".into(), |cross| cross.tool("strip"));
        let mut strip = Command::new(strip);
        if process::succeeds(strip.args(["--strip-debug", "-o"]).args([&stripped, file])) {
            self.program(&materials.programs, path, &stripped)
        } else {
            self.program(&materials.programs, path, file)
        }
    }

    /// An executable and the libraries that it is linked with.
    fn program(&mut self, programs: &Programs, path: &str, file: &Path) -> Result<()> {
        self.0.copy(path, file)?;
        for (path, library) in programs.libraries(file)? {
            if !self.0.has(&path) {
                self.0.copy(&path, &library)?;
            }
        }
        Ok(())
    }

    /// A shell and small programs, for those that the machine lacks. Their names are those of this machine's busybox: one
    /// for another architecture cannot be asked.
    fn applets(&mut self, materials: &Materials) -> Result<()> {
        let busybox = materials.programs.find("busybox").context("there is no busybox for the machine")?;
        self.program(&materials.programs, &in_bin("busybox"), &busybox)?;
        for applet in programs::applets(&materials.busybox)?.lines() {
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
