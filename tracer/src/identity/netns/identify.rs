//! Ways to identify the network namespace that an open file stands for.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::enter::within;
use super::{NetnsId, inode_number};

/// Identifies the network namespace that an open nsfs file stands for.
pub trait Identify {
    /// The identity of the namespace. The descriptor belongs to this process, and may come from any thread; it is not
    /// kept.
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId>;
}

impl<T: Identify + ?Sized> Identify for std::sync::Arc<T> {
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId> {
        (**self).identify(namespace)
    }
}

/// Finds the inode number only. It needs no capability and works on every kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ByInode;

impl Identify for ByInode {
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId> {
        Ok(NetnsId { cookie: None, inum: inode_number(rustix::fs::fstat(namespace)?.st_ino)? })
    }
}

/// Enters the namespace and asks a socket that it opens there. It needs `CAP_SYS_ADMIN` and Linux 5.14.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BySocket;

impl Identify for BySocket {
    /// # Errors
    /// `EPERM` without `CAP_SYS_ADMIN`, `ENOPROTOOPT` on kernels before 5.14, and those of `setns` and `socket`.
    fn identify(&self, namespace: BorrowedFd<'_>) -> io::Result<NetnsId> {
        let NetnsId { inum, .. } = ByInode.identify(namespace)?;
        let cookie = within(namespace, || {
            let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
            cookie(socket.as_fd())
        })?;
        Ok(NetnsId { cookie: NonZeroU64::new(cookie), inum })
    }
}

/// The cookie of the namespace in which a socket was opened (`SO_NETNS_COOKIE`, since Linux 5.14).
#[expect(unsafe_code, reason = "neither std nor rustix knows this option")]
pub(super) fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    let option = (&raw mut cookie).cast();
    // SAFETY: the descriptor is open for the length of the call, and the kernel writes at most `length` bytes to `cookie`,
    // for which any bytes are a value.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, option, &raw mut length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
