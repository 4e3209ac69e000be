//! Counting: every drop is counted, by aggregation key, in the current generation.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{CACHE_SLOTS, CacheSlot, FlowRow, IFNAMSIZ, KeyNames, PacketView, SegmentCounts};

/// Generations of the counts: the kernel program counts into one while userspace reads and clears the other.
pub const GENERATIONS: u32 = 2;

/// [`DropKey::kind`]: a packet of a network.
pub const KIND_PACKET: u8 = 0;
/// [`DropKey::kind`]: an empty buffer without headers that the kernel freed, such as the one with which
/// `napi_get_frags_check` (`net/core/dev.c`) tests a device that comes up. No packet was lost.
pub const KIND_EMPTY: u8 = 1;
/// [`DropKey::kind`]: a message between Unix sockets of this host.
pub const KIND_UNIX: u8 = 2;
/// [`DropKey::kind`]: a netlink message of this host.
pub const KIND_NETLINK: u8 = 3;
/// [`DropKey::kind`]: a packet that a device dropped and reported through a devlink trap. [`DropKey::location`] is the
/// address of the trap's name, whose text is in [`crate::TrapNames`].
pub const KIND_TRAP: u8 = 4;
/// [`DropKey::kind`]: a frame that an XDP program or a redirect dropped before it became an `sk_buff`.
/// [`DropKey::reason`] is the action (`enum xdp_action`), or the error of a redirect with the highest bit set.
pub const KIND_XDP: u8 = 5;
/// [`DropKey::kind`]: a copy that the kernel made of a packet that went on: for packet sockets (`dev_queue_xmit_nit`,
/// `net/core/dev.c`, and the queue of such a socket), or for a socket's error queue (`sock_queue_err_skb`,
/// `net/core/skbuff.c`). Userspace recognises copies that a packet socket had no room for by the location.
pub const KIND_COPY: u8 = 6;
/// [`DropKey::reason`] of [`KIND_XDP`]: this bit marks the error number of a redirect that failed.
pub const XDP_REDIRECT_FAILED: u32 = 1 << 31;

/// The reason on kernels whose tracepoint does not give one. No kernel uses this subsystem.
pub const REASON_ABSENT: u32 = u32::MAX;

/// The aggregation key of drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct DropKey {
    /// The tracepoint's `location`: the address that the freeing call returns to.
    pub location: u64,
    /// `net->net_cookie` of the network namespace, which is never reused within a boot; the inode number on kernels
    /// without a cookie (before 5.12); 0 if the namespace is unknown.
    pub netns: u64,
    /// The control group of the process that made the packet's socket (`kernfs_node.id`); 0 when it is not asked for, when
    /// there is no socket, and when it is unknown.
    pub cgroup_id: u64,
    /// Interface index within the namespace; 0 without an interface.
    pub ifindex: u32,
    /// `enum skb_drop_reason`, subsystem in the high 16 bits; [`REASON_ABSENT`] on kernels without it.
    pub reason: u32,
    /// `EtherType` in the host's byte order; 0 if it is not set.
    pub protocol: u16,
    /// One of the `KIND_*` values.
    pub kind: u8,
    /// The socket of `cgroup_id`: [`crate::SOCKET_RECEIVER`] or [`crate::SOCKET_OWNER`]; 0 when there is none, and when it is not
    /// asked for.
    pub socket: u8,
    /// Always 0. No array, which the kernel program would copy byte by byte.
    pub padding_to_word: u32,
}

impl DropKey {
    /// The interface and namespace of the drop, as a key of their names: all drops there have the same names, but for those
    /// before or after the interface is renamed.
    #[inline(always)]
    #[must_use]
    pub const fn names_key(&self) -> Self {
        Self {
            location: 0,
            netns: self.netns,
            cgroup_id: 0,
            ifindex: self.ifindex,
            reason: 0,
            protocol: 0,
            kind: 0,
            socket: 0,
            padding_to_word: 0,
        }
    }

