//! Work within another network namespace.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread::{self, Builder};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `work` within the namespace that an open nsfs file stands for, on a thread that ends with it, so that nothing else
/// of this process changes its namespace.
///
/// # Errors
/// Those of `work`, and those of `setns`, which takes `CAP_SYS_ADMIN` (`EPERM`).
pub fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let run = || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    };
    let panicked = |_| Err(io::Error::other("the thread in the other network namespace panicked"));
    thread::scope(|scope| Builder::new().name("netns".into()).spawn_scoped(scope, run)?.join().unwrap_or_else(panicked))
}
