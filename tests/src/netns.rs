//! Network namespaces that vanish with their handle.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{self, Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::sys;
use crate::trials::Unable;

/// A network namespace. It ends with this handle and the sockets made in it, even after a panic.
#[derive(Debug)]
pub struct Netns {
    handle: File,
    inum: u32,
    /// Under `/run/netns`, for the one that has a name.
    name: Option<String>,
}

impl Netns {
    /// A new anonymous namespace: only `lo`, down; IPv6 is off for interfaces made later, so that nothing speaks
    /// unasked.
    pub fn new() -> Result<Self> {
        let handle = on_a_thread(|| {
            sys::unshare_network().map_err(|error| Unable(format!("cannot create a network namespace: {error}")))?;
            File::open("/proc/thread-self/ns/net").context("opening the new namespace")
        })?;
        Self::quiet(handle, None)
    }

    /// As [`Netns::new`], with a name.
    pub fn named(name: &str) -> Result<Self> {
        let status = Command::new("ip").args(["netns", "add", name]).status().context("starting ip")?;
        ensure!(status.success(), "ip netns add {name}: {status}");
        let handle = File::open(Path::new("/run/netns").join(name)).context("opening the new namespace")?;
        Self::quiet(handle, Some(name.to_owned()))
    }

    fn quiet(handle: File, name: Option<String>) -> Result<Self> {
        let inum = u32::try_from(handle.metadata()?.ino())?;
        let netns = Self { handle, inum, name };
        // A new namespace forwards if the first one does, as on hosts with containers (`devinet_init_net`, net/ipv4/devinet.c).
        netns.sysctl("net/ipv4/ip_forward", "0")?;
        netns.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        netns.sysctl("net/ipv6/conf/lo/disable_ipv6", "1")?;
        Ok(netns)
    }

    /// The inode number, by which droptrace identifies namespaces.
    pub fn inum(&self) -> u32 {
        self.inum
    }

    /// A path that `ip link … netns` takes.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.handle.as_raw_fd())
    }

    /// Runs `work` in this namespace, on a thread of its own. Sockets made there stay in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                .context("entering a network namespace")?;
            work()
        })
    }

    /// Runs a program in this namespace and returns what it printed. Blanks separate words, except within single
    /// quotes.
    pub fn command(&self, line: &str) -> Result<String> {
        let line = line.trim();
        let mut words = words(line).into_iter();
        let program = words.next().context("an empty command")?;
        let output = self.run(|| match Command::new(program).args(words).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Unable(format!("no program {program}")).into()),
            result => result.with_context(|| format!("starting {line}")),
        })?;
        if !output.status.success() {
            bail!("{line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Several commands, one a line.
    pub fn commands(&self, lines: &str) -> Result<()> {
        lines.lines().filter(|line| !line.trim().is_empty()).try_for_each(|line| self.command(line).map(drop))
    }

    /// Does the same as [`Netns::commands`] for features that a kernel may lack: failure means that the case cannot run
    /// here.
    pub fn probe(&self, lines: &str) -> Result<()> {
        self.commands(lines).map_err(|error| Unable(format!("{error:#}")).into())
    }

    /// Sets a file under `/proc/sys`.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| fs::write(format!("/proc/sys/{name}"), value).with_context(|| format!("setting {name}={value}")))
    }

    /// The index of an interface.
    pub fn ifindex(&self, interface: &str) -> Result<u32> {
        self.run(|| {
            let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            name_to_index(socket, interface).with_context(|| format!("looking up {interface}"))
        })
    }

    /// Reads a file under `/proc/net` as this namespace shows it.
    pub fn proc_net(&self, name: &str) -> Result<String> {
        self.run(|| {
            fs::read_to_string(format!("/proc/thread-self/net/{name}")).with_context(|| format!("reading {name}"))
        })
    }
}

/// A process in a namespace, which ends with its handle.
#[derive(Debug)]
pub struct Resident(Child);

impl Resident {
    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Netns {
    /// Starts a process that does nothing in this namespace: droptrace reads the counters of namespaces with a process.
    pub fn resident(&self) -> Result<Resident> {
        let start = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().context("starting sleep");
        self.run(start).map(Resident)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // A process that has ended already is no error.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // A name that cannot be deleted stays visible under `ip netns`.
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn words(line: &str) -> Vec<&str> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
        .collect()
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join().map_err(|_| anyhow!("the namespace's thread panicked"))?)
}
