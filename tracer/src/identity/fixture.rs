//! Folders that tests make instead of those of the system.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A temporary folder, removed when the value is dropped.
pub(super) struct Tree(PathBuf);

impl Tree {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("droptrace-identity-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    pub(super) fn folder(&self, below: &str) {
        fs::create_dir_all(self.path(below)).unwrap();
    }

    /// Writes a file, and makes the folders above it.
    pub(super) fn write(&self, below: &str, content: &str) {
        let file = self.path(below);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// Makes a symbolic link, and the folders above it.
    pub(super) fn link(&self, below: &str, target: &str) {
        let link = self.path(below);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
    }

    /// Removes a folder and its contents.
    pub(super) fn remove(&self, below: &str) {
        fs::remove_dir_all(self.path(below)).unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A cgroup with one below it, in the mounted hierarchy; removed when the value is dropped.
pub(super) struct RealCgroup {
    outer: PathBuf,
    inner: PathBuf,
    path: String,
}

impl RealCgroup {
    /// Makes two cgroups, of which the inner one has the given name.
    pub(super) fn new(mount: &Path, name: &str) -> Result<Self, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("/droptrace-{}-{number}/{name}", std::process::id());
        let inner = mount.join(&path[1..]);
        let outer = inner.parent().unwrap().to_owned();
        let cgroup = Self { outer, inner, path };
        fs::create_dir_all(&cgroup.inner).map_err(|error| format!("cannot make a cgroup: {error}"))?;
        Ok(cgroup)
    }

    pub(super) fn id(&self) -> u64 {
        fs::metadata(&self.inner).unwrap().ino()
    }

    /// The path below the mount point.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Moves a process into the inner cgroup.
    pub(super) fn add(&self, pid: u32) -> io::Result<()> {
        fs::write(self.inner.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for RealCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.inner);
        let _ = fs::remove_dir(&self.outer);
    }
}
