//! Finds the name of a network namespace by its inode number, for callers without a cookie. A name belongs to the
//! number only at the time of the lookup.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::signature::Signature;
use super::{FOLDERS, inode_of, open};

/// The least time between two readings, so that a flood of unknown numbers does not read the folders each time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// A file that stood for a namespace when it was found: one under `/run/netns`, another mount, or the open file of a
/// process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedFile {
    path: PathBuf,
    signature: Signature,
}

impl NamedFile {
    fn of(path: &Path) -> Option<Self> {
        let signature = std::fs::metadata(path).ok()?.into();
        Some(Self { path: path.to_owned(), signature })
    }

    /// A file that is said to stand for the namespace with this inode number. `None` if it does not.
    pub(crate) fn standing_for(path: &Path, inum: u32) -> Option<Self> {
        Self::of(path).filter(|file| file.signature.inode() == u64::from(inum))
    }

    /// Opens the namespace. `None` if the file is gone, or stands for another namespace now.
    pub(crate) fn open(&self) -> Option<File> {
        let file = open(&self.path).ok()??;
        (Signature::from(file.metadata().ok()?) == self.signature).then_some(file)
    }
}

/// The names under `/run/netns` by inode number. The folders are read again when a number is unknown, at most once a
/// second. A name is forgotten when its file is gone or stands for another number.
#[derive(Debug)]
pub(crate) struct Namespaces {
    folders: Vec<PathBuf>,
    names: HashMap<u32, (PathBuf, Arc<str>)>,
    read_at: Option<Instant>,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespaces {
    /// The constructor reads nothing.
    pub(crate) fn new() -> Self {
        Self::of(FOLDERS.map(PathBuf::from).to_vec())
    }

    pub(super) fn of(folders: Vec<PathBuf>) -> Self {
        Self { folders, names: HashMap::new(), read_at: None }
    }

    /// The name of the namespace with this inode number. It is absent for namespaces without a name, such as those of
    /// most containers.
    pub(crate) fn name(&mut self, inum: u32) -> Option<Arc<str>> {
        self.name_at(inum, Instant::now())
    }

    /// The file that has the name of the namespace with this inode number.
    pub(crate) fn file(&mut self, inum: u32) -> Option<NamedFile> {
        self.name(inum)?;
        NamedFile::standing_for(&self.names.get(&inum)?.0, inum)
    }

    /// All names with their inode numbers, in alphabetical order. The folders are read at most once a second.
    pub(crate) fn all(&mut self) -> Vec<(u32, Arc<str>)> {
        self.refresh(Instant::now());
        let mut all: Vec<_> = self.names.iter().map(|(inum, (_, name))| (*inum, Arc::clone(name))).collect();
        all.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
        all
    }

    pub(super) fn name_at(&mut self, inum: u32, now: Instant) -> Option<Arc<str>> {
        let is_gone = |(path, _): &(PathBuf, Arc<str>)| !stands_for(path, inum);
        if self.names.get(&inum).is_none_or(is_gone) {
            self.names.remove(&inum);
            self.refresh(now);
        }
        self.names.get(&inum).map(|(_, name)| Arc::clone(name))
    }

    fn refresh(&mut self, now: Instant) {
        if self.read_at.is_some_and(|at| now.saturating_duration_since(at) < REFRESH_INTERVAL) {
            return;
        }
        self.read_at = Some(now);
        self.names.clear();
        // Without such a folder no namespace has a name.
        for entry in self.folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
            let path = entry.path();
            // A name whose namespace is gone has an empty file.
            if let (Some(name), Ok(Some(inum))) = (entry.file_name().to_str(), inode_of(&path)) {
                self.names.entry(inum).or_insert_with(|| (path, name.into()));
            }
        }
    }
}

/// Returns whether the file has this inode number. If the file cannot be examined any more, as after capabilities were
/// given up, the name is kept.
fn stands_for(path: &Path, inum: u32) -> bool {
    match std::fs::metadata(path) {
        Ok(metadata) => metadata.ino() == u64::from(inum),
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}
