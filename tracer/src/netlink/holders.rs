//! Finds the processes that have a socket open, in `/proc`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub id: u32,
    /// The name of the process, at most 15 bytes (`TASK_COMM_LEN`).
    pub name: String,
}

/// Processes, their sockets and their network namespaces, as far as this process may see them.
#[derive(Debug, Default)]
pub(super) struct Holders {
    names: HashMap<u32, String>,
    by_inode: HashMap<u64, Vec<u32>>,
    /// One process id for each namespace.
    namespaces: BTreeMap<u32, u32>,
}

impl Holders {
    /// Examines all processes. Processes that end meanwhile, or that this process may not see, are left out.
    pub(super) fn look() -> Self {
        let mut holders = Self::default();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            if let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) {
                holders.look_at(id, &process.path());
            }
        }
        holders
    }

    fn look_at(&mut self, id: u32, process: &Path) {
        let netns = fs::metadata(process.join("ns/net")).ok().and_then(|metadata| u32::try_from(metadata.ino()).ok());
        if let Some(netns) = netns {
            self.namespaces.entry(netns).or_insert(id);
        }
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        for target in files.filter_map(|file| fs::read_link(file.path()).ok()) {
            let Some(inode) = target.to_str().and_then(inode_of) else { continue };
            let holders = self.by_inode.entry(inode).or_default();
            if holders.last() != Some(&id) {
                holders.push(id);
            }
            self.names.entry(id).or_insert_with(|| {
                let name = fs::read(process.join("comm")).unwrap_or_default();
                String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned()
            });
        }
    }

    /// The network namespaces, each with the id of a process in it.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = (u32, u32)> {
        self.namespaces.iter().map(|(netns, process)| (*netns, *process))
    }

    /// The processes that have the socket open.
    pub(super) fn of(&self, inode: u64) -> Vec<Process> {
        let holders = self.by_inode.get(&inode).into_iter().flatten();
        holders.map(|id| Process { id: *id, name: self.names.get(id).cloned().unwrap_or_default() }).collect()
    }
}

fn inode_of(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_distinguished_from_other_files() {
        assert_eq!(inode_of("socket:[487]"), Some(487));
        assert_eq!((inode_of("pipe:[487]"), inode_of("socket:[x]"), inode_of("/dev/null")), (None, None, None));
    }

    #[test]
    fn this_process_has_its_namespace() {
        let own = crate::identity::netns::own().unwrap();
        assert!(Holders::look().namespaces().any(|(netns, _)| netns == own));
    }
}
