//! `vm`, and the tests on other kernels: machines under QEMU with a file system of ours.
//!
//! What is fetched and made lies in the target folder, under `vm`: QEMU and busybox (unless this machine has them),
//! `kernels` by release, and `logs`. Each step is left out where its result is there; to have a newer kernel of a
//! series, remove the folder of the old one.

mod guest;
mod initramfs;
mod kernels;
mod machine;
pub(crate) mod matrix;
mod modules;
mod out_of_tree;
mod plans;
mod programs;
mod qemu;
pub(crate) mod results;
pub(crate) mod selection;
mod turns;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};

use crate::support::architecture::Architecture;
use crate::support::cargo;
use crate::support::cross::Cross;
use crate::support::test_build::Targets;
use guest::{Guest, Materials};
use kernels::{Kernel, Kernels, Series};
use machine::Workshop;
use programs::Programs;
use qemu::Qemu;

/// Starts another kernel under QEMU, with droptrace and its tests in it, and runs a command or a shell there.
///
/// Kernels are Debian's, fetched once; QEMU and busybox too, where this machine lacks them. Emulation needs no privileges,
/// and takes some seconds to start. For arm64, droptrace and the tests that the command names are built with a
/// cross-compiler of Debian's, which is fetched as well.
/// `cargo xtask vm --kernel 6.1 -- droptrace stat --duration 5s` passes the command's output and exit status on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Series of the kernel, such as 6.12, 6.12-rt for a real-time kernel, or 6.12-arm64; the newest of it is taken
    #[arg(long, default_value = "6.12", conflicts_with = "image")]
    kernel: Series,
    #[command(flatten)]
    source: Source,
    /// Build the modules that Debian leaves out, as netdevsim, and those of tests/modules first (6.1 only)
    #[arg(long, conflicts_with = "image")]
    extra_modules: bool,
    /// Words added to the kernel's command line
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Processors that it has
    #[arg(long, default_value_t = qemu::CPUS, value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: u32,
    /// Command, and its arguments; a shell on this terminal when there is none
    #[arg(last = true)]
    command: Vec<String>,
}

/// A kernel that is not Debian's.
#[derive(clap::Args, Default)]
pub(crate) struct Source {
    /// Start this kernel instead (a bzImage)
    #[arg(id = "image", long = "kernel-image", value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    /// Its modules: a folder such as /lib/modules/6.12.1
    #[arg(long, value_name = "DIR", requires = "image")]
    pub(crate) modules: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut ground = Ground::prepare()?;
    let given = ground.given(&args.source);
    let kernel = given.unwrap_or_else(|| ground.of_series(args.kernel))?;
    if args.extra_modules {
        let failed = out_of_tree::add(&kernel, &ground.folder, &ground.busybox);
        if let Some((name, reason)) = failed.first() {
            bail!("cannot build the module {name}: {reason}");
        }
    }
    let mut qemu = ground.qemu(kernel.architecture)?;
    qemu.cpus = args.cpus;
    // One test at least: without any, cargo would give the dependencies other features, and build them again.
    let mut named: Vec<_> = args.command.iter().map(String::as_str).filter(|word| Targets::has(word)).collect();
    if named.is_empty() {
        named.push("doctor");
    }
    ground.workshop(qemu, &named)?.run_command(&kernel, &args.append, &args.command)
}

/// The tools, before anything is built.
struct Ground {
    folder: PathBuf,
    /// One that this machine can run.
    busybox: PathBuf,
    kernels: Kernels,
}

impl Ground {
    fn prepare() -> Result<Self> {
        let folder = cargo::root().join("target/vm");
        let busybox = programs::busybox(&folder)?;
        let kernels = Kernels::new(&folder);
        Ok(Self { folder, busybox, kernels })
    }

    /// Debian's newest kernel of a series.
    fn of_series(&mut self, series: Series) -> Result<Kernel> {
        self.kernels.of_series(series, &self.busybox)
    }

    /// A kernel that is not Debian's, if one was named.
    fn given(&self, source: &Source) -> Option<Result<Kernel>> {
        let image = source.image.as_ref()?;
        if !image.is_file() {
            return Some(Err(anyhow!("{} is no file", image.display())));
        }
        Some(Kernel::given(image, source.modules.as_deref(), &self.folder, &self.busybox))
    }

    fn qemu(&self, architecture: Architecture) -> Result<Qemu> {
        Qemu::set_up(architecture, &self.folder)
    }

    /// Builds droptrace and tests for the emulator's machines: all tests for this machine's architecture, and those that
    /// are named for another one, for which everything is built anew.
    fn workshop(&self, qemu: Qemu, named: &[&str]) -> Result<Workshop> {
        let is_here = qemu.architecture == Architecture::host()?;
        let materials = Materials {
            programs: Programs::set_up(qemu.architecture, &self.folder, &self.busybox)?,
            cross: if is_here { None } else { Some(Cross::set_up(qemu.architecture)?) },
            busybox: self.busybox.clone(),
        };
        materials.programs.announce_missing();
        let guest = Guest::build(&materials, if is_here { Targets::Integration } else { Targets::Named(named) })?;
        Ok(Workshop { folder: self.folder.clone(), qemu, guest })
    }
}

/// A machine whose file system holds droptrace and the first process alone, both linked with nothing.
pub(crate) struct BareMachine {
    workshop: Workshop,
    kernel: Kernel,
}

impl BareMachine {
    /// The package and the name of the first process, which is to be built for it.
    pub(crate) const INIT: (&str, &str) = ("tests", guest::INIT);

    /// Takes a kernel of this version's series, for the architecture of the programs.
    pub(crate) fn prepare(series: &str, architecture: Architecture, init: &Path, droptrace: &Path) -> Result<Self> {
        let mut ground = Ground::prepare()?;
        let series: Series = series.parse().map_err(anyhow::Error::msg)?;
        let qemu = ground.qemu(architecture)?;
        let kernel = Kernel { modules: None, ..ground.of_series(series.on(architecture))? };
        let guest = Guest::bare(init, droptrace)?;
        Ok(Self { workshop: Workshop { folder: ground.folder, qemu, guest }, kernel })
    }

    /// The release of its kernel.
    pub(crate) fn release(&self) -> &str {
        &self.kernel.release
    }

    /// Starts it for one command; returns the exit status, if the machine reported one, and its output.
    pub(crate) fn run(&self, command: &[&str]) -> Result<(Option<u8>, String)> {
        let words: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        self.workshop.capture(&self.kernel, &words)
    }
}
