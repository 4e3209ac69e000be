//! The network namespaces of this host: those of all processes and threads, found in one pass, and those that have a name
//! only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::namespace::Member;
use crate::identity::netns::Namespaces;
use crate::identity::proc_folder::{Folder, Unreadable, further_threads, pids};

/// The greatest number of processes of a namespace that one pass notes. The time at which a process started takes longer to
/// read than all else.
const MOST_FOUND: usize = 4;

/// The namespaces that one pass over `/proc` found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The first processes of each namespace, by the namespace's inode number.
    pub(super) found: BTreeMap<u32, Vec<Member>>,
    /// The number of processes whose namespace this process may not see (`CAP_SYS_PTRACE`).
    pub(super) unreadable: u32,
}

impl Survey {
    /// Looks at all processes, and notes those in the namespace `only`, or in any. A thread may be in another namespace
    /// than its process: with `threads`, the pass looks at all threads as well.
    pub(super) fn of(proc: &Path, only: Option<u32>, threads: bool) -> Self {
        let mut survey = Self::default();
        for pid in pids(proc) {
            survey.unreadable += u32::from(!survey.look_at(proc, pid, only));
            for thread in if threads { further_threads(proc, pid) } else { vec![] } {
                survey.look_at(proc, thread, only);
            }
        }
        survey
    }

    /// Looks at a process or a thread. Returns whether its namespace may be seen.
    fn look_at(&mut self, proc: &Path, pid: u32, only: Option<u32>) -> bool {
        let Some(folder) = Folder::open(proc, pid) else { return true };
        match folder.netns() {
            Ok(inum) if only.is_none_or(|only| only == inum) => self.add(inum, pid, &folder),
            Err(Unreadable::Forbidden) => return folder.is_kernel_thread(),
            _ => {}
        }
        true
    }

    fn add(&mut self, inum: u32, pid: u32, folder: &Folder) {
        let members = self.found.entry(inum).or_default();
        if members.len() < MOST_FOUND
            && let Some(started) = folder.started()
        {
            members.push(Member { pid, started });
        }
    }

    /// The wanted namespaces with a name and without a process, in the order of their names.
    pub(super) fn without_process(
        &self,
        names: &mut Namespaces,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Vec<(u32, Arc<str>)> {
        let is_without = |inum| is_wanted(inum) && !self.found.contains_key(&inum);
        names.all().into_iter().filter(|(inum, _)| is_without(*inum)).collect()
    }
}
