//! Finds the processes that have sockets open.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::domain::owner;
use crate::filter::question::is_process;

use super::proc_folder::{Folder, Refused, Unreadable, hides_processes, pids};

pub(crate) use super::proc_folder::Process;

/// The process with the lowest id that has this id or name ([`is_process`]).
pub(crate) fn matching(proc: &Path, given: &str) -> Option<Process> {
    let processes = pids(proc).into_iter().filter_map(|pid| Folder::open(proc, pid)?.process());
    let named = |process: &Process| owner::Process { pid: process.pid, comm: process.comm.clone() };
    processes.into_iter().find(|process| is_process(given, &named(process)))
}

/// How long a search may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The process id at which the search starts; processes with lower ids come last.
    pub(crate) first: u32,
    /// The greatest number of processes that are examined.
    pub(crate) processes: usize,
    /// The greatest number of open files that are examined. It is checked after each process.
    pub(crate) files: usize,
    /// The time after which no further process is examined.
    pub(crate) time: Duration,
    /// Examine all processes, to count all that share a socket. Otherwise the search ends when each socket has a process.
    pub(crate) counts_others: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { first: 0, processes: 65_536, files: 4 << 20, time: Duration::from_secs(1), counts_others: false }
    }
}

/// The process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The process with the lowest id, which is mostly the one that opened the socket.
    pub(crate) process: Process,
    /// The file descriptor of the socket in this process.
    pub(crate) fd: u32,
    /// The number of further processes that have the socket open, as the workers of a server do. The number may be too
    /// low unless [`Bounds::counts_others`] is set.
    pub(crate) others: u32,
}

/// The result of a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders {
    /// Processes by the inode numbers of their sockets. A socket is absent if no process has it open, as with a
    /// connection that is not accepted yet, or if none that this process may read has.
    pub(crate) by_inode: HashMap<u64, Holder>,
    /// The number of processes that were examined.
    pub(crate) examined: u32,
    /// The processes whose files could not be read (`CAP_SYS_PTRACE`, `CAP_DAC_READ_SEARCH`). An absent socket may be theirs.
    pub(crate) unreadable: Refused,
    /// `/proc` hides the processes of other users (mount option `hidepid`). An absent socket may be theirs.
    pub(crate) has_hidden: bool,
    /// The search ended at one of its bounds.
    pub(crate) is_cut: bool,
    /// The process id at which a search that ended at a bound would go on; 0 for any other search.
    pub(crate) next: u32,
}

impl Holders {
    /// Why a socket may be absent although a process has it open, in words; absent if no such reason is known.
    pub(crate) fn limits(&self) -> Option<String> {
        if self.has_hidden {
            Some("/proc hides the processes of other users (mount option hidepid); CAP_SYS_PTRACE shows them".into())
        } else {
            let refused = self.unreadable.limit("the open files", "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH");
            refused.or_else(|| self.is_cut.then(|| format!("the search ended after {} processes", self.examined)))
        }
    }
}

/// Finds the processes that have the sockets with these inode numbers open (`sock_i_ino`; `socket:[INODE]` in
/// `/proc/PID/fd`). A process that ended is not found. `proc` is `/proc`.
pub(crate) fn find(proc: &Path, wanted: impl IntoIterator<Item = u64>, bounds: Bounds) -> Holders {
    let mut search = Search { wanted: wanted.into_iter().collect(), holders: Holders::default() };
    if search.wanted.is_empty() {
        return search.holders;
    }
    let (start, mut pids) = (Instant::now(), pids(proc));
    search.holders.has_hidden = hides_processes(&pids);
    let first = pids.partition_point(|pid| *pid < bounds.first);
    pids.rotate_left(first);
    let mut files = 0;
    for (examined, pid) in pids.into_iter().enumerate() {
        if !bounds.counts_others && search.holders.by_inode.len() == search.wanted.len() {
            break;
        }
        if examined >= bounds.processes || files >= bounds.files || start.elapsed() >= bounds.time {
            (search.holders.is_cut, search.holders.next) = (true, pid);
            break;
        }
        if let Some(folder) = Folder::open(proc, pid) {
            files += search.examine(&folder);
        }
    }
    search.holders
}

struct Search {
    wanted: HashSet<u64>,
    holders: Holders,
}

