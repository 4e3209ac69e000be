//! The one door to system calls that have no safe wrapper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread into a new network namespace.
pub fn unshare_network() -> io::Result<()> {
    #[expect(unsafe_code, reason = "rustix marks the call unsafe for its sake of UnshareFlags::FILES")]
    // SAFETY: file descriptors are not unshared.
    unsafe {
        unshare_unsafe(UnshareFlags::NEWNET)?;
    }
    Ok(())
}

/// `bind` to an address given as the bytes of its C structure.
pub fn bind(socket: impl AsFd, address: &[u8]) -> io::Result<()> {
    let length = u32::try_from(address.len()).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "rustix knows no AF_PACKET addresses")]
    // SAFETY: the kernel copies `length` readable bytes and keeps no pointer.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.as_ptr().cast(), length) };
    checked(result).map(drop)
}

/// `setsockopt` with the bytes of the option's C type.
pub fn set_option(socket: impl AsFd, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let length = u32::try_from(value.len()).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    #[expect(unsafe_code, reason = "options that rustix does not know")]
    // SAFETY: the kernel copies `length` readable bytes and keeps no pointer.
    let result = unsafe { libc::setsockopt(fd, level, option, value.as_ptr().cast(), length) };
    checked(result).map(drop)
}

/// `getsockopt` into the bytes of the option's C type.
pub fn get_option<const N: usize>(socket: impl AsFd, level: i32, option: i32) -> io::Result<[u8; N]> {
    let mut value = [0; N];
    let mut length = u32::try_from(N).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    #[expect(unsafe_code, reason = "options that rustix does not know")]
    // SAFETY: the kernel writes at most `length` bytes, all of `value`.
    let result = unsafe { libc::getsockopt(fd, level, option, value.as_mut_ptr().cast(), &raw mut length) };
    checked(result).map(|_| value)
}

/// One instruction of a classic BPF program.
pub type ClassicInstruction = libc::sock_filter;

/// The classic BPF program that lets nothing through: `ret #0`.
pub const REFUSE_ALL: [ClassicInstruction; 1] = [ClassicInstruction { code: 6, jt: 0, jf: 0, k: 0 }];

/// Attaches a classic BPF program to a socket.
pub fn attach_filter(socket: impl AsFd, program: &[ClassicInstruction]) -> io::Result<()> {
    let program = filter_program(program)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Attaches a classic BPF program to a tap device.
pub fn attach_tap_filter(tap: impl AsFd, program: &[ClassicInstruction]) -> io::Result<()> {
    const TUNATTACHFILTER: libc::c_ulong = 0x4010_54d5;
    ioctl(tap, TUNATTACHFILTER, &mut filter_program(program)?)
}

/// The bytes of a `struct sock_fprog` that points to `program`.
fn filter_program(program: &[ClassicInstruction]) -> io::Result<[u8; 16]> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&length.to_ne_bytes());
    bytes[8..].copy_from_slice(&(program.as_ptr().expose_provenance() as u64).to_ne_bytes());
    Ok(bytes)
}

/// `ioctl` whose argument is the structure in `argument`.
pub fn ioctl(file: impl AsFd, request: libc::c_ulong, argument: &mut [u8]) -> io::Result<()> {
    #[expect(unsafe_code, reason = "requests of the tun driver")]
    // SAFETY: callers pass a structure of the size that the request number has.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), request, argument.as_mut_ptr()) };
    checked(result).map(drop)
}

/// `bpf(2)` for commands that answer with a file descriptor; `attributes` is its `union bpf_attr`.
pub fn bpf(command: libc::c_int, attributes: &[u8]) -> io::Result<OwnedFd> {
    let fd = bpf_command(command, attributes)?;
    #[expect(unsafe_code, reason = "takes ownership of the new descriptor")]
    // SAFETY: the kernel has just made the descriptor, and no other code knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bpf(2)` for commands that answer with a number.
pub fn bpf_command(command: libc::c_int, attributes: &[u8]) -> io::Result<i32> {
    #[expect(unsafe_code, reason = "no wrapper loads a hand-written program")]
    // SAFETY: the kernel reads `attributes` up to its length; pointers in it point to live data of the sizes in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    checked(i32::try_from(result).map_err(io::Error::other)?)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// SIGHUP ends processes again that are started from now on, unless they handle it.
pub fn default_hangup() {
    #[expect(unsafe_code, reason = "the default action is no handler")]
    // SAFETY: nothing is called.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_DFL)
    };
}
