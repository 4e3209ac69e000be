//! The folder of one process in `/proc` (`proc_pid(5)`).

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::container::{self, Owner};
use super::text;

/// The greatest length in bytes of a file that is read. `cgroup` has a line of up to 4 KiB for each hierarchy.
const LONGEST: u64 = 64 << 10;

/// A process that existed when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process id, in the namespace of processes that `/proc` shows.
    pub(crate) pid: u32,
    /// The name of the process, at most 15 bytes long (`TASK_COMM_LEN`), which the process itself can change. Absent if
    /// the name is empty.
    pub(crate) comm: Option<String>,
    /// The path of the process's cgroup; absent if the process is in the root cgroup.
    pub(crate) cgroup: Option<String>,
    /// The owner of this cgroup.
    pub(crate) owner: Owner,
}

/// The open folder of a process. It stands for this process even if another one has the same process id later: after the
/// end of the process all calls fail (`get_proc_task`, `fs/proc/internal.h`).
#[derive(Debug)]
pub(crate) struct Folder {
    pid: u32,
    folder: OwnedFd,
}

/// The reason why the files of a process could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// This process may not read them (`CAP_SYS_PTRACE`, `ptrace(2)`).
    Forbidden,
    /// The process ended.
    Gone,
}

impl From<Errno> for Unreadable {
    fn from(error: Errno) -> Self {
        if matches!(error, Errno::ACCESS | Errno::PERM) { Self::Forbidden } else { Self::Gone }
    }
}