impl Search {
    /// Returns the number of files of the process.
    fn examine(&mut self, folder: &Folder) -> usize {
        self.holders.examined += 1;
        let mut found = HashMap::new();
        let result = folder.sockets(|inode, fd| {
            if self.wanted.contains(&inode)
                && let Some(fd) = fd.to_str().ok().and_then(|fd| fd.parse().ok())
            {
                found.insert(inode, fd);
            }
            true
        });
        if result == Err(Unreadable::Forbidden) && !folder.is_kernel_thread() {
            self.holders.unreadable.add(folder.pid());
        }
        let mut process = None;
        for (inode, fd) in found {
            if let Some(holder) = self.holders.by_inode.get_mut(&inode) {
                holder.others += 1;
                continue;
            }
            process = process.or_else(|| folder.process());
            if let Some(process) = process.clone() {
                self.holders.by_inode.insert(inode, Holder { process, fd, others: 0 });
            }
        }
        result.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    use super::*;
    use crate::identity::fixture::Tree;

    const ALL: Bounds =
        Bounds { first: 0, processes: 1000, files: 1000, time: Duration::from_mins(1), counts_others: true };

    fn process(tree: &Tree, pid: u32, comm: &str, cgroup: &str, files: &[&str]) {
        tree.write(&format!("{pid}/comm"), &format!("{comm}\n"));
        tree.write(&format!("{pid}/cgroup"), &format!("0::{cgroup}\n"));
        tree.folder(&format!("{pid}/fd"));
        for (number, target) in files.iter().enumerate() {
            tree.link(&format!("{pid}/fd/{number}"), target);
        }
    }

    fn some_processes() -> Tree {
        let tree = Tree::new();
        process(&tree, 1, "systemd", "/init.scope", &["/dev/null", "socket:[7]"]);
        process(&tree, 20, "nginx", "/system.slice/nginx.service", &["pipe:[9]", "socket:[8]", "socket:[8]"]);
        process(&tree, 21, "nginx", "/system.slice/nginx.service", &["socket:[8]", "socket:[10]"]);
        process(&tree, 100, "\u{1b}[2J", "/", &["socket:[11]"]);
        tree.write("uptime", "1");
        tree
    }

    #[test]
    fn processes_of_sockets_are_found_in_one_search() {
        let tree = some_processes();
        let found = find(tree.root(), [8, 10, 11, 9, 12], ALL);
        let shown = |inode: u64| {
            let holder = &found.by_inode[&inode];
            (holder.process.pid, holder.process.comm.as_deref(), holder.process.cgroup.as_deref(), holder.others)
        };
        assert_eq!(shown(8), (20, Some("nginx"), Some("/system.slice/nginx.service"), 1));
        assert_eq!(shown(10), (21, Some("nginx"), Some("/system.slice/nginx.service"), 0));
        assert_eq!(shown(11), (100, Some("\u{fffd}[2J"), None, 0));
        assert_eq!(found.by_inode[&8].process.owner.unit.as_deref(), Some("nginx.service"));
        assert_eq!((found.by_inode.len(), found.examined, found.limits()), (3, 4, None));
    }

    #[test]
    fn search_ends_early_or_at_its_bounds() {
        let tree = some_processes();
        let found = find(tree.root(), [8], Bounds { counts_others: false, ..ALL });
        assert_eq!((found.by_inode[&8].process.pid, found.examined, found.is_cut), (20, 2, false));
        for bounds in [Bounds { processes: 1, ..ALL }, Bounds { files: 2, ..ALL }] {
            let found = find(tree.root(), [8], bounds);
            assert!(found.by_inode.is_empty() && found.is_cut);
            let rest = find(tree.root(), [8], Bounds { first: found.next, ..bounds });
            assert_eq!((found.next, rest.by_inode[&8].process.pid), (20, 20));
            assert_eq!(found.limits().as_deref(), Some("the search ended after 1 processes"));
        }
        let found = find(tree.root(), [7], Bounds { first: 20, ..ALL });
        assert_eq!((found.by_inode[&7].fd, found.examined, found.next), (1, 4, 0));
        let found = find(tree.root(), [8], Bounds { time: Duration::ZERO, ..ALL });
        assert!(found.is_cut && found.examined == 0);
        assert_eq!(find(tree.root(), [], ALL).examined, 0);
    }

    #[test]
    fn hidden_processes_are_a_limit() {
        let tree = Tree::new();
        process(&tree, 30, "own", "/", &[]);
        let found = find(tree.root(), [1], ALL);
        assert!(found.has_hidden && found.limits().unwrap().contains("hidepid"));
    }

    #[test]
    fn processes_of_others_are_unreadable_without_capabilities() {
        const NAME: &str = "processes_of_others_are_unreadable_without_capabilities";
        if !rustix::process::geteuid().is_root() {
            return crate::skipped(NAME, "it needs other processes that have capabilities");
        }
        // The thread alone loses its capabilities.
        let found = std::thread::spawn(|| {
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
            find(Path::new("/proc"), [u64::MAX], Bounds::default())
        });
        let found = found.join().unwrap();
        assert!(found.unreadable.count > 0 || found.has_hidden);
        assert!(found.limits().unwrap().contains("CAP_SYS_PTRACE"));
    }

    #[test]
    fn socket_of_a_child_is_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
        let own = find(Path::new("/proc"), [inode], Bounds::default());
        assert_eq!(own.by_inode[&inode].process.pid, std::process::id());
        let stdin = Stdio::from(socket.as_fd().try_clone_to_owned().unwrap());
        drop(socket);
        let mut child = Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap();
        let found = find(Path::new("/proc"), [inode], Bounds::default());
        child.kill().unwrap();
        child.wait().unwrap();
        let holder = &found.by_inode[&inode];
        assert_eq!((holder.process.pid, holder.process.comm.as_deref()), (child.id(), Some("sleep")));
        let after = find(Path::new("/proc"), [inode], Bounds::default());
        assert_eq!(after.by_inode.len(), 0);
    }
}
