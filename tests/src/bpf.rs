//! Two-instruction BPF programs, written by hand so that the tests need no compiler for BPF.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::sys;

const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_PROG_TYPE_CGROUP_SKB: u32 = 8;
const BPF_CGROUP_INET_EGRESS: u32 = 1;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 2;
const CGROUP_REFUSE: u32 = 0;

/// What an XDP program says of every frame (`enum xdp_action`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// Drop it.
    Drop = 1,
    /// Send it elsewhere. The program names no target, so the kernel has to drop it.
    Redirect = 4,
}

/// One verdict on all that the interface receives, before the network stack proper (generic XDP), until the handle is
/// closed.
pub fn xdp(ifindex: u32, verdict: Verdict) -> io::Result<OwnedFd> {
    let program = returning(BPF_PROG_TYPE_XDP, 0, verdict as u32)?;
    link(&program, ifindex, BPF_XDP, XDP_FLAGS_SKB_MODE)
}

/// Refuses all that sockets made in the control group send, until the handle is closed.
pub fn cgroup_refuse_egress(cgroup: impl AsFd) -> io::Result<OwnedFd> {
    let program = returning(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, CGROUP_REFUSE)?;
    let target = u32::try_from(cgroup.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    link(&program, target, BPF_CGROUP_INET_EGRESS, 0)
}

/// A socket filter that lets nothing through.
pub fn socket_refuse_all() -> io::Result<OwnedFd> {
    returning(BPF_PROG_TYPE_SOCKET_FILTER, 0, 0)
}

/// Loads `r0 = verdict; exit`.
fn returning(program_type: u32, attach_type: u32, verdict: u32) -> io::Result<OwnedFd> {
    // Programs count as locked memory before 5.11. Where it cannot be raised, newer kernels do not mind.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let instructions = [0xb7 | u64::from(verdict) << 32, 0x95].map(u64::to_ne_bytes);
    let license = c"GPL";
    // union bpf_attr of BPF_PROG_LOAD, `include/uapi/linux/bpf.h`.
    let mut attributes = [0; 72];
    put(&mut attributes, 0, program_type);
    put(&mut attributes, 4, 2);
    put_pointer(&mut attributes, 8, instructions.as_ptr().expose_provenance());
    put_pointer(&mut attributes, 16, license.as_ptr().expose_provenance());
    put(&mut attributes, 68, attach_type);
    sys::bpf(BPF_PROG_LOAD, &attributes)
}

fn link(program: &OwnedFd, target: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = [0; 16];
    put(&mut attributes, 0, u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?);
    put(&mut attributes, 4, target);
    put(&mut attributes, 8, attach_type);
    put(&mut attributes, 12, flags);
    sys::bpf(BPF_LINK_CREATE, &attributes)
}

fn put(attributes: &mut [u8], offset: usize, value: u32) {
    attributes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
}

fn put_pointer(attributes: &mut [u8], offset: usize, address: usize) {
    attributes[offset..offset + 8].copy_from_slice(&(address as u64).to_ne_bytes());
}
