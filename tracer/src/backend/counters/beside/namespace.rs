//! The counters of one network namespace, from its first reading to its last.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::fstat;

use super::NetnsKey;
use super::links::Links;
use super::listeners::Listeners;
use super::values::{Names, Values};
use crate::domain::reconciliation::RefusingListener;
use crate::identity::netns::{NamedFile, visit};
use crate::identity::proc_folder::Folder;
use crate::netlink::{TcpListener, tcp_listeners};

/// The greatest number of processes by which a namespace is recognised at its next reading.
const MOST_MEMBERS: usize = 4;
/// The counter of refused connections, whose rise is also in the counters of the listening sockets.
pub(super) const REFUSED: &str = "TcpExtListenDrops";

/// A process of a namespace, or a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) pid: u32,
    /// The time at which the process started, in ticks since the boot (`/proc/PID/stat`).
    pub(super) started: u64,
}

impl Member {
    /// The open folder of the process, if it is still the same and in the namespace.
    fn still_in(self, proc: &Path, inum: u32) -> Option<Folder> {
        let folder = Folder::open(proc, self.pid)?;
        (folder.started() == Some(self.started) && folder.netns() == Ok(inum)).then_some(folder)
    }
}

/// What all readings share.
#[derive(Debug)]
pub(super) struct Reader {
    /// `/proc`.
    pub(super) proc: PathBuf,
    pub(super) names: Names,
    /// The position of `TcpExtListenDrops`.
    refused: Option<usize>,
    /// The bytes of one file.
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(proc: PathBuf, names: Names) -> Self {
        let refused = names.all.iter().position(|name| **name == *REFUSED);
        Self { proc, names, refused, buffer: Vec::new() }
    }
}

/// A network namespace. An inode number stands for the namespace as long as one of the processes that were in it at the
/// last reading is still in it, or a file that stands for it is the same; otherwise another namespace may have the number.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    pub(super) inum: u32,
    /// The number among the namespaces of the run, from 1.
    pub(super) number: u32,
    pub(super) name: Option<Arc<str>>,
    first: Values,
    last: Values,
    readings: u32,
    ways: Ways,
    /// `None` if this process may not ask for the listening sockets.
    listeners: Option<Listeners>,
    pub(super) links: Links,
    /// The number of readings before the one that did not find the namespace any more; 0 until then.
    pub(super) ended_at: u32,
    /// The last reading could not read the interfaces.
    pub(super) lacks_links: bool,
}

impl Namespace {
    /// Reads the counters for the first time, through one of the processes that were just found in the namespace, or
    /// through a file that stands for it.
    pub(super) fn first_seen(
        reader: &mut Reader,
        inum: u32,
        name: Option<Arc<str>>,
        found: &[Member],
        files: Vec<NamedFile>,
    ) -> Option<Self> {
        let ways = Ways { inum, members: found.to_vec(), files };
        // Before the counters, so that the sockets' rises are no less than those of the counters.
        let listeners = ways.listeners(reader).map(|found| Listeners::new(&found));
        let first = ways.read(reader)?;
        let last = first.clone();
        Some(Self {
            inum,
            number: 0,
            name,
            first,
            last,
            readings: 1,
            ways,
            listeners,
            links: Links::default(),
            ended_at: 0,
            lacks_links: false,
        })
    }

    /// The inode number, and the number among the namespaces of the run.
    pub(super) const fn key(&self) -> NetnsKey {
        (self.inum, self.number)
    }

    /// Reads the counters again. Returns whether the namespace was recognised: counters that are less than before are those of
    /// another namespace with the same inode number. Where a counter wrapped, the same namespace counts as another one.
    pub(super) fn read(&mut self, reader: &mut Reader, found: &[Member]) -> bool {
        let Some(now) = self.ways.read(reader) else { return false };
        let is_refusing = reader.refused.is_some_and(|slot| now[slot] != self.last[slot]);
        if !self.take(now) {
            return false;
        }
        if is_refusing && let Some(mut listeners) = self.listeners.take() {
            self.listeners = self.ways.listeners(reader).map(|found| {
                listeners.read(&reader.proc, &found);
                listeners
            });
        }
        self.ways.keep(found);
        true
    }

    /// Whether it can be recognised without a process.
    pub(super) const fn has_files(&self) -> bool {
        !self.ways.files.is_empty()
    }

    /// Takes the files that stand for the namespace, which was recognised just before.
    pub(super) fn take_files(&mut self, files: Vec<NamedFile>) {
        self.ways.files = files;
    }

    /// Opens the namespace, which was read just before.
    pub(super) fn open(&self, proc: &Path) -> Option<OwnedFd> {
        let of_member = |member: &Member| Folder::open(proc, member.pid)?.open_netns();
        let of_file = || self.ways.files.iter().find_map(NamedFile::open).map(Into::into);
        let netns = self.ways.members.iter().find_map(of_member).or_else(of_file)?;
        (fstat(&netns).ok()?.st_ino == u64::from(self.inum)).then_some(netns)
    }

