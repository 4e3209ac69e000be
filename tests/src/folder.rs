//! Folders for files of tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Context, Result};

/// An empty folder of its own, removed with its handle.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Its name has `name` in it.
    pub fn new(name: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("droptrace-test-{}-{number}-{name}", process::id()));
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }

    /// A path within it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A path within it, as an argument.
    pub fn path(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }

    /// Writes a file within it. Returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("writing {path}"))?;
        Ok(path)
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Files that cannot be removed stay among temporary files.
        _ = fs::remove_dir_all(&self.0);
    }
}
