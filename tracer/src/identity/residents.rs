//! Finds who lives in a network namespace: the owner of the processes in it.

mod group;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use group::Group;
pub use group::Resident;

use super::netns::{Identify, NetnsId};
use super::proc_folder::{Folder, Unreadable, hides_processes, pids};
use super::recent::Recent;
use crate::kernel::clock::thread_time;

/// The greatest number of namespaces whose owners are kept.
const CAPACITY: usize = 4096;
/// The greatest number of processes that one search examines.
const MOST_PROCESSES: usize = 65_536;
/// The least time between two searches. It becomes longer if searches would take more than a hundredth of a processor.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
const SHARE_OF_A_PROCESSOR: u32 = 100;

/// Finds the owners of network namespaces. A search through `/proc` answers for all namespaces; it takes place when an
/// owner is asked for, at most once a second. The owner of a namespace with a cookie stays known after its end.
#[derive(Debug)]
pub struct Residents {
    proc: PathBuf,
    known: Recent<NetnsId, Arc<Resident>>,
    /// The host's own namespace.
    host: Option<u32>,
    /// What the last search found, by inode number.
    found: HashMap<u32, Group>,
    /// The answers since the last search.
    answers: Recent<NetnsId, Option<Arc<Resident>>>,
    next_search: Option<Instant>,
    unreadable: u32,
    has_hidden: bool,
}

impl Default for Residents {
    fn default() -> Self {
        Self::new()
    }
}

impl Residents {
    /// The constructor reads nothing.
    pub fn new() -> Self {
        Self::of(Path::new("/proc"))
    }

