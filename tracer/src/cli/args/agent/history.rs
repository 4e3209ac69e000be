//! The options of `agent` for its history on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::backend::history::Limits;
use crate::cli::args::units;

/// The smallest limit, in bytes: the largest interval that is expected fits several times.
const SMALLEST: u64 = 16 << 20;
const DEFAULT_SIZE: u64 = 256 << 20;
const DEFAULT_AGE: Duration = Duration::from_hours(24);

/// Options of the command line and of the file, with the same names.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HistoryOptions {
    /// Keep the drops of each interval in this folder, for `droptrace stat --since`; packages use /var/lib/droptrace/history
    #[arg(long, value_name = "FOLDER")]
    pub(crate) history: Option<PathBuf>,

    /// Limit of all files of the history: the oldest are deleted first; at least 16M [default: 256M]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) history_size: Option<u64>,

    /// Delete files of the history this long after the end of their hour [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) history_age: Option<Duration>,
}

impl HistoryOptions {
    /// Returns these options, with missing ones taken from `other`.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            history: self.history.or(other.history),
            history_size: self.history_size.or(other.history_size),
            history_age: self.history_age.or(other.history_age),
        }
    }

    /// What differs from `before`, by name: nothing of it can change while an agent runs.
    pub(crate) fn fixed(&self, before: &Self) -> [(&'static str, bool); 3] {
        [
            ("history", self.history != before.history),
            ("history-size", self.history_size != before.history_size),
            ("history-age", self.history_age != before.history_age),
        ]
    }

    /// Returns these options, with paths relative to `folder`.
    #[must_use]
    pub(crate) fn within(self, folder: &Path) -> Self {
        Self { history: self.history.map(|path| folder.join(path)), ..self }
    }

    /// The limits of the files.
    pub(crate) fn limits(&self) -> Limits {
        Limits { bytes: self.history_size.unwrap_or(DEFAULT_SIZE), age: self.history_age.unwrap_or(DEFAULT_AGE) }
    }
}

fn size(text: &str) -> Result<u64, String> {
    units::size(text, SMALLEST)
}