impl Folder {
    /// The id of the process.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Opens the folder of a process. `None` if the process ended.
    pub(crate) fn open(proc: &Path, pid: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, proc.join(pid.to_string()), flags, Mode::empty()).ok()?;
        Some(Self { pid, folder })
    }

    /// Opens the folder of the calling thread, whose network namespace may be another one than its process's.
    pub(crate) fn of_this_thread(proc: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, proc.join("thread-self"), flags, Mode::empty()).ok()?;
        Some(Self { pid: std::process::id(), folder })
    }

    /// Name and cgroup. `None` if the process ended.
    pub(super) fn process(&self) -> Option<Process> {
        let comm = text::name(&self.text(c"comm").ok()?);
        let cgroup = container::of_process(&self.text(c"cgroup").ok()?);
        let (cgroup, owner) = cgroup.map_or((None, Owner::default()), |(path, owner)| (Some(path), owner));
        Some(Process { pid: self.pid, comm, cgroup, owner })
    }

    /// The name; `None` if it is empty, or the process ended.
    pub(crate) fn comm(&self) -> Option<String> {
        text::name(&self.text(c"comm").ok()?)
    }

    /// Whether this is a process of the kernel, which has no command line, or one that has ended (a zombie).
    pub(crate) fn is_kernel_thread(&self) -> bool {
        self.text(c"cmdline").is_ok_and(|text| text.is_empty())
    }

    /// The inode number of the process's network namespace.
    pub(crate) fn netns(&self) -> Result<u32, Unreadable> {
        let link = readlinkat(&self.folder, c"ns/net", Vec::new())?;
        inode_of_netns(&link).ok_or(Unreadable::Gone)
    }

    /// The open network namespace of the process.
    pub(crate) fn open_netns(&self) -> Option<OwnedFd> {
        openat(&self.folder, c"ns/net", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()
    }

    /// Passes the inode numbers of the open sockets and their file descriptors to `visit`, until it returns false. Returns
    /// how many files were examined. The files of a thread that shares none with its process are left out.
    pub(crate) fn sockets(&self, mut visit: impl FnMut(u64, &CStr) -> bool) -> Result<usize, Unreadable> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fds = openat(&self.folder, c"fd", flags, Mode::empty())?;
        let mut examined = 0;
        let mut link = Vec::new();
        for entry in
            Dir::read_from(&fds)?.flatten().filter(|entry| entry.file_name() != c"." && entry.file_name() != c"..")
        {
            examined += 1;
            match readlinkat(&fds, entry.file_name(), link) {
                Ok(target) => {
                    if number_of(&target, "socket:[").is_some_and(|inode| !visit(inode, entry.file_name())) {
                        break;
                    }
                    link = target.into_bytes();
                }
                // The file may have been closed meanwhile.
                Err(Errno::NOENT) => link = Vec::new(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(examined)
    }

    /// Whether this file descriptor of the process is the socket with this inode number.
    pub(super) fn holds(&self, fd: u32, inode: u64) -> bool {
        let link = readlinkat(&self.folder, format!("fd/{fd}"), Vec::new());
        link.is_ok_and(|link| number_of(&link, "socket:[") == Some(inode))
    }

    /// The time at which the process started, in ticks since the boot: the 22nd field of `stat` (`do_task_stat`,
    /// `fs/proc/array.c`). The name before it, in brackets, may contain brackets and blanks.
    pub(crate) fn started(&self) -> Option<u64> {
        let text = self.text(c"stat").ok()?;
        let (_, fields) = text.rsplit_once(')')?;
        fields.split_whitespace().nth(19)?.parse().ok()
    }

    /// Reads a file in the folder, such as `net/snmp`, which shows the process's network namespace, in place of what `bytes`
    /// has.
    pub(crate) fn read(&self, name: &CStr, bytes: &mut Vec<u8>) -> io::Result<()> {
        let file = openat(&self.folder, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
        bytes.clear();
        File::from(file).take(LONGEST).read_to_end(bytes)?;
        Ok(())
    }

    fn text(&self, name: &CStr) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.read(name, &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Passes the paths and the targets of the open files of a process to `visit`. `left` is the number of files that may still be
/// looked at.
pub(crate) fn open_files(proc: &Path, pid: u32, left: &mut usize, mut visit: impl FnMut(&Path, &CStr)) {
    // Without the permission to see them (`CAP_SYS_PTRACE`), there are none.
    for entry in std::fs::read_dir(proc.join(format!("{pid}/fd"))).into_iter().flatten().flatten() {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        let path = entry.path();
        if let Ok(link) = readlinkat(CWD, &path, Vec::new()) {
            visit(&path, &link);
        }
    }
}

/// The inode number of the network namespace that a link of `/proc` leads to: `net:[4026532201]`.
pub(crate) fn inode_of_netns(link: &CStr) -> Option<u32> {
    number_of(link, "net:[").and_then(|inode| u32::try_from(inode).ok())
}

/// Processes of which something could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Their number.
    pub(crate) count: u32,
    /// The first of them; 0 if there is none.
    pub(crate) first: u32,
}

impl Refused {
    /// Adds a process.
    pub(super) const fn add(&mut self, pid: u32) {
        if self.count == 0 {
            self.first = pid;
        }
        self.count += 1;
    }

    /// Says that `what` of these processes cannot be read, and which capabilities that takes; `None` without such a process.
    pub(super) fn limit(self, what: &str, capabilities: &str) -> Option<String> {
        let of = match self {
            Self { count: 0, .. } => return None,
            Self { count: 1, first } => format!("of process {first} cannot be read"),
            Self { count, first } => format!("of {count} processes cannot be read, such as {first}"),
        };
        Some(format!("{what} {of}: that needs {capabilities}, or a security module forbids it"))
    }
}

/// The processes of `/proc`, in the order of their ids.
pub(crate) fn pids(proc: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The threads of a process, the first one left out. `/proc` has a folder for each of them, though it lists processes
/// only (`proc_pid_lookup`, `fs/proc/base.c`).
pub(crate) fn further_threads(proc: &Path, pid: u32) -> Vec<u32> {
    let mut threads = pids(&proc.join(format!("{pid}/task")));
    threads.retain(|thread| *thread != pid);
    threads
}

/// Whether `/proc` hides the processes of others (`hidepid`): then the first process is missing, which has the number 1
/// in each namespace of processes.
pub(crate) fn hides_processes(pids: &[u32]) -> bool {
    pids.first() != Some(&1)
}

/// `socket:[487]`.
fn number_of(link: &CStr, prefix: &str) -> Option<u64> {
    link.to_str().ok()?.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_links() {
        assert_eq!(number_of(c"socket:[487]", "socket:["), Some(487));
        for other in [c"pipe:[487]", c"socket:[x]", c"socket:[487", c"/dev/null", c""] {
            assert_eq!(number_of(other, "socket:["), None, "{other:?}");
        }
    }

    #[test]
    fn own_process_is_read() {
        let own = Folder::open(Path::new("/proc"), std::process::id()).unwrap();
        let process = own.process().unwrap();
        assert_eq!(process.pid, std::process::id());
        assert!(process.comm.is_some());
        assert_eq!(own.netns(), Ok(crate::identity::netns::own().unwrap()));
        assert!(!own.is_kernel_thread());
        assert!(own.started().is_some_and(|ticks| ticks > 0));
        assert!(own.text(c"net/snmp").unwrap().contains("\nUdp: "));
        assert!(Folder::open(Path::new("/proc"), u32::MAX).is_none());
    }

    #[test]
    fn folder_of_an_ended_process_is_not_that_of_its_successor() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let folder = Folder::open(Path::new("/proc"), child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(folder.process(), None);
        assert_eq!(folder.sockets(|_, _| true), Err(Unreadable::Gone));
    }
}
