//! Reads the intervals of a time span from the files of a history.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::body::{Interval, Rejected};
use super::folder::{Found, LARGEST_FILE, files};
use super::frame::{self, Part};
use crate::domain::past::Span;
use crate::files;

/// Why a history cannot be read.
#[derive(Debug, Error)]
pub(crate) enum HistoryError {
    /// The folder is not there.
    #[error(
        "there is no history in {}: `droptrace agent --history FOLDER` keeps one from then on; --history names another folder",
        path.display()
    )]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// The folder, or a file in it, may not be read.
    #[error("cannot read the history in {}", path.display())]
    Open {
        /// The folder or the file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder or a file belongs to others.
    #[error(
        "{} may be read by its owner and its group only: run as root, or let the group of {} be yours (`chgrp -R`)",
        path.display(), folder.display()
    )]
    Forbidden {
        /// The folder or the file.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
}

/// What one step of reading finds.
#[derive(Debug)]
pub(crate) enum Read {
    /// An interval whose time overlaps the span.
    Interval(Box<Interval>),
    /// A frame of another time.
    Elsewhere(Span),
    /// A part of a file that is no frame, or a frame whose content cannot be read.
    Damaged(Option<Rejected>),
}

/// The files of a history.
#[derive(Debug)]
pub(crate) struct History {
    folder: PathBuf,
    files: Vec<Found>,
}

impl History {
    /// Finds the files.
    pub(crate) fn open(folder: &Path) -> Result<Self, HistoryError> {
        let path = folder.to_owned();
        match files(folder) {
            Ok(files) if files.is_empty() => Err(HistoryError::Absent { path }),
            Ok(files) => Ok(Self { folder: path, files }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(HistoryError::Absent { path }),
            Err(error) => Err(failed(folder, folder, error)),
        }
    }

    /// Reads all files, the oldest first, and gives what is in them to `take`. Only one file is in memory at a time. An interval
    /// that stands in the files more than once, because a file was copied, counts once.
    ///
    /// # Errors
    /// Fails if a file cannot be read. A file that the agent deletes meanwhile is left out.
    pub(crate) fn read(&self, span: Span, mut take: impl FnMut(Read)) -> Result<(), HistoryError> {
        let (mut seen, mut repeated) = (HashSet::new(), 0_u64);
        let mut is_new = |read: &Read| match read {
            Read::Interval(interval) => {
                let is_new = seen.insert((interval.run.clone(), interval.number));
                repeated += u64::from(!is_new);
                is_new
            }
            _ => true,
        };
        for Found { path, .. } in &self.files {
            match files::read(path, 2 * LARGEST_FILE) {
                Ok(bytes) => intervals(&bytes, span).filter(&mut is_new).for_each(&mut take),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => take(Read::Damaged(None)),
                Err(error) => return Err(failed(&self.folder, path, error)),
            }
        }
        if repeated > 0 {
            tracing::warn!(
                "{repeated} intervals are in the files of {} more than once, and count once",
                self.folder.display()
            );
        }
        Ok(())
    }
}

/// What the content of a file has for a time span.
pub(crate) fn intervals(bytes: &[u8], span: Span) -> impl Iterator<Item = Read> {
    frame::parts(bytes).map(move |part| match part {
        Part::Damage(_) => Read::Damaged(None),
        Part::Frame(frame) if !frame.span.overlaps(span) => Read::Elsewhere(frame.span),
        Part::Frame(frame) => match frame.body().map(|body| Interval::read(&body)) {
            // A clock that was set has two times, and the hours between them are none of the interval.
            Ok(Ok(interval)) if !interval.spans().iter().any(|it| it.overlaps(span)) => Read::Elsewhere(frame.span),
            Ok(Ok(interval)) => Read::Interval(Box::new(interval)),
            Ok(Err(rejected)) => Read::Damaged(Some(rejected)),
            Err(_) => Read::Damaged(None),
        },
    })
}

fn failed(folder: &Path, path: &Path, error: io::Error) -> HistoryError {
    let (path, folder) = (path.to_owned(), folder.to_owned());
    if error.kind() == io::ErrorKind::PermissionDenied {
        HistoryError::Forbidden { path, folder }
    } else {
        HistoryError::Open { path, source: error }
    }
}