    /// The reason by which the drop is counted if its key finds no room: reasons of other kinds are not numbers of
    /// `enum skb_drop_reason`.
    #[inline(always)]
    #[must_use]
    pub const fn overflow_reason(&self) -> u32 {
        if self.kind == KIND_XDP { REASON_ABSENT } else { self.reason }
    }
}

/// Counts of one [`DropKey`] on one CPU in one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct DropCount {
    /// Calls of the tracepoint, one for each buffer (a GSO buffer holds several packets on the wire).
    pub packets: u64,
    /// Bytes from the MAC header, else from the network header, else from the start of the remaining data.
    pub bytes: u64,
    /// First drop, the low 32 bits of the kernel's timer ticks (`jiffies64`). They advance with `CLOCK_MONOTONIC`
    /// (`tick_do_update_jiffies64`, `kernel/time/tick-sched.c`) and cost a load, where the clock costs 20 ns.
    pub first_ticks: u32,
    /// Last drop, likewise.
    pub last_ticks: u32,
}

/// The counts of the kernel program on one CPU in one generation. [`CpuState::hits`]` = Σ packets of all keys +
/// overflow + filtered`, and `offered = submitted + suppressed + ring_full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Counters {
    /// Drops outside the selected namespace or interface, and those that the filter does not select.
    pub filtered: u64,
    /// Counted drops whose namespace is unknown, so that a filter could not decide on them.
    pub unknown_netns: u64,
    /// Drops whose key found no room in the hash; counted by reason in the overflow map.
    pub overflow: u64,
    /// Drops that could have become records.
    pub offered: u64,
    /// Records in the ring buffer.
    pub submitted: u64,
    /// Records held back by the sampler.
    pub suppressed: u64,
    /// Records that were lost because the ring buffer was full.
    pub ring_full: u64,
    /// Records without leading bytes, because the bytes could not be read.
    pub unreadable: u64,
    /// Bits of the tables that may have keys.
    pub tables: u64,
}

/// The counts of one CPU in one generation: for a known key, the kernel program needs only this one look-up.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Counts {
    /// Direct-mapped by [`crate::slot_of`].
    pub slots: [CacheSlot; CACHE_SLOTS],
    /// The counters of this CPU.
    pub counters: Counters,
    /// Always 0.
    pub padding: [u64; 7],
}

/// The exact reason of the current drop on one CPU, from `qdisc_drop` until `kfree_skb` uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct QdiscNote {
    /// Address of the packet's `struct sk_buff`; 0 without a note.
    pub skb: u64,
    /// `enum qdisc_drop_reason`.
    pub reason: u32,
    /// Always 0.
    pub padding: u32,
    /// Notes without a matching drop: another note replaced them, or arrived while a program was running.
    pub unmatched: u64,
}

/// The socket that has no room for the packet that one CPU is about to drop, from `udp_fail_queue_rcv_skb` until `kfree_skb`
/// uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct UdpNote {
    /// Address of the packet's `struct sk_buff`; 0 without a note.
    pub skb: u64,
    /// Address of the `struct sock`.
    pub socket: u64,
}

/// The addresses of a part of the kernel's code. Both are 0 where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct CodeRange {
    /// The first instruction.
    pub start: u64,
    /// The first byte behind.
    pub end: u64,
}

/// The most parts of the functions in which UDP drops a packet that it cannot queue.
pub const UDP_QUEUES: usize = 8;

/// A frame that an XDP program dropped on one CPU, and that `kfree_skb` may report as well, as the next drop on that
/// CPU: then only that drop is counted, else the next program that runs on that CPU counts the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct XdpNote {
    /// `jiffies64` at that drop.
    pub ticks: u64,
    /// The aggregation key of the drop.
    pub key: DropKey,
    /// Names that belong to the key.
    pub names: KeyNames,
    /// Whether `kfree_skb` reports the packet as well: one of the program's own values.
    pub second_report: u32,
    /// The result of the filters: one of the `NOTED_*` values.
    pub verdict: u32,
    /// Address of the `struct net_device` of the last redirect that failed, which some drivers report a second time as
    /// an exception; 0 without one.
    pub redirect_device: u64,
    /// `jiffies64` at that redirect.
    pub redirect_ticks: u64,
    /// Address of the packet's `struct net_device`; 0 without a note. Last, next to the fields that each run reads.
    pub device: u64,
}

