//! Reads many snapshots. Two threads read and parse; what they read is added in the order of the files, whoever is
//! faster, so that each run tells the same.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Scope};

use droptrace_base::snapshot::{ReadError, Snapshot, read_file};

use super::Merge;
use super::files::Files;
use crate::model::Fleet;
use crate::report::{Input, Refused};

const READERS: usize = 2;
/// Snapshots that one thread may be ahead.
const AHEAD: usize = 1;

/// What came of reading.
#[derive(Debug)]
pub struct Loaded {
    /// The sum of what could be read.
    pub fleet: Fleet,
    /// What was read, and what could not be.
    pub input: Input,
}

/// Reads files, and keeps bursts of at least `storm_rate` packets a second. `progress` is told how many of how many files have
/// been read.
pub fn load(files: Files, storm_rate: f64, progress: &mut dyn FnMut(usize, usize)) -> Loaded {
    let Files { found: files, passed_over, refused } = files;
    let mut input = Input { refused, passed_over, ..Input::of_snapshots() };
    let mut merge = Merge::with_storms_from(storm_rate);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|first| reader(scope, &files, first)).collect();
        for (at, file) in files.iter().enumerate() {
            // A reader that is gone has failed within this file.
            let read = readers[at % READERS].recv().map_err(|_| "reading it failed: a fault of droptrace".to_owned());
            let read = read.and_then(|read| read.map_err(|error| format!("{:#}", anyhow::Error::from(error))));
            let added = read.and_then(|snapshot| {
                let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
                merge.add(&snapshot, folder).map_err(|why| format!("{:#}", anyhow::Error::from(why)))
            });
            match added {
                Ok(()) => input.read += 1,
                Err(why) => input.refused.push(Refused { file: file.display().to_string(), why }),
            }
            progress(at + 1, files.len());
        }
    });
    Loaded { fleet: merge.into_fleet(), input }
}

/// Reads each second file, from the first or from the second.
fn reader<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    files: &'env [PathBuf],
    first: usize,
) -> Receiver<Result<Snapshot, ReadError>> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let mut mine = files.iter().skip(first).step_by(READERS);
        // Nobody receives any more only where the receiver has failed.
        mine.all(|file| sender.send(read_file(file)).is_ok())
    });
    receiver
}
