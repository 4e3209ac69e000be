//! Tells files of network namespaces apart.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Distinguishes the file of one namespace from that of another. The inode number alone may belong to a second
/// namespace by now; the change time of the inode is different then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Signature {
    /// The inode number.
    pub(super) const fn inode(&self) -> u64 {
        self.inode
    }
}

impl From<Metadata> for Signature {
    fn from(metadata: Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), changed }
    }
}
