//! What crosses of hardware drops: those that devices report by devlink traps.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Counters, OverflowCount};

/// Length of a devlink trap's name, with at least one closing zero; longer ones are cut. The longest of Linux 6.1 has 33
/// characters (`DEVLINK_TRAP_GENERIC_NAME_*`, `include/net/devlink.h`).
pub const TRAP_NAME_LEN: usize = 48;
/// Length of the name of a group of traps, likewise; the longest has 18 characters.
pub const TRAP_GROUP_LEN: usize = 32;

/// Why a device dropped a packet, in its driver's words, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct TrapNames {
    /// The trap.
    pub trap: [u8; TRAP_NAME_LEN],
    /// Its group.
    pub group: [u8; TRAP_GROUP_LEN],
}

/// What hardware drops are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct TrapKey {
    /// Why.
    pub names: TrapNames,
    /// As [`crate::DropKey::netns`].
    pub netns: u32,
    /// As [`crate::DropKey::ifindex`].
    pub ifindex: u32,
    /// As [`crate::DropKey::protocol`].
    pub protocol: u16,
    /// Always 0.
    pub padding: [u16; 3],
}

/// What the program on `devlink_trap_report` did on one CPU. The two programs may interrupt one another, so that each
/// has counters of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct HardwareState {
    /// As of the program on `kfree_skb`.
    pub counters: Counters,
    /// Drops whose key found no room.
    pub overflow: OverflowCount,
}

const _: () = {
    assert!(size_of::<TrapNames>() == TRAP_NAME_LEN + TRAP_GROUP_LEN);
    assert!(size_of::<TrapKey>() == 96);
    assert!(size_of::<HardwareState>() == 80);
};
