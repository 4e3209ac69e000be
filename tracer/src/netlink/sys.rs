//! System calls that no library offers: receiving many datagrams at once, reading a socket's drops, waiting, and the requests of
//! `ethtool`.
#![expect(unsafe_code, reason = "raw system calls; the only place here")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The greatest number of datagrams that one call returns.
pub(super) const BATCH: usize = 64;

/// The properties of a received datagram besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Envelope {
    /// The number of bytes in the buffer.
    pub(super) length: usize,
    /// The datagram was longer than its slot.
    pub(super) is_truncated: bool,
    /// The port of the sender; 0 is the kernel.
    pub(super) sender: u32,
}

/// Receives up to [`BATCH`] datagrams without waiting, one in each `slot` bytes of `buffer`, and returns their number.
pub(super) fn receive_batch(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    slot: usize,
    envelopes: &mut [Envelope; BATCH],
) -> io::Result<usize> {
    // SAFETY: all three are plain data, for which zeros are values: no address, no buffer, no message.
    let (mut senders, mut parts, mut messages): (
        [libc::sockaddr_nl; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    let mut slots = 0;
    let addressed = senders.iter_mut().zip(&mut parts).zip(&mut messages);
    for (bytes, ((sender, part), message)) in buffer.chunks_exact_mut(slot).zip(addressed) {
        *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        message.msg_hdr.msg_name = (&raw mut *sender).cast();
        message.msg_hdr.msg_namelen = length_of::<libc::sockaddr_nl>();
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        slots += 1;
    }
    // SAFETY: the first `slots` messages point to senders and parts that outlive the call, and the parts to disjoint
    // pieces of `buffer`, which is borrowed for as long.
    let received = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), slots, libc::MSG_DONTWAIT, std::ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for ((envelope, message), sender) in envelopes.iter_mut().zip(&messages[..received]).zip(&senders) {
        *envelope = Envelope {
            length: (message.msg_len as usize).min(slot),
            is_truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            sender: sender.nl_pid,
        };
    }
    Ok(received)
}

/// The index of the drops in the answer to `SO_MEMINFO` (`SK_MEMINFO_DROPS`, `include/uapi/linux/sock_diag.h`).
const DROPS: usize = 8;

/// The number of datagrams for which the socket had no room since it was opened, modulo 2³². Since Linux 4.12.
pub(super) fn dropped(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = [0_u32; DROPS + 1];
    let mut length = length_of::<[u32; DROPS + 1]>();
    // SAFETY: the kernel writes at most `length` bytes to `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match result {
        0 if length == length_of::<[u32; DROPS + 1]>() => Ok(info[DROPS]),
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Memory for the answers to requests of `ethtool`. The kernel writes as much as the driver has, whatever the size of the buffer
/// (`ethtool_get_stats`, `net/ethtool/ioctl.c`): behind the memory are pages without access, at which the kernel's copy ends.
#[derive(Debug)]
pub(crate) struct Room(NonNull<u8>);

/// The bytes of a [`Room`], and those behind it. Both are whole pages of any size that Linux has.
const ROOM: usize = 512 << 10;
const GUARD: usize = 64 << 10;

// SAFETY: the mapping belongs to the value alone, and is no thread's.
unsafe impl Send for Room {}

impl Room {
    /// Maps the memory.
    ///
    /// # Errors
    /// Those of `mmap`.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel chooses the address of the new mapping, which therefore replaces no other.
        let start = unsafe { libc::mmap(ptr::null_mut(), ROOM + GUARD, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let room = Self(NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: these pages are the first ones of the mapping.
        match unsafe { libc::mprotect(start, ROOM, libc::PROT_READ | libc::PROT_WRITE) } {
            0 => Ok(room),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The memory.
    pub(super) const fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the pages are readable and writable, were zeros, and are borrowed as the value is.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), ROOM) }
    }

    /// Sends the request in [`Self::bytes`], which gets the answer, about an interface of the socket's namespace.
    pub(super) fn ethtool(&mut self, socket: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
        /// `SIOCETHTOOL` (`include/uapi/linux/sockios.h`).
        const REQUEST: libc::Ioctl = 0x8946;
        // SAFETY: zeros are a value of it.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        let (name, end) = request.ifr_name.split_at_mut(libc::IFNAMSIZ - 1);
        if interface.len() > name.len() || end.len() != 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in name.iter_mut().zip(interface.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_data = self.0.as_ptr().cast();
        // SAFETY: the kernel reads and writes from the start of the mapping on, and its copy ends at the pages without access.
        match unsafe { libc::ioctl(socket.as_raw_fd(), REQUEST, &raw mut request) } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the whole mapping is this value's, which nobody uses any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), ROOM + GUARD) };
    }
}

/// Registers `fd` with the runtime, which then reports when `fd` is readable. Must be called within a tokio runtime.
pub(super) fn watch<T: AsFd + AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a socket owns its descriptor until it is dropped, and offers no mutable access that could exchange the
    // descriptor.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}
