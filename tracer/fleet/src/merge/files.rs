//! The list of files to read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::report::Refused;

/// Endings of the names of snapshots in a folder. A file that was named is read whatever its name is.
const ENDINGS: [&str; 2] = [".json", ".json.zst"];

/// The files to read, in order, and the paths that cannot be read.
#[derive(Debug, Default)]
pub struct Files {
    pub(super) found: Vec<PathBuf>,
    /// Number of files in folders that have other names.
    pub(super) passed_over: usize,
    pub(super) refused: Vec<Refused>,
}

impl Files {
    /// Lists the files among these paths, and those in the folders and their subfolders. Links to folders are not
    /// followed, because they may form a loop.
    pub fn find(paths: &[PathBuf]) -> Self {
        let mut files = Self::default();
        for path in paths {
            if path.is_dir() {
                files.enter(path);
            } else {
                files.found.push(path.clone());
            }
        }
        files
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.found.iter().map(PathBuf::as_path)
    }

    fn enter(&mut self, folder: &Path) {
        match entries(folder) {
            Ok(entries) => entries.iter().for_each(|entry| self.take(entry)),
            Err(error) => {
                let why = format!("cannot read the folder: {error}");
                self.refused.push(Refused { file: folder.display().to_string(), why });
            }
        }
    }

    fn take(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            self.enter(path);
        } else if path.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            self.found.push(path.to_owned());
        } else {
            self.passed_over += 1;
        }
    }
}

/// The files are sorted by name, so that each run reads them in the same order.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}
