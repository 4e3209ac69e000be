//! Work within another network namespace.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::{self, Builder};

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
