//! The folder of the snapshots.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

/// The error of a folder.
#[derive(Debug, thiserror::Error)]
pub enum NoFolder {
    /// The folder cannot be made or read.
    #[error("cannot use the folder {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder has files, which might be taken for snapshots of this run.
    #[error("the folder {} is not empty: name a new one for each run", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
}

/// A folder for snapshots.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether the folder is removed with this value.
    is_temporary: bool,
}

impl Folder {
    /// Makes the folder, or takes an empty one. Without a path, the folder is a temporary one that only this user can enter.
    ///
    /// # Errors
    /// Fails if the folder has files, or cannot be made.
    pub fn open(path: Option<&Path>) -> Result<Self, NoFolder> {
        let Some(path) = path else { return Self::temporary() };
        let failed = |source| NoFolder::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        match fs::read_dir(path).map_err(failed)?.next() {
            None => Ok(Self { path: path.to_owned(), is_temporary: false }),
            Some(_) => Err(NoFolder::Occupied { path: path.to_owned() }),
        }
    }

    fn temporary() -> Result<Self, NoFolder> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = env::temp_dir().join(format!("droptrace-fleet-{}-{now}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self { path, is_temporary: true }),
            Err(source) => Err(NoFolder::Io { path, source }),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folder_is_private_and_goes() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::open(None).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(path.join("a.json"), "").unwrap();
        assert!(matches!(Folder::open(Some(&path)), Err(NoFolder::Occupied { .. })));
        let below = Folder::open(Some(&path.join("b/c"))).unwrap();
        drop(below);
        assert!(path.join("b/c").exists());
        drop(folder);
        assert!(!path.exists());
    }
}
