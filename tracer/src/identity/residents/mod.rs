//! Finds who lives in a network namespace: the owner of the processes in it.

mod group;
mod links;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use group::{Group, without_unit};
use links::Links;

use super::container::Owner;
use super::netns::{Identify, NetnsId};
use super::proc_folder::{Folder, Process, Refused, Unreadable, hides_processes, pids};
use super::recent::Recent;
use crate::kernel::clock::thread_time;

/// The greatest number of namespaces whose owners are kept.
const CAPACITY: usize = 4096;
/// The greatest number of processes that one search examines.
const MOST_PROCESSES: usize = 65_536;
/// The least time between two searches. It becomes longer if searches, and the lookups of links after them, would take more
/// than a hundredth of a processor.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
const SHARE_OF_A_PROCESSOR: u32 = 100;

/// The owner of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    /// The path that the cgroups of the processes have in common. It is that of the pod for the namespace of a pod.
    pub(crate) cgroup: Option<String>,
    /// The owner of this cgroup. Only processes in containers count, if there are any.
    pub(crate) owner: Owner,
    /// The first of these processes.
    pub(crate) process: Process,
    /// The number of these processes.
    pub(crate) processes: u32,
    /// The number of further containers in this namespace that are neither in the same pod nor in the same container,
    /// as with `docker run --network container:NAME`; 0 if the owner is not a container.
    pub(crate) others: u32,
}

impl Resident {
    /// Whether the owner is a container or a pod, and no other lives in the namespace.
    pub(crate) fn is_single_container(&self) -> bool {
        self.owner.is_contained() && self.others == 0
    }

    /// This later resident of the same namespace: containers of before count, also if they ended.
    fn after(self, before: &Self) -> Self {
        if !before.owner.is_contained() {
            return self;
        }
        if !self.owner.is_contained() {
            return before.clone();
        }
        let joined = u32::from(without_unit(&before.owner) != without_unit(&self.owner));
        Self { others: self.others.max(before.others).max(joined), ..self }
    }
}

/// Finds the owners of network namespaces. A search through `/proc` answers for all namespaces; it takes place when an
/// owner is asked for, at most once a second. The owner of a namespace with a cookie stays known after its end.
#[derive(Debug)]
pub(crate) struct Residents {
    proc: PathBuf,
    known: Recent<NetnsId, Arc<Resident>>,
    /// The host's own namespace.
    host: Option<u32>,
    /// What the last search found, by inode number.
    found: HashMap<u32, Group>,
    /// The answers since the last search, and those about links, by their indexes.
    answers: Recent<NetnsId, Option<Arc<Resident>>>,
    beyond: Recent<u32, Option<Arc<Resident>>>,
    links: Links,
    /// The start of the last search.
    searched: Option<Instant>,
    /// The time of a processor that the last search took, with the lookups of links since then.
    taken: Duration,
    unreadable: Refused,
    has_hidden: bool,
}

impl Default for Residents {
    fn default() -> Self {
        Self::new()
    }
}

impl Residents {
    /// The constructor reads nothing.
    pub(crate) fn new() -> Self {
        Self::of(Path::new("/proc"))
    }

