//! Names that the kernel program stores at the first drop, because they may be gone when userspace asks for them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Length of an interface's name in the kernel, with the closing zero (`IFNAMSIZ`, `include/uapi/linux/if.h`).
pub const IFNAMSIZ: usize = 16;

/// An interface's name, padded with zeros.
pub type InterfaceName = [u8; IFNAMSIZ];

/// The names of the interface and namespace of an aggregation key, at the first drop of the key in a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct KeyNames {
    /// The interface's name; zeros if there is no interface, or it is unknown.
    pub interface: InterfaceName,
    /// Inode number of the network namespace; 0 if unknown.
    pub netns_inum: u32,
    /// Always 0.
    pub padding: u32,
}

/// The kernel's answer about one namespace that a file descriptor refers to, and about its clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct NamespaceAnswer {
    /// `net->net_cookie`; 0 on kernels without one.
    pub cookie: u64,
    /// `net->ns.ops`.
    pub ops: u64,
    /// The inode number.
    pub inum: u32,
    /// Not 0 if the descriptor refers to a namespace.
    pub found: u32,
    /// Nanoseconds of the kernel's `CLOCK_MONOTONIC`, which time namespaces do not shift.
    pub now_ns: u64,
    /// `jiffies64`.
    pub ticks: u64,
}

/// Length of a devlink trap's name, with at least one closing zero; longer ones are cut. The longest of Linux 6.1 has 33
/// characters (`DEVLINK_TRAP_GENERIC_NAME_*`, `include/net/devlink.h`).
pub const TRAP_NAME_LEN: usize = 48;
/// Length of the name of a group of traps, likewise; the longest has 18 characters.
pub const TRAP_GROUP_LEN: usize = 32;

/// The cause for which a device dropped a packet, in the terms of its driver, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct TrapNames {
    /// The trap.
    pub trap: [u8; TRAP_NAME_LEN],
    /// Its group.
    pub group: [u8; TRAP_GROUP_LEN],
}

const _: () = {
    assert!(size_of::<KeyNames>() == 24);
    assert!(size_of::<NamespaceAnswer>() == 40);
    assert!(size_of::<TrapNames>() == TRAP_NAME_LEN + TRAP_GROUP_LEN);
};
