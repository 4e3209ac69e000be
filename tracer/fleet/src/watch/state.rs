//! The file in which the lives of findings survive a restart.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use droptrace_base::files;
use droptrace_base::outside::to_json;
use serde::{Deserialize, Serialize};

use super::lives::{Life, Lives};

const SCHEMA: &str = "droptrace.watch.v1";
/// The largest size of the file in bytes: more than all findings that are kept.
const MAX_FILE: u64 = 256 << 20;

/// The error of the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The file cannot be read.
    #[error("cannot read the state in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not a state of this version.
    #[error("{} is not a state of droptrace-fleet watch, or it is damaged: name another file, or remove it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The cause; `None` for another schema.
        source: Option<serde_json::Error>,
    },
    /// The file cannot be written.
    #[error("cannot write the state to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// What a process keeps for the next one.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    schema: String,
    /// The findings that are open.
    pub(crate) findings: Lives,
    /// Findings that were closed, each with its identity, which Alertmanager does not know yet.
    #[serde(default)]
    pub(crate) unsent: Vec<(String, Life)>,
}

impl State {
    /// Reads the state of an earlier process; it is empty if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self, StateError> {
        let bytes = match files::read(path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
        };
        let malformed = |source| StateError::Malformed { path: path.to_owned(), source };
        let state: Self = serde_json::from_slice(&bytes).map_err(|error| malformed(Some(error)))?;
        if state.schema == SCHEMA { Ok(state) } else { Err(malformed(None)) }
    }

    /// Replaces the file, which is whole at each time, also after a crash of the machine.
    pub(crate) fn write(&mut self, path: &Path) -> Result<(), StateError> {
        SCHEMA.clone_into(&mut self.schema);
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let replace = || {
            let mut bytes = Vec::new();
            to_json(&mut bytes, self)?;
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        replace().map_err(|source| StateError::Write { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use droptrace_base::domain::event::Timestamp;

    use super::super::known::Known;
    use super::*;

    #[test]
    fn lives_and_closings_survive() {
        let path = std::env::temp_dir().join(format!("droptrace-watch-{}", std::process::id()));
        assert_eq!(State::read(&path).unwrap(), State::default());
        let mut state = State::default();
        let closed = state.findings.round(Timestamp(7), vec![("a".into(), Known::sample("it\u{202e}s"))], 3).lives;
        state.unsent = closed.into_iter().map(|(_, id, life)| (id, life)).collect();
        state.write(&path).unwrap();
        let read = State::read(&path).unwrap();
        assert!(read == state && read.unsent.len() == 1 && read.findings.are_open());
        let text = fs::read_to_string(&path).unwrap();
        for wrong in ["", "{}", &text[..text.len() - 2], &text.replace("watch.v1", "watch.v2")] {
            fs::write(&path, wrong).unwrap();
            assert!(matches!(State::read(&path), Err(StateError::Malformed { .. })), "{wrong}");
        }
        fs::remove_file(path).unwrap();
        assert!(matches!(State::read(Path::new("/dev/zero")), Err(StateError::Read { .. })));
        assert!(matches!(state.write(Path::new("/nowhere/x")), Err(StateError::Write { .. })));
    }
}
