//! The folder of a history: its files, and the agent's writing to them.
//!
//! An agent locks the folder, appends to the file of the present hour, and deletes its oldest files when they are too old or too
//! large together. It deletes only regular files whose names are [`FileName`]s.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::name::FileName;
use crate::domain::event::Timestamp;

/// Who may read: the owner and the group.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
/// The largest file, in bytes, whatever the limit of all files: a reader keeps one file in memory.
pub(crate) const LARGEST_FILE: u64 = 64 << 20;
/// The number of files in which a full history lies at least, so that the oldest one is a small part of it.
const FILES: u64 = 8;
/// The last number of a file within an hour.
const LAST_PART: u16 = 999;

/// The limits of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of all files together.
    pub(crate) bytes: u64,
    /// The time after which a file is deleted, from the end of its hour on.
    pub(crate) age: Duration,
}

/// Why an agent cannot write to a folder.
#[derive(Debug, Error)]
pub(crate) enum FolderError {
    /// The folder is not there, and cannot be made, or cannot be opened.
    #[error("cannot open or make the folder {}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another agent writes to the folder.
    #[error("another droptrace agent keeps its history in {}; name another folder, or end that agent", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

/// A file in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The name.
    pub(super) name: FileName,
    /// The whole path.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) length: u64,
}

/// The files of a history, the oldest first. All others in the folder are left alone.
pub(super) fn files(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(FileName::parse) else { continue };
        // The file may have been deleted since; a link is not the agent's.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            found.push(Found { name, path: entry.path(), length: metadata.len() });
        }
    }
    found.sort_unstable_by_key(|found| found.name);
    Ok(found)
}

/// A folder that this process alone writes to.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    limits: Limits,
    /// The lock lasts as long as the folder is open.
    _lock: File,
    current: Option<Current>,
}

/// The file that is appended to.
#[derive(Debug)]
struct Current {
    name: FileName,
    file: File,
    length: u64,
}

impl Folder {
    /// Opens the folder, and makes it if it is not there.
    pub(crate) fn open(path: &Path, limits: Limits) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Open { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed)?;
        let lock = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        fs::read_dir(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), limits, _lock: lock, current: None })
    }

    /// The folder's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a frame to the file of the hour of `now`, after it has made room. Returns the bytes of all files.
    ///
    /// # Errors
    /// Fails with the system's error. Nothing is appended then: the part that was written is cut off again.
    pub(crate) fn append(&mut self, frame: &[u8], now: Timestamp) -> io::Result<u64> {
        let length = frame.len() as u64;
        let before = self.make_room(length, now)?;
        let current = self.current(length, now)?;
        if let Err(error) = current.file.write_all(frame) {
            if current.file.set_len(current.length).is_err() {
                // The rest of the frame stays, and a reader counts it as damage. The next frame follows it.
                self.current = None;
            }
            return Err(error);
        }
        current.length += length;
        Ok(before + length)
    }

    /// Passes what was written to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.current.as_ref().map_or(Ok(()), |current| current.file.sync_data())
    }

    /// Deletes the files that are too old, and the oldest ones until there is room for `length` bytes. Returns the bytes of those
    /// that are left.
    fn make_room(&mut self, length: u64, now: Timestamp) -> io::Result<u64> {
        let found = files(&self.path)?;
        let mut bytes: u64 = found.iter().map(|found| found.length).sum();
        let (old, young): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|found| found.name.is_older_than(self.limits.age, now));
        let in_use = self.current.as_ref().map(|current| current.name);
        for (is_old, found) in
            old.into_iter().map(|found| (true, found)).chain(young.into_iter().map(|found| (false, found)))
        {
            let is_needed = is_old || bytes.saturating_add(length) > self.limits.bytes;
            if !is_needed {
                break;
            }
            if in_use == Some(found.name) && !is_old {
                continue;
            }
            if in_use == Some(found.name) {
                self.current = None;
            }
            fs::remove_file(&found.path)?;
            bytes -= found.length;
        }
        if bytes.saturating_add(length) > self.limits.bytes {
            let limit = self.limits.bytes;
            let what = format!("an interval of {length} bytes has no room: the limit of all files is {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, what));
        }
        Ok(bytes)
    }

    /// The file for a frame: that of this hour, or another one when that is full.
    fn current(&mut self, length: u64, now: Timestamp) -> io::Result<&mut Current> {
        let hour = FileName::hour_of(now);
        let largest = (self.limits.bytes / FILES).min(LARGEST_FILE);
        let fits =
            |it: &Current| it.name.hour == hour && (it.length == 0 || it.length.saturating_add(length) <= largest);
        // Somebody may have deleted the file.
        let is_there = |it: &Current| it.file.metadata().is_ok_and(|found| found.nlink() > 0);
        let kept = self.current.take().filter(|it| fits(it) && is_there(it));
        let kept = match kept {
            Some(kept) => kept,
            None => self.next(hour, |it| fits(it))?,
        };
        Ok(self.current.insert(kept))
    }

    /// The last file of the hour if it fits, else a new one behind it.
    fn next(&self, hour: u64, fits: impl Fn(&Current) -> bool) -> io::Result<Current> {
        let last = files(&self.path)?.into_iter().rev().find(|found| found.name.hour == hour);
        let Some(last) = last else { return self.file(FileName { hour, part: 0 }) };
        let current = self.file(last.name)?;
        if fits(&current) || last.name.part >= LAST_PART {
            return Ok(current);
        }
        self.file(FileName { hour, part: last.name.part + 1 })
    }

    fn file(&self, name: FileName) -> io::Result<Current> {
        let path = self.path.join(name.to_string());
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).custom_flags(flags).open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a regular file", path.display()),
            ));
        }
        if metadata.len() == 0 {
            // Whatever the umask is: the group shall read.
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        }
        Ok(Current { name, file, length: metadata.len() })
    }
}

#[cfg(test)]
mod tests;
