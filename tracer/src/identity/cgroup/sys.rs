//! The system call that opens a cgroup by its id.
#![expect(unsafe_code, reason = "a raw system call that neither std nor rustix has; the only place here")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `FILEID_KERNFS` (`include/linux/exportfs.h`): the handle of a file of kernfs is the id of its node, in 64 bits
/// (`kernfs_fh_to_dentry`, `fs/kernfs/mount.c`, since Linux 5.5).
const FILEID_KERNFS: libc::c_int = 0xfe;

/// `struct file_handle` (`include/linux/fs.h`) with the 8 bytes of a kernfs id. All values are of the host's byte order.
#[repr(C)]
struct FileHandle {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    id: [u8; 8],
}

const _: () = assert!(size_of::<FileHandle>() == 16);

/// Opens the folder of a cgroup. `mount` is an open file of the mounted hierarchy.
///
/// # Errors
/// `EPERM` without `CAP_DAC_READ_SEARCH`; `ESTALE` if the hierarchy has no such cgroup, or has one no longer.
pub(super) fn open_by_id(mount: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    let mut handle = FileHandle { handle_bytes: 8, handle_type: FILEID_KERNFS, id: id.to_ne_bytes() };
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY;
    // SAFETY: `handle` has the layout of `struct file_handle` followed by `handle_bytes` bytes, and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw mut handle, flags) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the call returned a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