/// [`XdpNote::verdict`]: the filters select the frame.
pub const NOTED_COUNTED: u32 = 0;
/// [`XdpNote::verdict`]: the namespace is unknown, so that a filter cannot decide; the frame is counted.
pub const NOTED_UNDECIDED: u32 = 1;
/// [`XdpNote::verdict`]: the filters exclude the frame.
pub const NOTED_FILTERED: u32 = 2;
/// After this number of nanoseconds `kfree_skb` can no longer report the noted packet. It runs a few instructions after
/// the note, between which a virtual machine may have to wait for its processor.
pub const MOST_NOTED_NS: u64 = 100_000_000;

/// Room for kernel programs that use the counts of a CPU, each of them alone.
pub const MOST_HOLDERS: usize = 8;

/// Bytes of a packet's network and transport header that the sampler reads.
pub const SCRATCH_LEN: usize = 64;

/// The fields of a drop that the kernel program has read. Addresses are 0 if there is no object. The position of the
/// headers (`start`, `linear`, `network`, `start_kind`) is kept only if records, flows or retransmissions are wanted, or a filter
/// reads packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct DropFacts {
    /// The aggregation key.
    pub key: DropKey,
    /// Address of the packet's `struct net_device`.
    pub device: u64,
    /// Address of the `struct net` of `key.netns`.
    pub net: u64,
    /// Address of the socket that was to receive the packet.
    pub receiver: u64,
    /// Bytes from `start` on.
    pub length: u32,
    /// Inode number of the namespace.
    pub netns_inum: u32,
    /// Address family of the socket of a packet without a device; 0 without a socket.
    pub family: u16,
    /// The header at `start`: one of the `START_*` values.
    pub start_kind: u8,
    /// The generation in which the drop was counted under `key`, plus 1; 0 before, and without room for the key. Kept only
    /// with [`crate::UDP_RECEIVERS_LATER`].
    pub counted_in: u8,
    /// Always 0.
    pub padding: [u8; 4],
    /// Address of the first header that is set.
    pub start: u64,
    /// Bytes from `start` on that are contiguous.
    pub linear: u64,
    /// Address of the network header.
    pub network: u64,
}

/// A network namespace that was verified. Its cookie is never used again, so that an object with the same cookie at the
/// same address is that namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct ProvedNet {
    /// Address of its `struct net`; 0 without one.
    pub address: u64,
    /// `net->net_cookie`.
    pub cookie: u64,
    /// Its inode number.
    pub inum: u32,
    /// Always 0.
    pub padding: u32,
}

/// The state of one CPU beyond generations. Fields that each drop needs are adjacent, which saves cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct CpuState {
    /// Buffer for a packet's headers. Words, because words are read from it.
    pub scratch: [u64; SCRATCH_LEN / 8],
    /// Drops that were not counted because another of the programs was running on this CPU already.
    pub nested: u64,
    /// `net.ns.ops` of this process's own namespace, by which namespaces are recognised; 0 while it is unknown.
    pub netns_ops: u64,
    /// The only namespace to count, as [`DropKey::netns`].
    pub wanted_netns: u64,
    /// The reason of the drop that this CPU is about to report.
    pub qdisc: QdiscNote,
    /// The frame that an XDP program has just dropped, and that is not counted yet.
    pub xdp: XdpNote,
    /// One for each program, not 0 while the program runs on this CPU: a program that interrupts it counts itself as
    /// nested.
    pub busy: [u64; MOST_HOLDERS],
    /// Drops that the programs saw in each generation.
    pub hits: [u64; GENERATIONS as usize],
    /// `jiffies64` at the last drop, which dates the 32-bit ticks of all counts.
    pub ticks: u64,
    /// The generation of the program that runs.
    pub generation: u32,
    /// The reason of the current drop, until it is in its key.
    pub reason: u32,
    /// The namespace of the last drop that had one.
    pub net: ProvedNet,
    /// The current drop.
    pub dropped: DropFacts,
    /// The number of the current drop among those of its key on this CPU in this generation, if records are sampled;
    /// `u64::MAX` without room for the key.
    pub nth: u64,
    /// The flow of the current drop, if flows are counted.
    pub flow: FlowRow,
    /// The receiver of the packet that this CPU is about to drop.
    pub udp: UdpNote,
    /// The functions in which UDP drops a packet that it cannot queue.
    pub udp_queues: [CodeRange; UDP_QUEUES],
    /// The packet of the current drop, if a filter reads it.
    pub view: PacketView,
    /// The name of the interface of the current drop, as two words, if a filter reads it; zeros if it is unknown.
    pub interface: [u64; IFNAMSIZ / 8],
    /// [`crate::USER_KNOWN`] and the user who made the socket of the current drop (`sk_uid`), if a filter reads it; 0 if the
    /// user is unknown.
    pub user: u64,
    /// Retransmissions, and the records that were lost.
    pub segments: SegmentCounts,
}

