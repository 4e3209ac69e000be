//! QEMU: this machine's own, or Debian's in a folder of ours.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kernels::Kernel;
use crate::support::apt::{self, PrivateApt};
use crate::support::process::{self, announce};

/// Memory of a machine with few processors. The kernel lets its first file system have half of what the archive leaves, and
/// holds the archive and its unpacked files, 300 MB each, at once.
const MEMORY: &str = "1536M";
const PROGRAM: &str = "qemu-system-x86_64";
/// QEMU 7 crashes kernels at boot now and then, in its emulation of modified code.
const LEAST_VERSION: u32 = 8;
/// Processors of a machine that nobody asked for more of.
pub(super) const CPUS: u32 = 2;
/// The emulated processor. With fast string instructions (`erms`, `fsrm`) the kernel copies and clears memory by single
/// instructions that the emulator executes byte by byte: without them, such work takes half the time.
const PROCESSOR: &str = "max,cx16=off,erms=off,fsrm=off";
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// An emulator that can be started.
pub(super) struct Qemu {
    program: PathBuf,
    /// Where it was unpacked, when it is not installed.
    root: Option<PathBuf>,
    /// Processors of its machines.
    pub(super) cpus: u32,
}

impl Qemu {
    /// Finds one, or fetches it.
    pub(super) fn set_up(folder: &Path) -> Result<Self> {
        if env::consts::ARCH != "x86_64" {
            bail!("the kernels to test on are for x86_64, and this machine is {}", env::consts::ARCH);
        }
        let unpacked = folder.join("qemu");
        let own = Self { program: unpacked.join("usr/bin").join(PROGRAM), root: Some(unpacked.clone()), cpus: CPUS };
        let installed = process::find_program(PROGRAM).map(|program| Self { program, root: None, cpus: CPUS });
        if let Some(qemu) = installed.filter(Self::suffices) {
            return Ok(qemu);
        }
        if !own.suffices() {
            fetch(folder, &unpacked)?;
        }
        if !own.suffices() {
            bail!("Debian's QEMU does not start, or is older than {LEAST_VERSION}.0");
        }
        Ok(own)
    }

    fn suffices(&self) -> bool {
        let version = || process::output(self.command().arg("--version"));
        self.program.exists() && version().is_ok_and(|text| major(&text).is_some_and(|major| major >= LEAST_VERSION))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            let folders = LIBRARIES.map(|folder| root.join(folder));
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
        let mut command = self.command();
        command
            .args(["-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-smp", &self.cpus.to_string()])
            .args(["-m", if self.cpus > CPUS { "4G" } else { MEMORY }])
            .args(["-display", "none", "-no-reboot", "-nodefaults", "-serial"])
            .arg(file)
            .args(["-serial", "mon:stdio", "-kernel"])
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .arg("-append")
            .arg(format!("console=ttyS0 panic=-1 oops=panic softlockup_panic=1 quiet mitigations=off {append}"));
        command
    }
}

fn fetch(folder: &Path, unpacked: &Path) -> Result<()> {
    if !apt::available() {
        bail!("{PROGRAM} {LEAST_VERSION}.0 or newer is missing, and this machine has no apt to fetch it by");
    }
    announce("no QEMU that is new enough: fetching Debian's");
    let apt = PrivateApt::new(&folder.join("apt-qemu"))?;
    let backports = format!("{}-backports", apt.release());
    let suite = match apt.list(&[apt.release(), &backports]) {
        Ok(()) => backports.as_str(),
        Err(error) => {
            announce(format_args!("{backports}: {error:#}"));
            apt.list(&[apt.release()])?;
            apt.release()
        }
    };
    apt.unpack_with_dependencies("qemu-system-x86", suite, unpacked).context("cannot fetch QEMU")
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
