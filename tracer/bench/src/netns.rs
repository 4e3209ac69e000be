//! The benchmark's own network namespace, so that the host's network stays untouched.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::sys;

/// A network namespace with only `lo`. It has no name, and ends with this handle and the sockets made in it, even if
/// the process is killed.
#[derive(Debug)]
pub(super) struct Netns {
    handle: File,
    inum: u32,
}

impl Netns {
    /// Makes the network namespace, which needs `CAP_SYS_ADMIN`.
    pub(super) fn new() -> Result<Self> {
        let handle = on_a_thread(|| {
            sys::unshare_network().context(
                "cannot make a network namespace for the load, which needs CAP_SYS_ADMIN: run `droptrace bench` as root",
            )?;
            // No interface may send packets of its own accord.
            for interface in ["default", "lo"] {
                let file = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
                if fs::exists(&file).unwrap_or(false) {
                    fs::write(&file, "1").with_context(|| format!("cannot write to {file}"))?;
                }
            }
            sys::raise_loopback().context("cannot set lo up, which needs CAP_NET_ADMIN")?;
            File::open("/proc/thread-self/ns/net").context("cannot open the new network namespace")
        })?;
        let inum = u32::try_from(handle.metadata()?.ino())?;
        Ok(Self { handle, inum })
    }

    /// The inode number, which identifies the network namespace to droptrace.
    pub(super) const fn inum(&self) -> u32 {
        self.inum
    }

    /// Runs `work` in the namespace, on a thread of its own. Sockets made there stay in the namespace.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                .context("cannot enter the network namespace")?;
            work()
        })
    }

    /// Reads a file under `/proc/net` of the namespace.
    pub(super) fn proc_net(&self, name: &str) -> Result<String> {
        let path = format!("/proc/thread-self/net/{name}");
        self.run(|| fs::read_to_string(&path).with_context(|| format!("cannot read {path}")))
    }

    /// Runs `nft` in the namespace and returns what it printed; `rules` are its input.
    pub(super) fn nft(&self, arguments: &[&str], rules: &str) -> Result<String> {
        let output = self.run(|| {
            let mut command = Command::new("nft");
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => anyhow!("there is no program nft on PATH"),
                _ => anyhow!("cannot start nft: {error}"),
            })?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(rules.as_bytes()).context("cannot write to nft")?;
            }
            Ok(child.wait_with_output()?)
        })?;
        if !output.status.success() {
            bail!("nft ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow!("a thread of the benchmark panicked"))?)
}
