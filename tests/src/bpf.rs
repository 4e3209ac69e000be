//! BPF programs of a few instructions, written by hand so that the tests need no compiler for BPF.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::Result;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::netns::Netns;
use crate::sys;
use crate::trials::Unable;

const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_UPDATE_ELEM: i32 = 2;
const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_PROG_TYPE_CGROUP_SKB: u32 = 8;
const BPF_CGROUP_INET_EGRESS: u32 = 1;
const BPF_XDP: u32 = 37;
const BPF_XDP_DEVMAP: u32 = 33;
const BPF_MAP_TYPE_DEVMAP: u32 = 14;
const CGROUP_REFUSE: u32 = 0;

/// The verdict of an XDP program on every frame (`enum xdp_action`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// The program failed.
    Aborted = 0,
    /// Drop it.
    Drop = 1,
    /// Let it pass.
    Pass = 2,
    /// Send it elsewhere. The program names no target, so the kernel has to drop it.
    Redirect = 4,
    /// No action at all.
    Invalid = 99,
}

/// The hook of an XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// Before the network stack proper, on an `sk_buff` (`XDP_FLAGS_SKB_MODE`).
    Generic = 2,
    /// In the driver (`XDP_FLAGS_DRV_MODE`).
    Native = 4,
}

/// Attaches a program in a network namespace, or says that it cannot be here.
pub fn attached(netns: &Netns, attach: impl FnOnce() -> io::Result<OwnedFd> + Send) -> Result<OwnedFd> {
    netns.run(|| Ok(attach()))?.map_err(|error| Unable(format!("attaching XDP: {error}")).into())
}

/// Gives one verdict on all frames that the interface receives, until the handle is closed.
pub fn xdp(ifindex: u32, verdict: Verdict, hook: Hook) -> io::Result<OwnedFd> {
    let program = returning(BPF_PROG_TYPE_XDP, 0, verdict as u32)?;
    link(&program, ifindex, BPF_XDP, hook as u32)
}

/// Sends all that the interface receives out of another one, which may not exist, until the handle is closed.
pub fn xdp_redirect(ifindex: u32, target: u32, hook: Hook) -> io::Result<OwnedFd> {
    const BPF_REDIRECT: u64 = 23;
    // r1 = target; r2 = 0; call bpf_redirect; exit.
    let program =
        load(BPF_PROG_TYPE_XDP, 0, &[0x1b7 | u64::from(target) << 32, 0x2b7, 0x85 | BPF_REDIRECT << 32, 0x95])?;
    link(&program, ifindex, BPF_XDP, hook as u32)
}

/// As [`xdp_redirect`], through a map (`BPF_MAP_TYPE_DEVMAP`) with a program on the way out, which has one verdict on all.
pub fn xdp_redirect_through(ifindex: u32, target: u32, verdict: Verdict, hook: Hook) -> io::Result<OwnedFd> {
    const BPF_REDIRECT_MAP: u64 = 51;
    let way_out = returning(BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP, verdict as u32)?;
    // union bpf_attr of BPF_MAP_CREATE: kind, size of keys and of values (struct bpf_devmap_val), entries.
    let mut attributes = [0; 16];
    for (offset, value) in [(0, BPF_MAP_TYPE_DEVMAP), (4, 4), (8, 8), (12, 1)] {
        put(&mut attributes, offset, value);
    }
    let map = sys::bpf(BPF_MAP_CREATE, &attributes)?;
    let (key, value) = (0_u32, [target, number(&way_out)?]);
    let mut attributes = [0; 32];
    put(&mut attributes, 0, number(&map)?);
    put_pointer(&mut attributes, 8, (&raw const key).expose_provenance());
    put_pointer(&mut attributes, 16, value.as_ptr().expose_provenance());
    sys::bpf_command(BPF_MAP_UPDATE_ELEM, &attributes)?;
    // r1 = map; r2 = 0; r3 = 0; call bpf_redirect_map; exit.
    let map = u64::from(number(&map)?) << 32;
    let program = load(BPF_PROG_TYPE_XDP, 0, &[0x1118 | map, 0, 0x2b7, 0x3b7, 0x85 | BPF_REDIRECT_MAP << 32, 0x95])?;
    link(&program, ifindex, BPF_XDP, hook as u32)
}

fn number(file: &OwnedFd) -> io::Result<u32> {
    u32::try_from(file.as_raw_fd()).map_err(io::Error::other)
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
    load(program_type, attach_type, &[0xb7 | u64::from(verdict) << 32, 0x95])
}

/// Loads instructions in the byte order of a little-endian machine.
fn load(program_type: u32, attach_type: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    // Programs count as locked memory before 5.11. Where the limit cannot be raised, newer kernels do not need it.
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let license = c"GPL";
    // union bpf_attr of BPF_PROG_LOAD, `include/uapi/linux/bpf.h`.
    let mut attributes = [0; 72];
    put(&mut attributes, 0, program_type);
    put(&mut attributes, 4, u32::try_from(instructions.len()).map_err(io::Error::other)?);
    put_pointer(&mut attributes, 8, instructions.as_ptr().expose_provenance());
    put_pointer(&mut attributes, 16, license.as_ptr().expose_provenance());
    put(&mut attributes, 68, attach_type);
    sys::bpf(BPF_PROG_LOAD, &attributes)
}

fn link(program: &OwnedFd, target: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attributes = [0; 16];
    put(&mut attributes, 0, number(program)?);
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
