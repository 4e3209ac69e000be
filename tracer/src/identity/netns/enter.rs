//! Work within another network namespace.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::thread::{self, Builder};

use rustix::fs::fstat;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{inode_number, own};

/// Runs `work` within the namespace that an open nsfs file stands for: on the calling thread if the namespace is this
/// process's own, else as `within`.
///
/// # Errors
/// As `within`; the process's own namespace takes no capability.
pub fn visit<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    // Both namespaces exist now, so that equal inode numbers mean the same namespace.
    if inode_number(rustix::fs::fstat(namespace)?.st_ino)? == own()? { work() } else { within(namespace, work) }
}

/// Runs `work` for each of `items` within the namespace that `open` opens for it, one after the other on one thread of its own, which
/// is cheaper than [`visit`] for each. Leaves out items without a namespace, and namespaces that may not be entered: the
/// process's own may be.
///
/// # Errors
/// Those of starting a thread.
pub(crate) fn visit_each<I: Send>(
    items: impl Iterator<Item = I> + Send,
    open: impl Fn(&I) -> Option<OwnedFd> + Send,
    mut work: impl FnMut(I) + Send,
) -> io::Result<()> {
    let mut here = own()?;
    let run = move || {
        for item in items {
            let Some(namespace) = open(&item) else { continue };
            let Some(inum) = fstat(&namespace).ok().and_then(|stat| inode_number(stat.st_ino).ok()) else { continue };
            let enter = || move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            if inum == here || enter().is_ok() {
                here = inum;
                work(item);
            }
        }
    };
    let panicked = |_| io::Error::other("the thread in other network namespaces panicked");
    thread::scope(|scope| Builder::new().name("netns".into()).spawn_scoped(scope, run)?.join().map_err(panicked))
}

/// Runs `work` within the namespace that an open nsfs file stands for. It runs on a thread of its own, so that the rest
/// of this process stays in its namespace.
///
/// # Errors
/// The errors of `work`, and those of `setns`, which needs `CAP_SYS_ADMIN` (`EPERM`).
pub(super) fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let run = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    };
    let panicked = |_| Err(io::Error::other("the thread in the other network namespace panicked"));
    thread::scope(|scope| Builder::new().name("netns".into()).spawn_scoped(scope, run)?.join().unwrap_or_else(panicked))
}
