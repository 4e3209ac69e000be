//! A file that a run made, and has not written to yet.

use std::path::PathBuf;

use crate::files::Identity;

/// Removes the file when it is dropped, so that a run that cannot start leaves no empty file.
#[derive(Debug, Default)]
pub(super) struct Made(Option<(PathBuf, Identity)>);

impl Made {
    pub(super) const fn new(path: PathBuf, identity: Identity) -> Self {
        Self(Some((path, identity)))
    }

    /// Keeps the file: it has results, if only empty ones.
    pub(super) fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let Some((path, identity)) = self.0.take() else { return };
        // The name may stand for another file by now.
        if Identity::of_input(&path) == Some(identity) {
            // The run has failed, and says why; a file that cannot be removed is no further error.
            _ = std::fs::remove_file(path);
        }
    }
}
