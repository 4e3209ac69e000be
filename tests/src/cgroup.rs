//! Control groups of version 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::gettid;

use crate::trials::Unable;

/// A control group; gone with its handle.
#[derive(Debug)]
pub struct ControlGroup(PathBuf);

impl ControlGroup {
    /// A new one for single threads, beneath this process's own.
    pub fn new() -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        Self::named(&format!("droptrace-tests-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new one that droptrace takes for a container with an id that begins with these digits.
    pub fn container(id: &str) -> Result<Self> {
        Self::named(&format!("docker-{id:0<64}.scope"))
    }

    fn named(name: &str) -> Result<Self> {
        let parent = own()?.ok_or_else(|| Unable("no control groups of version 2 are mounted".to_owned()))?;
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|error| Unable(format!("creating a control group: {error}")))?;
        let group = Self(path);
        let result = fs::write(group.0.join("cgroup.type"), "threaded");
        result.map_err(|error| Unable(format!("making a control group for threads: {error}")))?;
        Ok(group)
    }

    /// A new one for processes, with the name that systemd gives to that of a Docker container with this id.
    pub fn of_container(id: &str) -> Result<Self> {
        let parent = mount()?.ok_or_else(|| Unable("no control groups of version 2 are mounted".to_owned()))?;
        let path = parent.join(format!("docker-{id}.scope"));
        fs::create_dir(&path).map_err(|error| Unable(format!("creating a control group: {error}")))?;
        Ok(Self(path))
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).context("moving a process into a control group")
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it, once the last of its threads has ended: a thread that was waited for may still be in it for a moment.
    pub fn remove(self) -> Result<()> {
        while let Err(error) = fs::remove_dir(&self.0) {
            let is_busy = error.kind() == io::ErrorKind::ResourceBusy;
            ensure!(is_busy, "removing {}: {error}", self.0.display());
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Runs `work` in a thread of its own, in this group, which can be removed once the thread has ended.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let thread = || {
            self.enter()?;
            work()
        };
        thread::scope(|scope| scope.spawn(thread).join()).map_err(|_| anyhow!("a thread panicked"))?
    }

    /// Moves the calling thread into it.
    pub fn enter(&self) -> Result<()> {
        let thread = gettid().as_raw_nonzero().to_string();
        fs::write(self.0.join("cgroup.threads"), thread).context("moving a thread into a control group")
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Sockets do not keep it; a thread that has not quite ended might, and then an empty folder stays.
        let _ = fs::remove_dir(&self.0);
    }
}

/// The path of the control group that the calling thread is in, as droptrace shows it; none where no control groups of
/// version 2 are mounted.
pub fn of_this_thread() -> Result<Option<String>> {
    let groups = fs::read_to_string("/proc/thread-self/cgroup")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(mount()?.and(group).map(str::to_owned))
}

/// The folder of the control group that this process is in.
fn own() -> Result<Option<PathBuf>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(mount()?.zip(group).map(|(mount, group)| mount.join(group)))
}

/// The folder on which the hierarchy is mounted.
fn mount() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, folder, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| folder.into())
    }))
}
