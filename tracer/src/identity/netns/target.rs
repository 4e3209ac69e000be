//! Parses network namespaces as users type them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{FOLDERS, OWN, inode_number, open};

/// A network namespace that the user asked for. Close the file as soon as the namespace is identified, because the
/// namespace cannot end while the file is open.
#[derive(Debug)]
pub struct Target {
    /// An open file that stands for the namespace. It is absent if the user gave an inode number and no file leads to
    /// the namespace.
    pub file: Option<File>,
    /// The inode number of the namespace.
    pub inum: u32,
}

/// The reason why no network namespace was found.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The file could not be opened.
    #[error(
        "no network namespace `{given}`: cannot open {}; give `self`, an inode number, `pid:N`, a name under /run/netns \
         or a path",
        path.display()
    )]
    Open {
        /// The text that the user gave.
        given: String,
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is of another kind.
    #[error("no network namespace `{given}`: {} is another kind of file", path.display())]
    OtherKind {
        /// The text that the user gave.
        given: String,
        /// The path of the file.
        path: PathBuf,
    },
    /// The text has `pid:` without a number.
    #[error("no network namespace `{given}`: write the number of a process after `pid:`")]
    Pid {
        /// The text that the user gave.
        given: String,
    },
}

/// Finds a network namespace that is given as `self`, an inode number, `pid:N`, a name under `/run/netns`, or a path
/// (with a `/`). An inode number is valid even if no file leads to its namespace.
pub(crate) fn parse_target(given: &str) -> Result<Target, NetnsError> {
    // No namespace has the number 0, and a filter for 0 would match all namespaces.
    if let Ok(inum @ 1..) = given.parse() {
        return Ok(Target { file: file_of(inum), inum });
    }
    let path = match given.strip_prefix("pid:") {
        Some(pid) => {
            let pid: u32 = pid.parse().map_err(|_| NetnsError::Pid { given: given.into() })?;
            PathBuf::from(format!("/proc/{pid}/ns/net"))
        }
        None if given == "self" => OWN.into(),
        None if given.contains('/') => given.into(),
        None => named(given),
    };
    match opened(&path) {
        Ok(Some(target)) => Ok(target),
        Ok(None) => Err(NetnsError::OtherKind { given: given.into(), path }),
        Err(source) => Err(NetnsError::Open { given: given.into(), path, source }),
    }
}

fn named(name: &str) -> PathBuf {
    let candidates = FOLDERS.map(|folder| Path::new(folder).join(name));
    let [first, _] = &candidates;
    candidates.iter().find(|path| path.exists()).unwrap_or(first).clone()
}

fn opened(path: &Path) -> io::Result<Option<Target>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let inum = inode_number(file.metadata()?.ino())?;
    Ok(Some(Target { file: Some(file), inum }))
}

/// An open file that stands for the namespace with this inode number. The search starts with the cheap sources: this
/// process's own namespace, names, processes, threads of processes, and at last all open files of processes.
fn file_of(inum: u32) -> Option<File> {
    let link = format!("net:[{inum}]");
    let is_link = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.as_os_str() == link.as_str());
    // A name is a mount and not a link.
    let is_named = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == u64::from(inum));
    let named = FOLDERS.into_iter().flat_map(|folder| entries(Path::new(folder))).filter(is_named);
    let of_processes = || processes().map(|process| process.join("ns/net"));
    let of_threads = || processes().flat_map(|process| entries(&process.join("task"))).map(|task| task.join("ns/net"));
    let of_files = || processes().flat_map(|process| entries(&process.join("fd")));
    let linked = of_processes().chain(of_threads()).chain(of_files()).filter(is_link);
    let own = std::iter::once(PathBuf::from(OWN)).filter(is_link);
    own.chain(named).chain(linked).find_map(|path| {
        // The namespace may have ended meanwhile, and another one may have taken its number.
        let target = opened(&path).ok()??;
        target.file.filter(|_| target.inum == inum)
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let is_process =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    entries(Path::new("/proc")).filter(is_process)
}

impl Target {
    /// The own network namespace of this process.
    pub fn own() -> io::Result<Self> {
        opened(Path::new(OWN))?.ok_or_else(|| io::Error::other(format!("{OWN} is no network namespace")))
    }

    /// The open file of the namespace.
    ///
    /// # Errors
    /// `NotFound` if the user gave an inode number and no file leads to the namespace.
    pub fn namespace(&self) -> io::Result<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd).ok_or_else(|| {
            let why = format!(
                "no network namespace has the inode number {0}, or only open files that this process may not see lead to \
                 it; `ip netns` and `lsns -t net` list namespaces, and `--netns pid:{0}` is the namespace of a process",
                self.inum
            );
            io::Error::new(io::ErrorKind::NotFound, why)
        })
    }
}
