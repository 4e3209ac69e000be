//! The text files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// The top folder.
pub(crate) const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Folders without text of this repository: builds, git, and examples of the readers' input.
const SKIPPED_FOLDERS: [&str; 6] = ["target", ".git", "fixtures", "recordings", "corpus", "artifacts"];

/// Lists of the old words, and texts and packages of others.
const SKIPPED_FILES: [&str; 6] =
    ["refused-words.txt", "Cargo.lock", "LICENSE-APACHE", "LICENSE-GPL-2.0", "LICENSE-MIT", "copyright"];

/// The largest file that is read, in bytes. Larger ones contain data.
const LARGEST: u64 = 256 << 10;

/// Returns the path below the top folder, and the text, of each file that is valid UTF-8.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(Path::new(WORKSPACE), &mut files);
    assert!(files.len() > 300, "only {} files were found", files.len());
    let text = |file: PathBuf| {
        let text = fs::read_to_string(&file).ok()?;
        Some((file.strip_prefix(WORKSPACE).unwrap().display().to_string(), text))
    };
    files.into_iter().filter_map(text).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (name, metadata) = (entry.file_name(), entry.metadata().unwrap());
        let skips = |names: &[&str]| names.iter().any(|skipped| name == *skipped);
        if metadata.is_dir() && !skips(&SKIPPED_FOLDERS) {
            collect(&entry.path(), files);
        } else if metadata.is_file() && metadata.len() <= LARGEST && !skips(&SKIPPED_FILES) {
            files.push(entry.path());
        }
    }
}
