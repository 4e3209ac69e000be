//! QEMU: this machine's own, or Debian's in a folder of ours.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use crate::support::apt::{self, PrivateApt};
use crate::support::architecture::Architecture;
use crate::support::process::{self, announce};

/// Memory of a machine with few processors. The kernel lets its first file system have half of what the archive leaves, and
/// holds the archive and its unpacked files, 300 MB each, at once.
const MEMORY: &str = "1536M";
/// Processors of a machine that nobody asked for more of.
pub(super) const CPUS: u32 = 2;
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// How QEMU emulates an architecture.
struct Emulation {
    /// Debian's package.
    package: &'static str,
    /// The options for the machine and its processor.
    options: &'static [&'static str],
    /// The first serial port, by the kernel's name.
    console: &'static str,
    least_version: u32,
}

impl Emulation {
    const fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::X86_64 => Self {
                package: "qemu-system-x86",
                // With fast string instructions (`erms`, `fsrm`) the kernel copies and clears memory by single
                // instructions that the emulator executes byte by byte: without them, such work takes half the time.
                options: &["-cpu", "max,cx16=off,erms=off,fsrm=off"],
                console: "ttyS0",
                // QEMU 7 crashes kernels at boot now and then, in its emulation of modified code.
                least_version: 8,
            },
            Architecture::Aarch64 => Self {
                package: "qemu-system-arm",
                options: &["-machine", "virt", "-cpu", "cortex-a72"],
                console: "ttyAMA0",
                // The machine has a second serial port from 9.1 on.
                least_version: 10,
            },
        }
    }
}

/// An emulator that can be started.
pub(super) struct Qemu {
    /// That of its machines.
    pub(super) architecture: Architecture,
    program: PathBuf,
    /// Where it was unpacked, when it is not installed.
    root: Option<PathBuf>,
    /// Processors of its machines.
    pub(super) cpus: u32,
}

impl Qemu {
    /// Finds one, or fetches it.
    pub(super) fn set_up(architecture: Architecture, folder: &Path) -> Result<Self> {
        let name = format!("qemu-system-{architecture}");
        let unpacked = folder.join(format!("qemu-{architecture}"));
        let with = |program, root| Self { architecture, program, root, cpus: CPUS };
        let installed = process::find_program(&name).map(|program| with(program, None));
        if let Some(qemu) = installed.filter(Self::suffices) {
            return Ok(qemu);
        }
        let own = with(unpacked.join("usr/bin").join(&name), Some(unpacked.clone()));
        if !own.suffices() {
            fetch(architecture, folder, &unpacked)?;
        }
        if !own.suffices() {
            bail!("Debian's {name} does not start, or is older than {}.0", own.emulation().least_version);
        }
        Ok(own)
    }

    fn emulation(&self) -> Emulation {
        Emulation::of(self.architecture)
    }

    fn suffices(&self) -> bool {
        let version = || process::output(self.command().arg("--version"));
        let least = self.emulation().least_version;
        self.program.exists() && version().is_ok_and(|text| major(&text).is_some_and(|major| major >= least))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            let host = Architecture::host().map(Architecture::gnu).unwrap_or_default();
            let folders = ["usr/lib", "lib"].map(|folder| root.join(folder).join(host));
            command.env("LD_LIBRARY_PATH", env::join_paths(folders).unwrap_or_default());
            for folder in FIRMWARE {
                command.arg("-L").arg(root.join(folder));
            }
        }
        command
    }

    /// The command that starts a machine. The kernel's messages go to `console`; the second serial port is this
    /// process's stdin and stdout.
    pub(super) fn machine(&self, kernel: &Kernel, initramfs: &Path, append: &str, console: &Path) -> Command {
        let mut file = OsString::from("file:");
        file.push(console);
        let (mut command, emulation) = (self.command(), self.emulation());
        let console = emulation.console;
        command
            .args(["-accel", "tcg,thread=multi", "-smp", &self.cpus.to_string()])
            .args(emulation.options)
            .args(["-m", if self.cpus > CPUS { "4G" } else { MEMORY }])
            .args(["-display", "none", "-no-reboot", "-nodefaults", "-serial"])
            .arg(file)
            .args(["-serial", "mon:stdio", "-kernel"])
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .arg("-append")
            .arg(format!("console={console} panic=-1 oops=panic softlockup_panic=1 quiet mitigations=off {append}"));
        command
    }
}

fn fetch(architecture: Architecture, folder: &Path, unpacked: &Path) -> Result<()> {
    let Emulation { package, least_version, .. } = Emulation::of(architecture);
    if !apt::available() {
        bail!("{package} {least_version}.0 or newer is missing, and this machine has no apt to fetch it by");
    }
    announce(format_args!("no QEMU for {architecture} that is new enough: fetching Debian's"));
    let apt = PrivateApt::new(&folder.join(format!("apt-qemu-{architecture}")))?;
    let backports = format!("{}-backports", apt.release());
    let suite = match apt.list(&[apt.release(), &backports]) {
        Ok(()) => backports.as_str(),
        Err(error) => {
            announce(format_args!("{backports}: {error:#}"));
            apt.list(&[apt.release()])?;
            apt.release()
        }
    };
    apt.unpack_with_dependencies(&[package], suite, unpacked).context("cannot fetch QEMU")
}

/// 10 of `QEMU emulator version 10.0.2 (…)`.
fn major(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("version ")?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        assert_eq!(major("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright\n"), Some(10));
        assert_eq!(major("QEMU"), None);
    }
}
