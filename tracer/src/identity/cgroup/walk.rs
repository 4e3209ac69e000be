//! Finds cgroups by a walk through the hierarchy, which needs no capability.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

/// What a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// The number of cgroups that were found, without the root.
    pub(super) cgroups: usize,
    /// The walk ended at its bound, so that more cgroups may exist.
    pub(super) is_cut: bool,
}

/// Passes id and path of up to `most` cgroups to `visit`, the upper levels of the hierarchy first. The paths start at
/// `mount`. A cgroup that ends meanwhile may be left out.
///
/// The id comes from the entry of the parent folder (`kernfs_fop_readdir`, `fs/kernfs/dir.c`), so that no folder is
/// examined only for its number.
pub(super) fn walk(mount: &Path, most: usize, mut visit: impl FnMut(u64, &Path)) -> Walk {
    let mut walk = Walk::default();
    let mut waiting = VecDeque::from([PathBuf::new()]);
    while let Some(folder) = waiting.pop_front() {
        for entry in fs::read_dir(mount.join(&folder)).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if walk.cgroups >= most {
                walk.is_cut = true;
                return walk;
            }
            walk.cgroups += 1;
            let path = folder.join(entry.file_name());
            visit(entry.ino(), &path);
            waiting.push_back(path);
        }
    }
    walk
}
