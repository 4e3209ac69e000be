//! Segments of TCP: those that were dropped, and those that a socket of this host sent again. Userspace joins them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::DropKey;

/// Leading bytes of a dropped segment, from the network header on: the longest header of IPv4 and TCP's without options.
pub const SEGMENT_HEADERS: usize = 80;

/// [`DroppedSegment::kind`].
pub const SEGMENT_DROPPED: u32 = 1;
/// [`Retransmission::kind`].
pub const SEGMENT_RETRANSMITTED: u32 = 2;

/// A record of a dropped packet of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct DroppedSegment {
    /// [`SEGMENT_DROPPED`].
    pub kind: u32,
    /// Bytes from the network header on, those in pages included.
    pub length: u32,
    /// Nanoseconds of the kernel's `CLOCK_MONOTONIC`.
    pub timestamp_ns: u64,
    /// The aggregation key of the drop.
    pub key: DropKey,
    /// The leading bytes from the network header on, as words.
    pub headers: [u64; SEGMENT_HEADERS / 8],
    /// How many of these bytes are the packet's: those beyond are not contiguous, or lie behind its end; 0 if they could
    /// not be read.
    pub available: u64,
}

/// A record of a segment that a socket sent again (`tcp:tcp_retransmit_skb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Retransmission {
    /// [`SEGMENT_RETRANSMITTED`].
    pub kind: u32,
    /// `tcp_gso_segs`: packets on the wire, as the counter `TcpRetransSegs` counts them.
    pub segments: u32,
    /// Nanoseconds of the kernel's `CLOCK_MONOTONIC`, after the segment was sent.
    pub timestamp_ns: u64,
    /// `tcp_clock_cache`: the socket's own time of the same clock, before the segment was sent.
    pub began_ns: u64,
    /// The socket's network namespace, as [`DropKey::netns`].
    pub netns: u64,
    /// The first sequence number.
    pub start: u32,
    /// The sequence number behind the last one; SYN and FIN take one each.
    pub end: u32,
    /// `skc_v6_rcv_saddr`, in network byte order: of a socket of IPv6.
    pub source_v6: [u64; 2],
    /// `skc_v6_daddr`, likewise.
    pub destination_v6: [u64; 2],
    /// `skc_rcv_saddr`, in network byte order: of a socket of IPv4.
    pub source_v4: u32,
    /// `skc_daddr`, likewise.
    pub destination_v4: u32,
    /// `skc_family`.
    pub family: u16,
    /// `skc_num`, in the host's byte order.
    pub source_port: u16,
    /// `skc_dport`, in network byte order.
    pub destination_port: u16,
    /// Always 0.
    pub padding: u16,
}

/// Counts of one CPU that belong to no generation, and only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SegmentCounts {
    /// Retransmissions that the program saw.
    pub retransmissions: u64,
    /// The packets on the wire in them.
    pub segments: u64,
    /// Retransmissions without a record, because the ring buffer was full.
    pub retransmissions_lost: u64,
    /// Drops of TCP without a record, because the ring buffer was full.
    pub drops_lost: u64,
}

impl SegmentCounts {
    /// Adds the counts of another CPU.
    pub const fn add(&mut self, other: Self) {
        self.retransmissions += other.retransmissions;
        self.segments += other.segments;
        self.retransmissions_lost += other.retransmissions_lost;
        self.drops_lost += other.drops_lost;
    }
}

const _: () = {
    assert!(size_of::<DroppedSegment>() == 144);
    assert!(size_of::<Retransmission>() == 88);
    assert!(size_of::<SegmentCounts>() == 32);
};
