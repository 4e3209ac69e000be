//! One host's snapshot, from the host into a file.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::ask::Ask;
use super::child::{Bounds, End, RunError, run};
use super::said::{said, shortened};

/// The first bytes that are shown of an answer that is no snapshot.
const SHOWN: u64 = 80;

/// The reason why there is no snapshot of a host.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSnapshot {
    /// The file cannot be written.
    #[error("cannot write to {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No program can ask the host.
    #[error("cannot ask the host")]
    Run(#[source] RunError),
    /// ssh, kubectl or the program on the host failed.
    #[error("{0}")]
    Failed(String),
    /// The answer did not come in time.
    #[error("no answer within {} s{}", time.as_secs_f64(), after(said))]
    Late {
        /// The time that the host had.
        time: Duration,
        /// The last words.
        said: String,
    },
    /// The host sent too much.
    #[error("it sent more than {} MiB; see --max-size", bytes >> 20)]
    Flood {
        /// The bound.
        bytes: u64,
    },
    /// This process is to end.
    #[error("interrupted")]
    Stopped,
    /// The program on the host ended without a snapshot.
    #[error("it sent nothing{}", after(said))]
    Nothing {
        /// The last words.
        said: String,
    },
    /// The answer is not JSON.
    #[error("it sent no snapshot, but text that begins with {start:?}: perhaps the output of a shell's start-up file")]
    Text {
        /// The beginning of the text.
        start: String,
    },
}

fn after(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; its last words: {said}") }
}

/// A file that is removed unless it is kept.
struct Partial(Option<PathBuf>);

impl Drop for Partial {
    fn drop(&mut self) {
        // A file that cannot be removed is not read either: only files of hosts that answered are.
        _ = self.0.as_ref().map(fs::remove_file);
    }
}

/// Asks a host, and writes its answer to a new file in the folder.
pub(super) fn fetch(ask: &Ask, folder: &Path, bounds: Bounds, stop: &AtomicBool) -> Result<PathBuf, NoSnapshot> {
    let path = folder.join(ask.file());
    let cannot_write = |source| NoSnapshot::Write { file: path.clone(), source };
    let mut file = File::options().write(true).create_new(true).open(&path).map_err(cannot_write)?;
    let mut partial = Partial(Some(path.clone()));
    let (end, text) = run(&mut ask.command(), &mut file, bounds, stop).map_err(|error| match error {
        RunError::Output(source) => cannot_write(source),
        start @ RunError::Start(_) => NoSnapshot::Run(start),
    })?;
    let text = |status| said(&text, status);
    match end {
        End::Exited(status) if status.success() => check(&path, text(None))?,
        End::Exited(status) => return Err(NoSnapshot::Failed(text(Some(status)))),
        End::Late => return Err(NoSnapshot::Late { time: bounds.time, said: text(None) }),
        End::Flood => return Err(NoSnapshot::Flood { bytes: bounds.bytes }),
        End::Stopped => return Err(NoSnapshot::Stopped),
    }
    tracing::info!("{}: {}", ask.name, text(None));
    // The file is kept.
    partial.0 = None;
    Ok(path)
}

/// Returns whether the file may be a snapshot; reading it shows whether it is one.
fn check(path: &Path, said: String) -> Result<(), NoSnapshot> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SHOWN).read_to_end(&mut start));
    read.map_err(|source| NoSnapshot::Write { file: path.to_owned(), source })?;
    match start.first() {
        None => Err(NoSnapshot::Nothing { said }),
        Some(b'{') => Ok(()),
        Some(_) => {
            let text = String::from_utf8_lossy(&start);
            Err(NoSnapshot::Text { start: shortened(text.lines().next().unwrap_or_default()) })
        }
    }
}
