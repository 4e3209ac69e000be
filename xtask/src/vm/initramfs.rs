//! The file system that a machine starts with: a cpio archive that the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use cpio::newc::{Builder, trailer};

const FOLDER: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive under construction. Kernels accept several archives, one after the other.
#[derive(Clone, Default)]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    inode: u32,
    there: BTreeSet<String>,
}

impl Initramfs {
    /// Adds a folder and its parents.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]).filter(|end| *end > 0);
        for folder in ends.map(|end| &path[..end]) {
            if !self.there.contains(folder) {
                self.entry(folder, FOLDER, (0, 0), b"")?;
            }
        }
        Ok(())
    }

    /// Adds an executable file, in a folder that is added if it does not exist.
    pub(super) fn file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.in_folder(path, EXECUTABLE, (0, 0), contents)
    }

    /// Adds a copy of a file of this machine.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let contents = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, &contents)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.in_folder(path, LINK, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, number: (u32, u32)) -> Result<()> {
        self.in_folder(path, CHARACTER_DEVICE, number, b"")
    }

    /// Returns whether there is such a file, link or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        self.there.contains(path.trim_start_matches('/'))
    }

    /// The whole archive.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        trailer(self.bytes).context("cannot close the archive")
    }

    fn in_folder(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder)?;
        }
        self.entry(path, mode, device, contents)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        let size = u32::try_from(contents.len()).with_context(|| format!("{path} is too large"))?;
        self.inode += 1;
        self.there.insert(path.to_owned());
        let entry = Builder::new(path).ino(self.inode).mode(mode).rdev_major(device.0).rdev_minor(device.1);
        let mut writer = entry.write(std::mem::take(&mut self.bytes), size);
        writer.write_all(contents).with_context(|| format!("cannot pack {path}"))?;
        self.bytes = writer.finish().with_context(|| format!("cannot pack {path}"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use cpio::newc::Reader;

    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut initramfs = Initramfs::default();
        initramfs.file("/a/b/c", b"text").unwrap();
        initramfs.link("a/d", "b/c").unwrap();
        initramfs.device("dev/console", (5, 1)).unwrap();
        assert!(initramfs.has("/a/b") && !initramfs.has("/b"));
        let mut archive = Cursor::new(initramfs.finish().unwrap());
        let mut found = Vec::new();
        loop {
            let mut reader = Reader::new(archive).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                break;
            }
            let mut contents = String::new();
            reader.read_to_string(&mut contents).unwrap();
            found.push((entry.name().to_owned(), entry.mode(), entry.rdev_major(), contents));
            archive = reader.finish().unwrap();
        }
        let expected = [
            ("a", FOLDER, 0, ""),
            ("a/b", FOLDER, 0, ""),
            ("a/b/c", EXECUTABLE, 0, "text"),
            ("a/d", LINK, 0, "b/c"),
            ("dev", FOLDER, 0, ""),
            ("dev/console", CHARACTER_DEVICE, 5, ""),
        ];
        assert_eq!(found, expected.map(|(name, mode, major, text)| (name.to_owned(), mode, major, text.to_owned())));
    }
}
