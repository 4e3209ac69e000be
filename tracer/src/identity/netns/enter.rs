//! Work within another network namespace.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::{self, Builder};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `work` within the namespace that an open nsfs file stands for. It runs on a thread of its own, so that the rest
/// of this process stays in its namespace.
///
/// # Errors
/// The errors of `work`, and those of `setns`, which needs `CAP_SYS_ADMIN` (`EPERM`).
pub fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let run = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    };
    let panicked = |_| Err(io::Error::other("the thread in the other network namespace panicked"));
    thread::scope(|scope| Builder::new().name("netns".into()).spawn_scoped(scope, run)?.join().unwrap_or_else(panicked))
}
