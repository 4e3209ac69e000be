//! Finds which files in the folders of names stand for which network namespaces.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::signature::Signature;
use super::{Identify, Names, open};

/// The greatest number of files in use; the names of further files are ignored. It limits memory and the time of a
/// reading.
const MOST_FILES: usize = 65_536;
/// `ip netns add` makes an empty file and then mounts the namespace on it, without any event. A file that is not a
/// namespace yet is therefore opened again after [`FIRST_RETRY`], then after twice as long each time up to
/// [`LONGEST_RETRY`], and no longer once its age is [`LAST_RETRY`]. On a busy host some 100 ms pass before the namespace
/// is made.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LONGEST_RETRY: Duration = Duration::from_millis(64);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// The greatest number of files that wait for another look. Further files wait for the next reading of the folder.
const MOST_RETRIES: usize = 1024;

/// The kind of file that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Namespace,
    /// Another kind of file, which may yet become a namespace.
    Other,
    /// No file, or a file that could not be examined.
    Nothing,
}

/// A file that will be opened again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    due: Instant,
    /// The time since the previous look.
    wait: Duration,
    appeared: Instant,
}

/// Notes the names in some folders. Each file is opened once, and closed as soon as its namespace is identified,
/// because an open descriptor would keep the interfaces of a dead container alive.
#[derive(Debug)]
pub(super) struct Folders<I> {
    paths: Vec<PathBuf>,
    identify: I,
    files: HashMap<PathBuf, (Signature, Found)>,
    retries: HashMap<PathBuf, Retry>,
}

impl<I: Identify> Folders<I> {
    pub(super) fn new(paths: Vec<PathBuf>, identify: I) -> Self {
        Self { paths, identify, files: HashMap::new(), retries: HashMap::new() }
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Opens each file that is new, and each one that was replaced.
    pub(super) fn read(&mut self, names: &Names) {
        let folders = self.distinct_folders();
        let listed = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        let mut present: Vec<PathBuf> = listed.map(|entry| entry.path()).take(MOST_FILES).collect();
        // If one namespace has two names, the first one in alphabetical order counts.
        present.sort_unstable();
        for path in &present {
            self.look_at(path, names);
        }
        let present: HashSet<PathBuf> = present.into_iter().collect();
        self.files.retain(|path, _| present.contains(path));
    }

    /// The folders without duplicates, because `/var/run` is the same as `/run` on most hosts.
    fn distinct_folders(&self) -> Vec<PathBuf> {
        let mut seen = HashSet::new();
        let is_first = |path: &&PathBuf| {
            std::fs::metadata(path).is_ok_and(|metadata| seen.insert((metadata.dev(), metadata.ino())))
        };
        self.paths.iter().filter(is_first).cloned().collect()
    }

    /// Notes that a file with this name appeared or was replaced.
    pub(super) fn appeared(&mut self, folder: &Path, name: &OsStr, names: &Names, now: Instant) {
        let path = folder.join(name);
        self.files.remove(&path);
        self.retries.remove(&path);
        if self.look_at(&path, names) == Found::Other {
            self.retry(path, Retry { due: now + FIRST_RETRY, wait: FIRST_RETRY, appeared: now });
        }
    }

    /// Notes that no file has this name any more. The names of namespaces stay known.
    pub(super) fn disappeared(&mut self, folder: &Path, name: &OsStr) {
        let path = folder.join(name);
        self.files.remove(&path);
        self.retries.remove(&path);
    }

    /// Opens the files again whose waiting time has passed.
    pub(super) fn look_again(&mut self, names: &Names, now: Instant) {
        let is_due = |(path, retry): (&PathBuf, &Retry)| (retry.due <= now).then(|| (path.clone(), *retry));
        let due: Vec<_> = self.retries.iter().filter_map(is_due).collect();
        for (path, Retry { wait, appeared, .. }) in due {
            self.retries.remove(&path);
            let is_old = now.saturating_duration_since(appeared) >= LAST_RETRY;
            if self.look_at(&path, names) == Found::Other && !is_old {
                let wait = (wait * 2).min(LONGEST_RETRY);
                self.retry(path, Retry { due: now + wait, wait, appeared });
            }
        }
    }

    /// The time of the next [`Self::look_again`]; `None` if no file waits.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.retries.values().map(|retry| retry.due).min()
    }

    fn retry(&mut self, path: PathBuf, retry: Retry) {
        if self.retries.len() < MOST_RETRIES {
            self.retries.insert(path, retry);
        }
    }

    fn look_at(&mut self, path: &Path, names: &Names) -> Found {
        let Ok(signature) = std::fs::metadata(path).map(Signature::from) else {
            self.files.remove(path);
            return Found::Nothing;
        };
        match self.files.get(path) {
            Some(&(known, found)) if known == signature => return found,
            None if self.files.len() >= MOST_FILES => return Found::Nothing,
            _ => {}
        }
        let found = self.identify(path, names);
        if found == Found::Nothing {
            self.files.remove(path);
        } else {
            self.files.insert(path.to_owned(), (signature, found));
        }
        found
    }

    fn identify(&self, path: &Path, names: &Names) -> Found {
        let identity = match open(path) {
            Ok(Some(file)) => self.identify.identify(file.as_fd()),
            Ok(None) => return Found::Other,
            Err(error) => Err(error),
        };
        match identity {
            Ok(identity) => {
                let name = path.file_name().and_then(OsStr::to_str);
                if let (Some(cookie), Some(name)) = (identity.cookie, name) {
                    names.record(cookie, name);
                }
                Found::Namespace
            }
            Err(error) => {
                tracing::debug!("the network namespace of {} is not identified: {error}", path.display());
                Found::Nothing
            }
        }
    }
}
