//! The packet of the current drop, as the code of a filter reads it.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bit of [`crate::Config::filter`]: there is a filter.
pub const FILTER_ON: u32 = 1;
/// Bit of [`crate::Config::filter`]: the filter's code reads [`PacketView`].
pub const FILTER_PACKET: u32 = 2;
/// Bit of [`crate::Config::filter`]: the filter's code reads [`CpuState::interface`](crate::CpuState::interface).
pub const FILTER_INTERFACE: u32 = 4;
/// Bit of [`crate::Config::filter`]: the filter's code reads [`CpuState::user`](crate::CpuState::user).
pub const FILTER_USER: u32 = 8;

/// Set in [`CpuState::user`](crate::CpuState::user) if the user is known: the user's number may be 0.
pub const USER_KNOWN: u64 = 1 << 32;

/// [`crate::Config::cgroups`]: drops are also counted by the control group of their socket.
pub const CGROUPS_COUNTED: u32 = 1;
/// [`crate::Config::cgroups`]: only the filter asks for the control group.
pub const CGROUPS_FILTERED: u32 = 2;

/// Set in [`PacketView::vlan`] if the packet has a VLAN tag: the tag itself may be 0.
pub const VLAN_PRESENT: u32 = 0x10000;

/// The symbol of the function in the object whose body userspace replaces with the code of the filter. Its only argument
/// is the address of [`crate::CpuState`]; the drop is selected if it returns another number than 0.
pub const PACKET_FILTER: &str = "packet_filter";

/// The packet of the current drop, for the filter's code. Only the first bytes of a packet are contiguous; the filter
/// sees no others. Kept only with [`FILTER_PACKET`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct PacketView {
    /// Address of the Ethernet header.
    pub link: u64,
    /// Contiguous bytes from there; 0 without an Ethernet header.
    pub link_length: u64,
    /// Address of the network header, behind all VLAN tags.
    pub network: u64,
    /// Contiguous bytes from there; 0 if the network header is unknown.
    pub network_length: u64,
    /// The `EtherType` behind all VLAN tags, in the host's byte order; 0 if it is not set.
    pub protocol: u32,
    /// [`VLAN_PRESENT`] and the outermost VLAN tag (`skb->vlan_tci`); 0 without a tag.
    pub vlan: u32,
}

const _: () = assert!(size_of::<PacketView>() == 40);
