//! Finds interfaces by name and by index, in this and in other network namespaces.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::netns;
use super::proc_folder::{Folder, pids};

/// The index of an interface of the network namespace that an open nsfs file stands for.
///
/// # Errors
/// `ENODEV` if the namespace has no such interface; those of `setns`, which needs `CAP_SYS_ADMIN` unless the namespace
/// is this process's own.
pub(crate) fn index(namespace: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    netns::visit(namespace, || Ok(name_to_index(socket()?, name)?))
}

/// The name of the interface with this index in the network namespace that an open nsfs file stands for.
///
/// # Errors
/// As [`index`].
pub(crate) fn name_in(namespace: BorrowedFd<'_>, index: u32) -> io::Result<String> {
    netns::visit(namespace, || Ok(index_to_name(socket()?, index)?))
}

/// The name of an interface of this process's namespace; `None` if no interface has this index.
pub(crate) fn name(index: u32) -> Option<String> {
    index_to_name(socket().ok()?, index).ok()
}

/// The names of the interfaces of one namespace, by its inode number, or of all namespaces that a process is in or that have
/// a name, as far as this process may see them.
pub(crate) fn names(only: Option<u32>) -> BTreeSet<String> {
    let proc = Path::new("/proc");
    let (mut seen, mut found) = (HashSet::new(), BTreeSet::new());
    let is_wanted = |inum: u32| only.is_none_or(|only| only == inum);
    for folder in pids(proc).into_iter().filter_map(|pid| Folder::open(proc, pid)) {
        if folder.netns().is_ok_and(|inum| is_wanted(inum) && seen.insert(inum)) {
            found.extend(listed(&folder));
        }
    }
    let mut by_inode = netns::Namespaces::new();
    for (inum, _) in by_inode.all() {
        if is_wanted(inum)
            && seen.insert(inum)
            && let Some(file) = by_inode.file(inum).and_then(|file| file.open())
        {
            let within = || Ok(Folder::of_this_thread(proc).map(|folder| listed(&folder)).unwrap_or_default());
            found.extend(netns::visit(file.as_fd(), within).unwrap_or_default());
        }
    }
    found
}

/// The names in `net/dev`: two lines of headings, then a line for each interface, with its name before a colon.
fn listed(folder: &Folder) -> Vec<String> {
    let mut bytes = Vec::new();
    let Ok(()) = folder.read(c"net/dev", &mut bytes) else { return vec![] };
    let text = String::from_utf8_lossy(&bytes);
    // A name may have a colon, and the numbers behind it have none.
    let names = text.lines().skip(2).filter_map(|line| Some(line.rsplit_once(':')?.0.trim().to_owned()));
    names.collect()
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
    fn names_are_those_of_the_namespace() {
        let own = netns::own().unwrap();
        assert!(names(Some(own)).contains("lo") && names(None).is_superset(&names(Some(own))));
        assert!(names(Some(1)).is_empty(), "no namespace has this number");
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
