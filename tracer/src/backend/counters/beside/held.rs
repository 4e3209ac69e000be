//! Network namespaces that only a file holds: a mount, or the open file of a process.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::identity::mountinfo::mounts;
use crate::identity::proc_folder::{inode_of_netns, open_files, pids};

/// The greatest number of open files that one pass looks at. A file takes about a microsecond.
const MOST_FILES: usize = 100_000;

/// The greatest number of files that one pass notes for a namespace. Some may be open for a moment only.
const MOST_OF_ONE: usize = 4;

/// Files that stand for network namespaces, by the inode number of the namespace.
pub(super) type Held = BTreeMap<u32, Vec<PathBuf>>;

/// The mounts of this process's namespace of mounts, such as those under `/run/netns` and `/run/docker/netns`; with
/// `open`, the open files of all other processes as well.
pub(super) fn held(proc: &Path, open: bool) -> Held {
    let mut held = std::fs::read(proc.join("self/mountinfo")).map(|text| mounted(&text)).unwrap_or_default();
    if open {
        let mut left = MOST_FILES;
        for pid in pids(proc).into_iter().filter(|pid| *pid != std::process::id()) {
            open_files(proc, pid, &mut left, |file, link| add(&mut held, link, || file.to_owned()));
        }
    }
    held
}

fn mounted(mountinfo: &[u8]) -> Held {
    let mut held = Held::new();
    for mount in mounts(mountinfo).filter(|mount| mount.kind == b"nsfs") {
        let root = std::ffi::OsStr::from_bytes(mount.root);
        if let Ok(link) = std::ffi::CString::new(root.as_bytes()) {
            add(&mut held, &link, || mount.point());
        }
    }
    held
}

fn add(held: &mut Held, link: &CStr, path: impl FnOnce() -> PathBuf) {
    if let Some(inum) = inode_of_netns(link) {
        let files = held.entry(inum).or_default();
        if files.len() < MOST_OF_ONE {
            files.push(path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_network_namespaces_are_found() {
        let text = b"1 1 0:4 net:[7] /run/docker/netns/a rw shared:9 - nsfs nsfs rw\n\
            2 1 0:4 mnt:[8] /run/m rw - nsfs nsfs rw\n3 1 0:4 net:[9] /x rw - tmpfs tmpfs rw\n\
            4 1 0:4 net:[7] /run/b rw - nsfs nsfs rw\n";
        assert_eq!(mounted(text), Held::from([(7, vec!["/run/docker/netns/a".into(), "/run/b".into()])]));
    }

    #[test]
    fn open_file_of_another_process_is_found() {
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let inum = crate::identity::netns::own().unwrap();
        let mut child =
            std::process::Command::new("sleep").arg("60").stdin(std::process::Stdio::from(file)).spawn().unwrap();
        let path = held(Path::new("/proc"), true).get(&inum).cloned();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(path.is_some_and(|files| !files.is_empty()), "the file that is the standard input of the child");
    }
}
