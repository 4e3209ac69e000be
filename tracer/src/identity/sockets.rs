//! The processes of the sockets of single drops.

use std::collections::HashSet;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::proc_folder::Folder;
use super::process::{self, Bounds, Holder};
use super::recent::Recent;
use crate::domain::owner::Process;

/// The greatest number of known sockets.
const CAPACITY: usize = 16_384;
/// The greatest number of sockets of one search.
const MAX_WANTED: usize = 4096;
/// The time for which a socket keeps its process without another look. The kernel gives out process ids in a circle of
/// 32,768 at least, and inode numbers of sockets in a circle of 2³² (`get_next_ino`, `fs/inode.c`), so that neither is
/// another's within this time.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(100);
/// The time after which a socket that no process had open is searched again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How long one search may take, because the drops that were read before it wait for its end.
const LONGEST_SEARCH: Duration = Duration::from_millis(50);
/// The least time between two searches, and its least multiple of the last search's time: searches take at most a
/// twentieth of the time.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_FACTOR: u32 = 20;

/// How often processes are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// For at most a twentieth of the time: a socket may have no process at first.
    Sparing,
    /// Whenever a socket is new, because a filter selects drops by their processes.
    AtOnce,
}

/// Finds the processes that have sockets open. A process that cannot be read, one that does not have the socket open any
/// more, and one that ended is unknown. All that is kept has a bound.
#[derive(Debug)]
pub(super) struct Sockets {
    proc: PathBuf,
    /// By inode number.
    known: Recent<u64, Known>,
    /// The sockets for the next search.
    wanted: HashSet<u64>,
    not_before: Option<Instant>,
    /// The process id at which the next search starts: a search that reached its bound goes on there.
    first: u32,
    limit: Option<String>,
    search: Search,
}

#[derive(Debug)]
struct Known {
    /// Absent where no process has the socket open.
    found: Option<Found>,
    /// The time from which on another look is due.
    until: Instant,
}

#[derive(Clone, Debug)]
struct Found {
    process: Arc<Process>,
    /// The file descriptor of the socket in this process.
    fd: u32,
}

impl Sockets {
    /// `proc` is `/proc`.
    pub(super) fn new(proc: PathBuf, search: Search) -> Self {
        let (known, wanted) = (Recent::new(CAPACITY), HashSet::new());
        Self { proc, known, wanted, not_before: None, first: 0, limit: None, search }
    }

    /// Takes note of a socket, whose process [`Sockets::process`] returns after the next search at the latest. A known
    /// process is asked again from time to time whether it has the socket open.
    pub(super) fn want(&mut self, inode: u64, now: Instant) {
        let stale = match self.known.get(&inode) {
            Some(known) if now < known.until => return,
            Some(known) => known.found.clone(),
            None => None,
        };
        let found = stale.and_then(|found| confirm(&self.proc, inode, found));
        let is_found = found.is_some();
        self.known.insert(inode, Known { found, until: if is_found { now + CONFIRM_INTERVAL } else { now } });
        if !is_found && self.wanted.len() < MAX_WANTED {
            self.wanted.insert(inode);
        }
    }

    /// Searches the processes of the sockets of which note was taken, unless the last search was too recent.
    pub(super) fn search(&mut self, now: Instant) {
        if self.search == Search::AtOnce || self.not_before.is_none_or(|time| now >= time) {
            self.search_at_once(now);
        }
    }

    /// Does the same, however recent the last search was.
    pub(super) fn search_at_once(&mut self, now: Instant) {
        if self.wanted.is_empty() {
            return;
        }
        let (wanted, start) = (mem::take(&mut self.wanted), Instant::now());
        let bounds = Bounds { first: self.first, time: LONGEST_SEARCH, ..Bounds::default() };
        let mut holders = process::find(&self.proc, wanted.iter().copied(), bounds);
        let took = start.elapsed();
        let end = now + took;
        self.not_before = Some(end + PAUSE.max(PAUSE_FACTOR * took));
        self.first = holders.next;
        if holders.by_inode.len() < wanted.len() {
            self.limit = holders.limits();
        }
        for inode in wanted {
            match holders.by_inode.remove(&inode).map(Found::from) {
                found @ Some(_) => self.known.insert(inode, Known { found, until: end + CONFIRM_INTERVAL }),
                None if holders.is_cut => {}
                None => self.known.insert(inode, Known { found: None, until: end + RETRY_INTERVAL }),
            }
        }
    }

