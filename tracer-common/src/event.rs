//! Events: records of single drops, and the sampler that limits them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DropKey, InterfaceName};

/// The largest configurable number of leading bytes in a record.
pub const MAX_SNAPLEN: u32 = 4096;

/// The first drops of a key in a generation on one CPU, of which records are made where [`crate::Config::sample_mask`] is
/// set.
pub const SAMPLED_FIRST: u64 = 4;

/// [`RecordHeader::start`]: no header is set, and no bytes follow.
pub const START_NONE: u8 = 0;
/// [`RecordHeader::start`]: the bytes start at the MAC header.
pub const START_MAC: u8 = 1;
/// [`RecordHeader::start`]: the bytes start at the network header.
pub const START_NETWORK: u8 = 2;

/// [`RecordHeader::sections`]: `vlan_tci` and `vlan_proto` hold a tag that the kernel removed from the bytes.
pub const SECTION_VLAN: u8 = 1;
/// [`RecordHeader::sections`]: `mtu` and `mac` are those of the packet's device.
pub const SECTION_DEVICE: u8 = 2;
/// [`RecordHeader::sections`]: `gso_size` and `gso_segments` are set: the buffer holds several packets on the wire.
pub const SECTION_GSO: u8 = 4;
/// [`RecordHeader::sections`]: `socket` is set.
pub const SECTION_SOCKET: u8 = 8;

/// [`RecordHeader::sections`]: a call stack of [`STACK_BYTES`] bytes comes before the packet's bytes.
pub const SECTION_STACK: u8 = 16;

/// Bytes of a record's call stack: 40 return addresses.
pub const STACK_BYTES: usize = 40 * size_of::<u64>();

/// [`SocketFacts::role`]: the socket that was to receive the packet, as the tracepoint reports it (6.11 and later).
pub const SOCKET_RECEIVER: u8 = 1;
/// [`SocketFacts::role`]: the socket to which the packet belongs (`skb->sk`): mostly the sender's, also on the
/// receiving side of a virtual link; on input the receiver's, if the kernel looked for it early (`tcp_v4_early_demux`).
pub const SOCKET_OWNER: u8 = 2;

/// Facts about a packet's socket. A mini socket (`struct request_sock`, `struct inet_timewait_sock`) has only the
/// fields of `struct sock_common`: all others are unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SocketFacts {
    /// `skc_cookie`, the socket's number for life; 0 while nobody has asked for it.
    pub cookie: u64,
    /// Inode number, as `/proc/PID/fd` shows it; 0 without one.
    pub inode: u64,
    /// `sk_uid`: the user who created the socket; `u32::MAX` if unknown.
    pub uid: u32,
    /// `sk_rcvbuf`: bytes of memory that the receive queue may use; 0 if unknown.
    pub receive_buffer: u32,
    /// `sk_rmem_alloc`: bytes of memory that the receive queue uses.
    pub receive_queued: u32,
    /// `skc_num`: local port; 0 without one.
    pub port: u16,
    /// One of the `SOCKET_*` values.
    pub role: u8,
    /// Always 0.
    pub padding: u8,
}

/// A record of the ring buffer: this header, the call stack if it was asked for, then `snaplen` bytes of which the first
/// `captured` are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct RecordHeader {
    /// Nanoseconds of the kernel's `CLOCK_MONOTONIC`.
    pub timestamp_ns: u64,
    /// The aggregation key of the drop.
    pub key: DropKey,
    /// As in [`crate::DropCount::bytes`].
    pub length: u32,
    /// Leading bytes that follow.
    pub captured: u16,
    /// The header at which the bytes start: one of the `START_*` values.
    pub start: u8,
    /// The optional fields that are set: `SECTION_*` bits.
    pub sections: u8,
    /// The interface's name at the drop; zeros without an interface.
    pub interface: InterfaceName,
    /// Inode number of the network namespace; 0 if unknown.
    pub netns_inum: u32,
    /// The CPU that dropped the packet.
    pub cpu: u32,
    /// The tag: priority, drop eligibility and VLAN identifier.
    pub vlan_tci: u16,
    /// `EtherType` of the tag in the host's byte order.
    pub vlan_proto: u16,
    /// The packet's mark (`sk_buff.mark`).
    pub mark: u32,
    /// MTU of the packet's device, bytes.
    pub mtu: u32,
    /// Queue of the packet's device (`sk_buff.queue_mapping`).
    pub queue: u16,
    /// Link address of the packet's device; zeros if it has none.
    pub mac: [u8; 6],
    /// MTU of the packet's route, if a metric sets it; 0 if unknown.
    pub route_mtu: u32,
    /// Payload bytes of each packet on the wire that a GSO buffer holds.
    pub gso_size: u16,
    /// Number of these packets; 0 if the kernel has not counted them yet.
    pub gso_segments: u16,
    /// Bytes of the call stack that are valid; 0 if it could not be read.
    pub stack: u16,
    /// Always 0.
    pub padding: u16,
    /// The packet's socket.
    pub socket: SocketFacts,
}

/// The limit of records of one drop site in a second, on one CPU, as a multiple of [`crate::Config::rate`].
pub const SITE_FACTOR: u64 = 10;

/// Key of a drop site's bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SiteKey {
    /// As [`DropKey::location`].
    pub location: u64,
    /// As [`DropKey::reason`].
    pub reason: u32,
    /// As [`DropKey::kind`].
    pub kind: u32,
}

/// The token bucket of a drop site on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SiteBucket {
    /// Ticks of the kernel's timer up to which tokens were added.
    pub since_ticks: u64,
    /// Tokens for records: [`SITE_FACTOR`] times the rate per second.
    pub tokens: u64,
    /// Tokens for records of flows without a record in the last second: the rate per second.
    pub newcomers: u64,
    /// Records held back.
    pub suppressed: u64,
}

/// Key of a flow's bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowKey {
    /// Hash of addresses, ports and protocol.
    pub flow: u64,
    /// As [`DropKey::location`].
    pub location: u64,
    /// As [`DropKey::reason`].
    pub reason: u32,
    /// As [`DropKey::kind`].
    pub kind: u32,
}

/// The token bucket of a flow at one drop site on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowBucket {
    /// Ticks of the kernel's timer up to which tokens were added.
    pub since_ticks: u64,
    /// Ticks at the flow's last record.
    pub shown_ticks: u64,
    /// Tokens for records.
    pub tokens: u64,
}

const _: () = {
    assert!(size_of::<SocketFacts>() == 32);
    assert!(size_of::<RecordHeader>() == 144);
    assert!(size_of::<SiteKey>() == 16);
    assert!(size_of::<SiteBucket>() == 32);
    assert!(size_of::<FlowKey>() == 24);
    assert!(size_of::<FlowBucket>() == 24);
};
