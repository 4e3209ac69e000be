//! Which files there are to be read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::fleet::report::Refused;

/// Deeper folders are not looked into: a link that leads back would have no end.
const DEEPEST: usize = 16;
/// What snapshots in a folder are known by. A file that was named is read whatever its name.
const ENDINGS: [&str; 2] = [".json", ".json.zst"];

/// Files in order.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) files: Vec<PathBuf>,
    /// Files in folders that have other names.
    pub(super) passed_over: usize,
    pub(super) refused: Vec<Refused>,
}

impl Files {
    /// The files among these, and those in the folders among these and below.
    pub(super) fn find(paths: &[PathBuf]) -> Self {
        let mut files = Self::default();
        for path in paths {
            if path.is_dir() {
                files.enter(path, 0);
            } else {
                files.files.push(path.clone());
            }
        }
        files
    }

    fn enter(&mut self, folder: &Path, depth: usize) {
        if depth > DEEPEST {
            return self.refuse(folder, "it is too deep within folders");
        }
        match entries(folder) {
            Ok(entries) => entries.iter().for_each(|entry| self.take(entry, depth)),
            Err(error) => self.refuse(folder, &format!("cannot read the folder: {error}")),
        }
    }

    fn take(&mut self, path: &Path, depth: usize) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            self.enter(path, depth + 1);
        } else if path.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            self.files.push(path.to_owned());
        } else {
            self.passed_over += 1;
        }
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        self.refused.push(Refused { file: path.display().to_string(), why: why.to_owned() });
    }
}

/// By name, so that each run reads them in the same order.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}