    /// The process that has this socket open, as of the last look.
    pub(super) fn process(&mut self, inode: u64) -> Option<Arc<Process>> {
        Some(Arc::clone(&self.known.get(&inode)?.found.as_ref()?.process))
    }

    /// Why the processes of some sockets were not found in the last search that missed any, in words.
    pub(super) fn limit(&self) -> Option<&str> {
        self.limit.as_deref()
    }
}

impl From<Holder> for Found {
    fn from(holder: Holder) -> Self {
        let process::Process { pid, comm, .. } = holder.process;
        Self { process: Arc::new(Process { pid, comm }), fd: holder.fd }
    }
}

/// Looks whether the process still has the socket open, and reads its name again: a process can execute another program.
fn confirm(proc: &Path, inode: u64, found: Found) -> Option<Found> {
    let pid = found.process.pid;
    let folder = Folder::open(proc, pid)?;
    if !folder.holds(found.fd, inode) {
        return None;
    }
    let comm = folder.comm();
    if comm == found.process.comm {
        return Some(found);
    }
    // Without a name, the process ended just now.
    let process = Process { pid, comm: Some(comm?) };
    Some(Found { process: Arc::new(process), ..found })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::identity::fixture::Tree;

    /// Longer than any pause between searches.
    const LATER: Duration = Duration::from_mins(10);

    fn process(tree: &Tree, pid: u32, comm: &str, inode: u64) {
        tree.write(&format!("{pid}/comm"), &format!("{comm}\n"));
        tree.write(&format!("{pid}/cgroup"), "0::/\n");
        tree.link(&format!("{pid}/fd/3"), &format!("socket:[{inode}]"));
    }

    fn of(tree: &Tree) -> Sockets {
        Sockets::new(tree.root().to_owned(), Search::Sparing)
    }

    fn shown(sockets: &mut Sockets, inode: u64) -> Option<String> {
        sockets.process(inode).map(|process| process.to_string())
    }

    /// The process after a look for it.
    fn looked_up(sockets: &mut Sockets, inode: u64, now: Instant) -> Option<String> {
        sockets.want(inode, now);
        sockets.search(now);
        shown(sockets, inode)
    }

    #[test]
    fn one_search_finds_the_processes_of_many_sockets() {
        let (tree, now) = (Tree::new(), Instant::now());
        process(&tree, 1, "systemd", 7);
        process(&tree, 20, "nginx", 8);
        let mut sockets = of(&tree);
        for inode in [7, 8, 9] {
            sockets.want(inode, now);
        }
        assert_eq!([7, 8, 9].map(|inode| shown(&mut sockets, inode)), [None, None, None]);
        sockets.search(now);
        let found = [7, 8, 9].map(|inode| shown(&mut sockets, inode));
        assert_eq!(found, [Some("systemd[1]".into()), Some("nginx[20]".into()), None]);
        assert_eq!(sockets.limit(), None);
    }

    #[test]
    fn search_at_once_finds_a_socket_that_is_new_after_another_search() {
        for (search, found) in [(Search::Sparing, None), (Search::AtOnce, Some("nginx[20]".to_owned()))] {
            let (tree, now) = (Tree::new(), Instant::now());
            process(&tree, 1, "systemd", 7);
            process(&tree, 20, "nginx", 8);
            let mut sockets = Sockets::new(tree.root().to_owned(), search);
            assert_eq!(looked_up(&mut sockets, 7, now).as_deref(), Some("systemd[1]"));
            assert_eq!(looked_up(&mut sockets, 8, now), found, "{search:?}");
        }
    }

    #[test]
    fn process_is_confirmed_before_it_is_named_again() {
        let (tree, now) = (Tree::new(), Instant::now());
        process(&tree, 1, "sh", 7);
        let mut sockets = of(&tree);
        assert_eq!(looked_up(&mut sockets, 7, now).as_deref(), Some("sh[1]"));
        tree.write("1/comm", "nginx\n");
        assert_eq!(looked_up(&mut sockets, 7, now).as_deref(), Some("sh[1]"), "within the interval");
        assert_eq!(looked_up(&mut sockets, 7, now + LATER).as_deref(), Some("nginx[1]"));
        // Another process has the number now, or the process has closed the socket.
        fs::remove_file(tree.path("1/fd/3")).unwrap();
        tree.link("1/fd/3", "socket:[8]");
        assert_eq!(looked_up(&mut sockets, 7, now + 2 * LATER), None);
        assert_eq!(looked_up(&mut sockets, 8, now + 3 * LATER).as_deref(), Some("nginx[1]"));
        tree.remove("1");
        sockets.want(8, now + 4 * LATER);
        assert_eq!(shown(&mut sockets, 8), None, "unknown before the next search");
    }

    #[test]
    fn process_that_has_the_number_of_an_ended_one_is_not_named() {
        let (tree, now) = (Tree::new(), Instant::now());
        process(&tree, 1, "init", 6);
        process(&tree, 20, "nginx", 7);
        let mut sockets = of(&tree);
        assert_eq!(looked_up(&mut sockets, 7, now).as_deref(), Some("nginx[20]"));
        // The next process has the number, the same file descriptor, and a socket of its own.
        tree.remove("20");
        process(&tree, 20, "postgres", 8);
        assert_eq!(looked_up(&mut sockets, 7, now + LATER), None);
        assert_eq!(looked_up(&mut sockets, 8, now + 2 * LATER).as_deref(), Some("postgres[20]"));
        assert_eq!(looked_up(&mut sockets, 7, now + 3 * LATER), None);
    }

    #[test]
    fn searches_keep_their_distance() {
        let (tree, now) = (Tree::new(), Instant::now());
        process(&tree, 1, "sh", 7);
        process(&tree, 2, "nc", 8);
        let mut sockets = of(&tree);
        assert_eq!(looked_up(&mut sockets, 7, now).as_deref(), Some("sh[1]"));
        assert_eq!(looked_up(&mut sockets, 8, now + PAUSE / 2), None);
        process(&tree, 3, "cat", 9);
        sockets.want(9, now + PAUSE / 2);
        sockets.search_at_once(now + PAUSE / 2);
        assert_eq!(shown(&mut sockets, 9).as_deref(), Some("cat[3]"));
        assert_eq!(looked_up(&mut sockets, 8, now + LATER).as_deref(), Some("nc[2]"));
    }

    #[test]
    fn socket_without_a_process_is_searched_again_later() {
        let (tree, now) = (Tree::new(), Instant::now());
        process(&tree, 1, "sh", 7);
        let mut sockets = of(&tree);
        assert_eq!(looked_up(&mut sockets, 8, now), None);
        process(&tree, 2, "nc", 8);
        assert_eq!(looked_up(&mut sockets, 8, now + RETRY_INTERVAL / 2), None);
        assert_eq!(looked_up(&mut sockets, 8, now + LATER).as_deref(), Some("nc[2]"));
    }

    #[test]
    fn known_and_wanted_sockets_are_bounded() {
        let (tree, now) = (Tree::new(), Instant::now());
        process(&tree, 1, "sh", 7);
        let mut sockets = of(&tree);
        for inode in 0..2 * CAPACITY as u64 {
            sockets.want(inode, now);
        }
        assert_eq!((sockets.known.len(), sockets.wanted.len()), (CAPACITY, MAX_WANTED));
        sockets.search(now);
        assert_eq!((sockets.known.len(), sockets.wanted.len()), (CAPACITY, 0));
        assert_eq!(shown(&mut sockets, 7).as_deref(), Some("sh[1]"));
    }
}
