//! The network namespaces of this host: those of all processes, found in one pass, and those that have a name only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::namespace::Member;
use crate::identity::netns::Namespaces;
use crate::identity::proc_folder::{Folder, Unreadable, pids};

/// The greatest number of processes of a namespace that one pass notes.
const MOST_FOUND: usize = 8;

/// The namespaces that one pass over `/proc` found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The first processes of each namespace, by the namespace's inode number.
    pub(super) found: BTreeMap<u32, Vec<Member>>,
    /// The number of processes whose namespace this process may not see (`CAP_SYS_PTRACE`).
    pub(super) unreadable: u32,
}

impl Survey {
    /// Looks at all processes, and notes those in the namespace `only`, or in any.
    pub(super) fn of(proc: &Path, only: Option<u32>) -> Self {
        let mut survey = Self::default();
        for pid in pids(proc) {
            let Some(folder) = Folder::open(proc, pid) else { continue };
            match folder.netns() {
                Ok(inum) if only.is_none_or(|only| only == inum) => survey.add(inum, pid, &folder),
                Err(Unreadable::Forbidden) if !folder.is_kernel_thread() => survey.unreadable += 1,
                _ => {}
            }
        }
        survey
    }

    fn add(&mut self, inum: u32, pid: u32, folder: &Folder) {
        let members = self.found.entry(inum).or_default();
        if members.len() < MOST_FOUND
            && let Some(started) = folder.started()
        {
            members.push(Member { pid, started });
        }
    }

    /// The wanted named namespaces without a process, by name.
    pub(super) fn without_process(&self, names: &mut Namespaces, is_wanted: impl Fn(u32) -> bool) -> Vec<Arc<str>> {
        let is_without = |inum| is_wanted(inum) && !self.found.contains_key(&inum);
        names.all().into_iter().filter(|(inum, _)| is_without(*inum)).map(|(_, name)| name).collect()
    }
}
