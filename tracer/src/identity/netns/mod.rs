//! The identity and the names of network namespaces.
//!
//! The kernel gives each namespace a cookie (`net->net_cookie`, since Linux 5.12) that no other namespace has until the
//! next boot. Its inode number on nsfs, as `ls -l /proc/PID/ns/net` shows it, is given to the next namespace as soon as
//! it is free.

mod by_inode;
mod enter;
mod folder;
mod identify;
mod names;
mod signature;
mod target;
#[cfg(test)]
mod tests;
mod watch;

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

pub(crate) use by_inode::{NamedFile, Namespaces};
pub use enter::visit;
pub(crate) use enter::visit_each;
pub use identify::Identify;
pub(crate) use identify::{ByInode, BySocket};
pub use names::Names;
pub(crate) use target::parse_target;
pub use target::{NetnsError, Target};
pub(crate) use watch::Watcher;

/// The folders in which `ip netns` keeps names (`NETNS_RUN_DIR` of iproute2 is the second).
pub(super) const FOLDERS: [&str; 2] = ["/run/netns", "/var/run/netns"];
const OWN: &str = "/proc/self/ns/net";

/// `NSFS_MAGIC` (`include/uapi/linux/magic.h`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The identity of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsId {
    /// The kernel's number for the namespace, which is not used again within a boot. It is absent if the kernel has no
    /// such number (before Linux 5.12) or if no source can report it; the inode number then identifies the namespace.
    pub cookie: Option<NonZeroU64>,
    /// The inode number on nsfs. Two namespaces have the same number if one of them came after the end of the other.
    pub inum: u32,
}

/// The inode number of this process's own network namespace.
pub fn own() -> io::Result<u32> {
    inode_number(std::fs::metadata(OWN)?.ino())
}

/// Inode numbers of namespaces have 32 bits (`unsigned int inum`, `include/linux/ns_common.h`).
fn inode_number(inode: u64) -> io::Result<u32> {
    u32::try_from(inode).map_err(|_| io::Error::other(format!("inode number {inode} is not a namespace's")))
}

/// Opens a file that stands for a network namespace. Returns `None` for any other file, which is not opened.
fn open(path: &Path) -> io::Result<Option<File>> {
    if rustix::fs::statfs(path)?.f_type != NSFS_MAGIC {
        return Ok(None);
    }
    // Non-blocking, because another file may have taken the file's place.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    Ok(is_network(&file).then_some(file))
}

/// The inode number of the network namespace that a file stands for; `None` if it stands for anything else.
pub(super) fn inode_of(path: &Path) -> io::Result<Option<u32>> {
    open(path)?.map(|file| inode_number(file.metadata()?.ino())).transpose()
}

/// Asks nsfs which kind of namespace a file is (`NS_GET_NSTYPE`, since 4.11).
#[expect(unsafe_code, reason = "neither std nor rustix knows this ioctl, whose answer is its return value")]
fn is_network(file: &File) -> bool {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the descriptor is open for the length of the call, and this ioctl takes no argument and writes nothing.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}
