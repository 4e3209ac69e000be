//! OpenSSH's server for tests: this machine's own, or Debian's in a folder of ours, where no service starts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, PrivateApt};
use super::cargo;
use super::process;

/// The server, and the library that neither Debian's base system nor OpenSSH's client has.
const PACKAGES: [&str; 2] = ["openssh-server", "libwrap0"];

/// Keeps the server of this machine, else fetches it.
pub(crate) fn set_up() -> Result<()> {
    let folder = cargo::root().join("target/openssh");
    if process::find_program("sshd").is_some() || folder.join("usr/sbin/sshd").exists() {
        return Ok(());
    }
    if !apt::available() {
        bail!("this machine has no apt to fetch it by");
    }
    let apt = PrivateApt::new(&folder.with_file_name("apt-openssh"))?;
    apt.list(&[apt.release()])?;
    apt.unpack(&PACKAGES, &folder).context("cannot fetch OpenSSH's server")?;
    if starts(&folder) { Ok(()) } else { bail!("{} does not start here", folder.join("usr/sbin/sshd").display()) }
}

/// Whether the server finds its libraries: a wrong option shows its version.
fn starts(folder: &Path) -> bool {
    let libraries = std::fs::read_dir(folder.join("usr/lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    let starts = |libraries| {
        let mut command = Command::new(folder.join("usr/sbin/sshd"));
        let output = command.arg("-?").env("LD_LIBRARY_PATH", libraries).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("OpenSSH"))
    };
    libraries.map(std::path::PathBuf::into_os_string).any(starts)
}
