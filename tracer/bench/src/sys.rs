//! System calls that no library offers.
#![expect(unsafe_code, reason = "raw system calls; the only ones in the benchmark")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread into a new network namespace.
pub(super) fn unshare_network() -> io::Result<()> {
    // SAFETY: file descriptors are not unshared; rustix marks the call as unsafe because of them.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(Into::into)
}

/// Moves the calling process, which must have one thread, into a new user namespace. There it has all capabilities over
/// namespaces that it makes, and over nothing else.
pub(super) fn unshare_user() -> io::Result<()> {
    // SAFETY: file descriptors are not unshared; rustix marks the call as unsafe because of them.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(Into::into)
}

/// Sets `lo` of the calling thread's network namespace up.
pub(super) fn raise_loopback() -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: all fields are numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: the request is a whole `struct ifreq`, which this ioctl reads.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// A socket that sends whole frames through an interface, and receives none.
pub(super) fn frame_socket(ifindex: i32) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::PACKET, SocketType::RAW, None)?;
    // SAFETY: all fields are numbers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_ifindex = ifindex;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the kernel copies the address, which has this length.
    checked(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// The CPU time that all threads of a process have used so far.
pub(super) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: the call writes the clock's number.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the time.
    checked(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanoseconds = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanoseconds))
}

/// Makes the process that the command starts end (`SIGTERM`) when the thread that starts it ends for any reason.
pub(super) fn end_with_this_thread(command: &mut Command) {
    let tie = || set_parent_process_death_signal(Some(Signal::TERM)).map_err(Into::into);
    // SAFETY: one system call, which takes no memory and no locks.
    unsafe { command.pre_exec(tie) };
}

/// Attempts to load a program. The verifier gives up with `EAGAIN` when a signal comes (`do_check`,
/// `kernel/bpf/verifier.c`), which says nothing about the program.
const LOAD_ATTEMPTS: u32 = 1_000;

/// Loads a program for raw tracepoints.
pub(super) fn load_raw_tracepoint(name: &CStr, instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing a union's `Copy` fields.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_RAW_TRACEPOINT as u32;
    // The last byte stays 0.
    let letters = program.prog_name.len() - 1;
    for (to, from) in program.prog_name[..letters].iter_mut().zip(name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    program.insn_cnt = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    program.insns = instructions.as_ptr() as u64;
    program.license = c"Dual MIT/GPL".as_ptr() as u64;
    let mut attempts = LOAD_ATTEMPTS;
    loop {
        // SAFETY: all pointers are valid for the call, that of the instructions for their number.
        match unsafe { new_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr) } {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempts > 1 => attempts -= 1,
            result => return result,
        }
    }
}

/// Attaches a program to the raw tracepoint with this name, until the returned link is closed.
pub(super) fn attach_raw_tracepoint(program: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing a union's `Copy` fields.
    let link = unsafe { &mut attr.raw_tracepoint };
    link.name = name.as_ptr() as u64;
    link.prog_fd = program.as_raw_fd().cast_unsigned();
    // SAFETY: the name is valid for the call.
    unsafe { new_fd(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr) }
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: all fields are numbers.
    unsafe { std::mem::zeroed() }
}

/// # Safety
/// Pointers in `attr` must be valid for what `command` reads, and `command` must answer with a new descriptor.
unsafe fn new_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's; nobody else has the new descriptor.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<bpf_attr>());
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?))
    }
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_of_a_process_grows() {
        let pid = std::process::id();
        let before = cpu_time(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_time(pid).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time(pid).unwrap() > before);
        assert!(cpu_time(u32::MAX).is_err());
    }
}
