//! Reads many snapshots. Two threads read and parse; the snapshots are added in the order of the files, whichever
//! thread is faster, so that each run has the same result.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, Scope};

use droptrace_base::snapshot::{ReadError, Snapshot, read_file};

use super::Merge;
use super::files::Files;
use crate::model::Fleet;
use crate::report::{Input, Refused};

const READERS: usize = 2;
/// Snapshots by which one thread may be ahead.
const AHEAD: usize = 1;

/// The result of reading.
#[derive(Debug)]
pub struct Loaded {
    /// The sum of the snapshots that could be read.
    pub fleet: Fleet,
    /// The files that were read, and those that could not be read.
    pub input: Input,
}

/// Reads files, and keeps bursts of at least `storm_rate` packets per second. `progress` receives the number of files
/// that have been read, and of all files.
pub fn load(files: Files, storm_rate: f64, progress: &mut dyn FnMut(usize, usize)) -> Loaded {
    let Files { found: files, passed_over, refused } = files;
    let mut input = Input { refused, passed_over, ..Input::of_snapshots() };
    let mut merge = Merge::with_storms_from(storm_rate);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|first| reader(scope, &files, first)).collect();
        for (at, file) in files.iter().enumerate() {
            // A reader that has ended failed within this file.
            let read = readers[at % READERS]
                .recv()
                .map_err(|_| "reading the file failed, which is a fault of droptrace".to_owned());
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

/// Reads every second file, from the first or from the second.
fn reader<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    files: &'env [PathBuf],
    first: usize,
) -> Receiver<Result<Snapshot, ReadError>> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let mut mine = files.iter().skip(first).step_by(READERS);
        // The channel is closed only if the receiver has failed.
        mine.all(|file| sender.send(read_file(file)).is_ok())
    });
    receiver
}