/// Number of subsystems with counters of their own in the overflow map.
pub const OVERFLOW_SUBSYSTEMS: u32 = 8;
/// Number of reasons of each subsystem with counters of their own.
pub const OVERFLOW_REASONS: u32 = 256;
/// Slots of one generation of the overflow map; the last slot counts all reasons beyond the limits.
pub const OVERFLOW_SLOTS: u32 = OVERFLOW_SUBSYSTEMS * OVERFLOW_REASONS + 1;

/// The slot of a reason in the overflow map.
#[inline(always)]
#[must_use]
pub const fn overflow_slot(reason: u32) -> u32 {
    let (subsystem, value) = (reason >> 16, reason & 0xffff);
    if subsystem < OVERFLOW_SUBSYSTEMS && value < OVERFLOW_REASONS {
        subsystem * OVERFLOW_REASONS + value
    } else {
        OVERFLOW_SLOTS - 1
    }
}

/// The reason of a slot of the overflow map; `None` for the last slot.
#[must_use]
pub const fn overflow_reason(slot: u32) -> Option<u32> {
    if slot < OVERFLOW_SLOTS - 1 { Some((slot / OVERFLOW_REASONS) << 16 | (slot % OVERFLOW_REASONS)) } else { None }
}

/// Drops of one reason whose key found no room, on one CPU in one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct OverflowCount {
    /// As [`DropCount::packets`].
    pub packets: u64,
    /// As [`DropCount::bytes`].
    pub bytes: u64,
}

const _: () = {
    assert!(size_of::<DropKey>() == 40);
    assert!(size_of::<DropCount>() == 24);
    assert!(size_of::<Counters>() == 72);
    assert!(size_of::<Counts>() == CACHE_SLOTS * 64 + 128);
    // The kernel limits the size of a value of a per-CPU map (PCPU_MIN_UNIT_SIZE, include/linux/percpu.h).
    assert!(size_of::<Counts>() <= 32 * 1024);
    assert!(size_of::<QdiscNote>() == 24);
    assert!(size_of::<XdpNote>() == 104);
    assert!(size_of::<DropFacts>() == 104);
    assert!(size_of::<CpuState>() == 256 + SCRATCH_LEN + 104 + 96 + 40 + UDP_QUEUES * 16 + 40 + IFNAMSIZ + 40);
    assert!(size_of::<OverflowCount>() == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_slots_and_reasons_are_inverse() {
        for reason in [0, 6, 255, 1 << 16, (7 << 16) | 255] {
            assert_eq!(overflow_reason(overflow_slot(reason)), Some(reason));
        }
        for reason in [256, 8 << 16, REASON_ABSENT] {
            assert_eq!(overflow_slot(reason), OVERFLOW_SLOTS - 1);
            assert_eq!(overflow_reason(overflow_slot(reason)), None);
        }
    }
}
