//! Which files there are to be read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::report::Refused;

/// What snapshots in a folder are known by. A file that was named is read whatever its name.
const ENDINGS: [&str; 2] = [".json", ".json.zst"];

/// The files that are to be read, in order, and what cannot be one of them.
#[derive(Debug, Default)]
pub struct Files {
    pub(super) found: Vec<PathBuf>,
    /// Files in folders that have other names.
    pub(super) passed_over: usize,
    pub(super) refused: Vec<Refused>,
}

impl Files {
    /// The files among these, and those in the folders among these and below. Links to folders are not followed, for
    /// they may lead back.
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

/// By name, so that each run reads them in the same order.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}