    /// The listening sockets that refused connections; `None` if they are not known.
    pub(super) fn listeners(&self) -> Option<Vec<RefusingListener>> {
        self.listeners.as_ref().map(Listeners::risen)
    }

    /// Takes a reading, unless a counter is less than before. Returns whether it did.
    fn take(&mut self, now: Values) -> bool {
        let fell =
            |(now, before): (&Option<u64>, &Option<u64>)| now.zip(*before).is_some_and(|(now, before)| now < before);
        if now.iter().zip(&self.last).any(fell) {
            return false;
        }
        self.readings += 1;
        self.last = now;
        true
    }

    /// Whether there is a first and a later reading.
    pub(super) const fn is_compared(&self) -> bool {
        self.readings > 1
    }

    /// The positions of the counters that rose, and by how much.
    pub(super) fn rises(&self) -> impl Iterator<Item = (usize, u64)> {
        let pairs = self.first.iter().zip(&self.last).enumerate();
        let risen = pairs.filter_map(|(slot, (first, last))| Some((slot, (*last)?.checked_sub((*first)?)?)));
        risen.filter(|(_, rise)| *rise > 0)
    }

    /// Whether the kernel has the counter at this position.
    pub(super) fn has(&self, slot: usize) -> bool {
        self.last[slot].is_some()
    }

    /// Makes the last reading greater than any that comes.
    #[cfg(test)]
    pub(super) fn pretend_greater(&mut self) {
        self.last.iter_mut().flatten().for_each(|value| *value += 1 << 40);
        self.first = self.last.clone();
    }
}

/// The ways into a namespace.
#[derive(Clone, Debug)]
struct Ways {
    inum: u32,
    members: Vec<Member>,
    files: Vec<NamedFile>,
}

impl Ways {
    /// Reads the counters through the first of the processes that is in the namespace before and after, else through
    /// a file that stands for it.
    fn read(&self, reader: &mut Reader) -> Option<Values> {
        let Reader { proc, names, buffer, .. } = reader;
        let through_member = |member: &Member| {
            let folder = member.still_in(proc, self.inum)?;
            let values = names.read(&folder, buffer)?;
            (folder.netns() == Ok(self.inum)).then_some(values)
        };
        self.members.iter().find_map(through_member).or_else(|| self.read_within(reader))
    }

    fn read_within(&self, reader: &mut Reader) -> Option<Values> {
        let Reader { proc, names, buffer, .. } = reader;
        let read = || {
            let values = Folder::of_this_thread(proc).and_then(|folder| names.read(&folder, buffer));
            values.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        visit(self.files.iter().find_map(NamedFile::open)?.as_fd(), read).ok()
    }

    /// The listening sockets; `None` if the namespace may not be entered, or the kernel does not report them.
    fn listeners(&self, reader: &Reader) -> Option<Vec<TcpListener>> {
        let of_member = |member: &Member| {
            let netns = member.still_in(&reader.proc, self.inum)?.open_netns()?;
            // The process may have entered another namespace.
            (fstat(&netns).ok()?.st_ino == u64::from(self.inum)).then_some(netns)
        };
        let of_file = || self.files.iter().find_map(NamedFile::open).map(Into::into);
        let netns = self.members.iter().find_map(of_member).or_else(of_file)?;
        visit(netns.as_fd(), tcp_listeners).ok()
    }

    /// Forgets the processes that are not found any more, and adds further ones.
    fn keep(&mut self, found: &[Member]) {
        self.members.retain(|member| found.contains(member));
        let further = found.iter().filter(|member| !self.members.contains(member)).copied().collect::<Vec<_>>();
        self.members.extend(further);
        self.members.truncate(MOST_MEMBERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(first: Values) -> Namespace {
        let last = first.clone();
        let ways = Ways { inum: 7, members: vec![], files: vec![] };
        Namespace {
            inum: 7,
            number: 1,
            name: None,
            first,
            last,
            readings: 1,
            ways,
            listeners: None,
            links: Links::default(),
            ended_at: 0,
            lacks_links: false,
        }
    }

    #[test]
    fn rise_is_that_from_the_first_reading_to_the_last() {
        let mut namespace = namespace(vec![Some(5), Some(0), None, Some(9)]);
        assert!(!namespace.is_compared());
        namespace.take(vec![Some(6), Some(0), None, Some(9)]);
        namespace.take(vec![Some(8), Some(1), Some(3), None]);
        assert!(namespace.is_compared());
        assert_eq!(namespace.rises().collect::<Vec<_>>(), [(0, 3), (1, 1)], "unknown values have no rise");
    }

    #[test]
    fn counters_that_fell_are_not_taken() {
        let mut namespace = namespace(vec![Some(9), Some(4)]);
        assert!(namespace.take(vec![Some(11), None]));
        assert!(!namespace.take(vec![Some(2), Some(50)]));
        assert_eq!(namespace.rises().collect::<Vec<_>>(), [(0, 2)]);
    }
}