    fn of(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            known: Recent::new(CAPACITY),
            host: None,
            found: HashMap::new(),
            answers: Recent::new(CAPACITY),
            next_search: None,
            unreadable: 0,
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
    pub fn owner(&mut self, namespace: NetnsId, identify: &impl Identify) -> Option<Arc<Resident>> {
        self.owner_at(namespace, identify, Instant::now())
    }

    fn owner_at(&mut self, namespace: NetnsId, identify: &impl Identify, now: Instant) -> Option<Arc<Resident>> {
        if self.host == Some(namespace.inum) {
            return None;
        }
        if self.next_search.is_none_or(|next| now >= next) {
            let before = thread_time();
            self.search();
            let taken = thread_time().saturating_sub(before);
            self.next_search = Some(now + SEARCH_INTERVAL.max(taken.saturating_mul(SHARE_OF_A_PROCESSOR)));
        }
        if let Some(answer) = self.answers.get(&namespace) {
            return answer.clone();
        }
        let answer = self.answer(namespace, identify);
        self.answers.insert(namespace, answer.clone());
        answer
    }

    /// What the last search found, and what is known of the namespace from the searches before.
    fn answer(&mut self, namespace: NetnsId, identify: &impl Identify) -> Option<Arc<Resident>> {
        let group = self.found.get(&namespace.inum);
        let found =
            group.filter(|group| is_same(&self.proc, group.first.pid, namespace, identify)).map(Group::resident);
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
    pub fn limits(&self) -> Option<String> {
        if self.has_hidden {
            return Some(
                "/proc hides the processes of other users (mount option hidepid); CAP_SYS_PTRACE shows them".into(),
            );
        }
        (self.unreadable > 0).then(|| {
            format!("the network namespaces of {} processes cannot be read: that takes CAP_SYS_PTRACE", self.unreadable)
        })
    }

    fn search(&mut self) {
        self.found.clear();
        self.answers = Recent::new(CAPACITY);
        self.unreadable = 0;
        let pids = pids(&self.proc);
        self.has_hidden = hides_processes(&pids);
        self.host = host(&self.proc);
        let Some(host) = self.host else {
            self.unreadable = 1;
            return;
        };
        for pid in pids.into_iter().take(MOST_PROCESSES) {
            let Some(folder) = Folder::open(&self.proc, pid) else { continue };
            match folder.netns() {
                Ok(inum) if inum != host => self.add(inum, &folder),
                Err(Unreadable::Forbidden) if !folder.is_kernel_thread() => self.unreadable += 1,
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
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::identity::fixture::Tree;
    use crate::identity::netns::ByInode;

    const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";
    const OTHER: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";
    const POD: &str = "/kubepods/burstable/pod5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a";
    const HOST: u32 = 1;

    fn tree(processes: &[(u32, u32, &str)]) -> Tree {
        let tree = Tree::new();
        for (pid, netns, cgroup) in [(1, HOST, "/init.scope")].iter().chain(processes) {
            tree.write(&format!("{pid}/comm"), "name\n");
            tree.write(&format!("{pid}/cgroup"), &format!("0::{cgroup}\n"));
            tree.link(&format!("{pid}/ns/net"), &format!("net:[{netns}]"));
        }
        tree
    }

    fn owner_in(tree: &Tree, inum: u32) -> Option<Arc<Resident>> {
        Residents::of(tree.root()).owner(NetnsId { cookie: None, inum }, &ByInode)
    }

    #[test]
    fn container_owns_its_namespace() {
        let (scope, inner) = (format!("/docker/{ID}"), format!("/docker/{ID}/system.slice/a.service"));
        // The first process looks into the namespace from the host (`nsenter`).
        let shell = "/user.slice/user-0.slice/session-3.scope";
        let tree = tree(&[(9, 5, shell), (10, 5, &inner), (11, 5, &scope), (12, HOST, &scope)]);
        let found = owner_in(&tree, 5).unwrap();
        assert_eq!((found.process.pid, found.processes, found.others), (10, 2, 0));
        assert_eq!((found.cgroup.as_deref(), found.owner.container.as_ref().unwrap().id.as_str()), (Some(&*scope), ID));
        assert_eq!((owner_in(&tree, HOST), owner_in(&tree, 6)), (None, None));
    }

    #[test]
    fn pod_owns_the_namespace_of_its_containers() {
        for containers in [&[ID][..], &[ID, OTHER]] {
            let paths: Vec<_> = containers.iter().map(|id| format!("{POD}/{id}")).collect();
            let processes: Vec<_> = (10..).zip(&paths).map(|(pid, path)| (pid, 5, path.as_str())).collect();
            let found = owner_in(&tree(&processes), 5).unwrap();
            assert_eq!((found.cgroup.as_deref(), &found.owner.container), (Some(POD), &None));
            assert_eq!(found.owner.pod.as_deref(), Some("5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a"));
        }
        let nested = format!("{POD}/{OTHER}/docker/{ID}");
        let found = owner_in(&tree(&[(10, 5, &nested)]), 5).unwrap();
        assert_eq!(found.owner.container.as_ref().unwrap().id, ID);
    }

    #[test]
    fn node_in_a_container_owns_the_namespace_of_its_pods() {
        let (node, pod) = (format!("/docker/{OTHER}/init.scope"), format!("/docker/{OTHER}/kubelet{POD}/{ID}"));
        let found = owner_in(&tree(&[(10, 5, &pod), (11, 5, &node)]), 5).unwrap();
        assert_eq!((found.owner.container.as_ref().unwrap().id.as_str(), found.others), (OTHER, 0));
    }

    #[test]
    fn further_containers_are_counted() {
        let paths = [ID, OTHER, ID].map(|id| format!("/docker/{id}"));
        let found = owner_in(&tree(&[(10, 5, &paths[0]), (11, 5, &paths[1]), (12, 5, &paths[2])]), 5).unwrap();
        assert_eq!((found.owner.container.as_ref().unwrap().id.as_str(), found.others, found.processes), (ID, 1, 3));
    }

    #[test]
    fn unit_may_own_a_namespace() {
        let tree =
            tree(&[(10, 5, "/system.slice/a.service/one"), (11, 5, "/system.slice/a.service/two"), (12, 6, "/")]);
        let found = owner_in(&tree, 5).unwrap();
        assert_eq!(
            (found.cgroup.as_deref(), found.owner.unit.as_deref()),
            (Some("/system.slice/a.service"), Some("a.service"))
        );
        let found = owner_in(&tree, 6).unwrap();
        assert!(found.cgroup.is_none() && found.owner.is_unknown() && found.process.pid == 12);
    }

    #[test]
    fn kernel_threads_show_the_host_where_the_first_process_may_not_be_read() {
        let scope = format!("/docker/{ID}");
        let tree = tree(&[(2, HOST, "/"), (10, HOST, &scope), (11, 5, &scope)]);
        tree.remove("1");
        assert_eq!(owner_in(&tree, 5), None, "the second process may be any");
        tree.write("2/cmdline", "");
        assert_eq!((owner_in(&tree, HOST), owner_in(&tree, 5).unwrap().process.pid), (None, 11));
    }

    #[test]
    fn containers_of_the_whole_run_count() {
        let alone = |path: &str| Resident::clone(&owner_in(&tree(&[(10, 5, path)]), 5).unwrap());
        let (one, other) = (alone(&format!("/docker/{ID}")), alone(&format!("/docker/{OTHER}")));
        let shell = alone("/user.slice/user-0.slice/session-3.scope");
        assert!(one.is_single_container() && !shell.is_single_container());
        assert_eq!((one.clone().after(&one), one.clone().after(&shell)), (one.clone(), one.clone()));
        assert_eq!(shell.after(&one), one, "an ended container keeps its namespace");
        let both = other.after(&one);
        assert!(!both.is_single_container() && !one.after(&both).is_single_container());
        let (first, second) = (alone(&format!("{POD}/{ID}")), alone(&format!("{POD}/{OTHER}")));
        assert!(second.after(&first).is_single_container(), "the pod is the same");
    }

    #[test]
    fn owner_stays_known_by_cookie_and_searches_have_an_interval() {
        let (path, now) = (format!("/docker/{ID}"), Instant::now());
        let tree = tree(&[(10, 5, &path)]);
        let mut residents = Residents::of(tree.root());
        let (named, unnamed) = (NetnsId { cookie: NonZeroU64::new(7), inum: 5 }, NetnsId { cookie: None, inum: 5 });
        let resident = residents.owner_at(unnamed, &ByInode, now).unwrap();
        residents.known.insert(named, resident);
        tree.remove("10");
        assert!(residents.owner_at(unnamed, &ByInode, now).is_some());
        let later = now + 100 * SEARCH_INTERVAL;
        assert_eq!(residents.owner_at(unnamed, &ByInode, later), None);
        assert!(residents.owner_at(named, &ByInode, later).is_some());
    }

    #[test]
    fn number_of_an_earlier_namespace_has_no_owner() {
        // The link of this fixture leads nowhere, as does that of a process that ended.
        let (path, cookie) = (format!("/docker/{ID}"), NonZeroU64::new(7));
        let tree = tree(&[(10, 5, &path)]);
        assert_eq!(Residents::of(tree.root()).owner(NetnsId { cookie, inum: 5 }, &ByInode), None);
    }
}
