//! Finds the processes that have a socket open, in `/proc`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::identity::proc_folder::{Folder, pids};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process id.
    pub(crate) id: u32,
    /// The name of the process, at most 15 bytes (`TASK_COMM_LEN`).
    pub(crate) name: String,
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
        let (mut holders, proc) = (Self::default(), Path::new("/proc"));
        for id in pids(proc) {
            if let Some(folder) = Folder::open(proc, id) {
                holders.look_at(id, &folder);
            }
        }
        holders
    }

    fn look_at(&mut self, id: u32, folder: &Folder) {
        if let Ok(netns) = folder.netns() {
            self.namespaces.entry(netns).or_insert(id);
        }
        // Processes that this process may not read are left out.
        _ = folder.sockets(|inode, _| {
            let holders = self.by_inode.entry(inode).or_default();
            if holders.last() != Some(&id) {
                holders.push(id);
            }
            self.names.entry(id).or_insert_with(|| folder.comm().unwrap_or_default());
            true
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_its_namespace() {
        let own = crate::identity::netns::own().unwrap();
        assert!(Holders::look().namespaces().any(|(netns, _)| netns == own));
    }
}
