//! Finds interfaces by name and by index, in this and in other network namespaces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::netns;

/// The index of an interface of the network namespace that an open nsfs file stands for.
///
/// # Errors
/// `ENODEV` if the namespace has no such interface; those of `setns`, which needs `CAP_SYS_ADMIN` unless the namespace
/// is this process's own.
pub fn index(namespace: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    netns::visit(namespace, || Ok(name_to_index(socket()?, name)?))
}

/// The name of the interface with this index in the network namespace that an open nsfs file stands for.
///
/// # Errors
/// As [`index`].
pub fn name_in(namespace: BorrowedFd<'_>, index: u32) -> io::Result<String> {
    netns::visit(namespace, || Ok(index_to_name(socket()?, index)?))
}

/// The name of an interface of this process's namespace; `None` if no interface has this index.
pub fn name(index: u32) -> Option<String> {
    index_to_name(socket().ok()?, index).ok()
}

fn socket() -> io::Result<impl AsFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::netns::Target;

    #[test]
    fn the_loopback_is_found_by_name_and_index() {
        let own = Target::own().unwrap();
        let index = index(own.namespace().unwrap(), "lo").unwrap();
        assert_eq!(name(index).as_deref(), Some("lo"));
        assert_eq!(name_in(own.namespace().unwrap(), index).unwrap(), "lo");
    }

    #[test]
    fn unknown_interface_is_not_found() {
        let own = Target::own().unwrap();
        let missing = index(own.namespace().unwrap(), "no-such-if").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(name(u32::MAX), None);
        let missing = name_in(own.namespace().unwrap(), u32::MAX).unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn another_kind_of_namespace_is_refused() {
        let other = std::fs::File::open("/proc/self/ns/mnt").unwrap();
        // Without the capability to enter any namespace, the error is `EPERM`.
        let code = index(other.as_fd(), "lo").unwrap_err().raw_os_error();
        assert!([Some(libc::EINVAL), Some(libc::EPERM)].contains(&code), "{code:?}");
    }
}
