//! An invented fleet: snapshots of many hosts with drops as real fleets have them (few reasons make most of them, hosts
//! differ by orders of magnitude), and faults planted among them.

mod catalogue;
mod host;
pub mod judge;
mod planted;

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use droptrace_base::render::output::Output;
use droptrace_base::snapshot::{self, Snapshot};

use catalogue::Catalogue;
pub use planted::Planted;

/// Threads that write.
const WRITERS: usize = 2;

/// One of two days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// The day of the baseline.
    Before,
    /// The day with the faults.
    Now,
}

/// A fleet, the same for the same numbers.
#[derive(Debug)]
pub struct World {
    hosts: usize,
    rows: usize,
    seed: u64,
    catalogue: Catalogue,
    planted: Planted,
}

impl World {
    /// So many hosts with so many rows each.
    pub fn new(hosts: usize, rows: usize, seed: u64) -> Result<Self> {
        let catalogue = Catalogue::new(seed)?;
        let planted = Planted::new(hosts, seed, &catalogue)?;
        Ok(Self { hosts, rows, seed, catalogue, planted })
    }

    /// The faults that are to be found.
    pub const fn planted(&self) -> &Planted {
        &self.planted
    }

    /// A host's snapshot of a day; absent where the host is silent.
    pub fn snapshot(&self, host: usize, day: Day) -> Option<Snapshot> {
        let is_silent = day == Day::Now && self.planted.silent.contains(&host);
        (!is_silent).then(|| host::snapshot(self, host, day))
    }

    /// Writes all snapshots of a day. Returns their number of bytes.
    pub fn write(&self, folder: &Path, day: Day, ending: &str) -> Result<u64> {
        fs::create_dir_all(folder)?;
        let part = |first: usize| -> Result<u64> {
            let mut bytes = 0;
            for host in (first..self.hosts).step_by(WRITERS) {
                let Some(snapshot) = self.snapshot(host, day) else { continue };
                let path = folder.join(format!("{}.json{ending}", snapshot.host));
                let mut output = Output::open(Some(&path))?;
                snapshot::write(&mut output, &snapshot)?;
                output.finish()?;
                bytes += fs::metadata(&path).with_context(|| path.display().to_string())?.len();
            }
            Ok(bytes)
        };
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|first| scope.spawn(move || part(first))).collect();
            let mut written =
                writers.into_iter().map(|writer| writer.join().map_err(|_| anyhow!("a writer panicked"))?);
            written.try_fold(0, |sum, bytes| Ok(sum + bytes?))
        })
    }
}

/// A host's node name.
fn name(host: usize) -> String {
    format!("host-{host:05}")
}