    fn of(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            known: Recent::new(CAPACITY),
            host: None,
            found: HashMap::new(),
            answers: Recent::new(CAPACITY),
            beyond: Recent::new(CAPACITY),
            links: Links::new(),
            searched: None,
            taken: Duration::ZERO,
            unreadable: Refused::default(),
            has_hidden: false,
        }
    }

    /// The owner of a network namespace. It is absent for the host's own namespace, which is nobody's; for a namespace
    /// without a process; for one whose processes may not be read without `CAP_SYS_PTRACE`; and for all namespaces where
    /// the host's own one is unknown.
    ///
    /// If the namespace has a cookie and `identify` can tell that of a process's namespace, then both are compared,
    /// because another namespace may have the inode number by now. Otherwise the owner is that of the namespace which
    /// has the number at the time of the search.
    pub(crate) fn owner(&mut self, namespace: NetnsId, identify: &impl Identify) -> Option<Arc<Resident>> {
        self.owner_at(namespace, identify, Instant::now())
    }

    fn owner_at(&mut self, namespace: NetnsId, identify: &impl Identify, now: Instant) -> Option<Arc<Resident>> {
        if self.host == Some(namespace.inum) {
            return None;
        }
        self.search_if_due(now);
        if let Some(answer) = self.answers.get(&namespace) {
            return answer.clone();
        }
        let answer = self.answer(namespace, identify);
        self.answers.insert(namespace, answer.clone());
        answer
    }

    /// The owner of the network namespace at the other end of a virtual link (veth) of this process's own namespace, by the
    /// link's index. It stays known when the link has gone. It is absent for links of other kinds, for a link whose other end
    /// was moved during the run, and as in [`Residents::owner`].
    pub(crate) fn owner_beyond(&mut self, ifindex: u32, identify: &impl Identify) -> Option<Arc<Resident>> {
        let now = Instant::now();
        self.search_if_due(now);
        if let Some(answer) = self.beyond.get(&ifindex) {
            return answer.clone();
        }
        let before = thread_time();
        let Self { links, proc, found, .. } = self;
        let processes = found.values().map(Group::pid);
        let namespace = links.beyond(ifindex, proc, processes, identify);
        let answer = namespace.and_then(|namespace| self.owner_at(namespace, identify, now));
        self.beyond.insert(ifindex, answer.clone());
        self.taken += thread_time().saturating_sub(before);
        answer
    }

    fn search_if_due(&mut self, now: Instant) {
        let pause = SEARCH_INTERVAL.max(self.taken.saturating_mul(SHARE_OF_A_PROCESSOR));
        if self.searched.is_none_or(|last| now >= last + pause) {
            let before = thread_time();
            self.search();
            self.searched = Some(now);
            self.taken = thread_time().saturating_sub(before);
        }
    }

    /// What the last search found, and what is known of the namespace from the searches before.
    fn answer(&mut self, namespace: NetnsId, identify: &impl Identify) -> Option<Arc<Resident>> {
        let group = self.found.get(&namespace.inum);
        let found = group.filter(|group| is_same(&self.proc, group.pid(), namespace, identify)).map(Group::resident);
        if namespace.cookie.is_none() {
            return found.map(Arc::new);
        }
        let before = self.known.get(&namespace);
        let Some(found) = found else { return before.cloned() };
        let resident = Arc::new(if let Some(before) = before { found.after(before) } else { found });
        self.known.insert(namespace, Arc::clone(&resident));
        Some(resident)
    }

    /// Why the last search may have missed an owner, in words; absent if no such reason is known.
    pub(crate) fn limits(&self) -> Option<String> {
        if self.has_hidden {
            return Some(
                "/proc hides the processes of other users (mount option hidepid); CAP_SYS_PTRACE shows them".into(),
            );
        }
        self.unreadable.limit("the network namespace", "CAP_SYS_PTRACE")
    }

    fn search(&mut self) {
        self.found.clear();
        self.answers = Recent::new(CAPACITY);
        self.beyond = Recent::new(CAPACITY);
        self.links.renew();
        self.unreadable = Refused::default();
        let pids = pids(&self.proc);
        self.has_hidden = hides_processes(&pids);
        self.host = host(&self.proc);
        let Some(host) = self.host else {
            self.unreadable.add(1);
            return;
        };
        for pid in pids.into_iter().take(MOST_PROCESSES) {
            let Some(folder) = Folder::open(&self.proc, pid) else { continue };
            match folder.netns() {
                Ok(inum) if inum != host => self.add(inum, &folder),
                Err(Unreadable::Forbidden) if !folder.is_kernel_thread() => self.unreadable.add(pid),
                _ => {}
            }
        }
    }

    fn add(&mut self, inum: u32, folder: &Folder) {
        let Some(process) = folder.process() else { return };
        match self.found.get_mut(&inum) {
            Some(group) => group.add(process),
            None => _ = self.found.insert(inum, Group::new(process)),
        }
    }
}

/// The host's own namespace: that of the first process, or where it may not be read, that of the kernel's threads, whose
/// parent is the second process (`rest_init`, `init/main.c`).
fn host(proc: &Path) -> Option<u32> {
    let of = |pid, is_host: fn(&Folder) -> bool| Folder::open(proc, pid).filter(is_host)?.netns().ok();
    of(1, |_| true).or_else(|| of(2, Folder::is_kernel_thread))
}

/// Returns whether the process is in this namespace now, as far as `identify` can tell.
fn is_same(proc: &Path, pid: u32, namespace: NetnsId, identify: &impl Identify) -> bool {
    let Some(cookie) = namespace.cookie else { return true };
    let Some(file) = Folder::open(proc, pid).and_then(|folder| folder.open_netns()) else { return false };
    match identify.identify(file.as_fd()) {
        Ok(found) => found.inum == namespace.inum && found.cookie.is_none_or(|found| found == cookie),
        Err(error) => {
            tracing::debug!("the cookie of the network namespace of process {pid}: {error}");
            true
        }
    }
}

#[cfg(test)]
mod tests;
