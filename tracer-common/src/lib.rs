//! The one definition of every byte that crosses between the kernel program and userspace.
//!
//! All structs are `repr(C)` with explicit padding and asserted sizes, in the byte order of the machine. The kernel
//! program writes them, userspace reads them by checked length; [`Config`] goes the other way, once, before loading.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "the kernel program calls nothing: all of it is one function to the verifier"
)]

mod hardware;

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use hardware::{HardwareState, TRAP_GROUP_LEN, TRAP_NAME_LEN, TrapKey, TrapNames};

/// Offset of a structure's field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Length of an interface's name in the kernel, with the closing zero (`IFNAMSIZ`, `include/uapi/linux/if.h`).
pub const IFNAMSIZ: usize = 16;

/// The greatest settable number of leading bytes in a record.
pub const MAX_SNAPLEN: u32 = 4096;

/// Byte offsets of kernel fields, from BTF. [`ABSENT`] where this kernel has no such field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Offsets {
    /// `sk_buff.len`: bytes of data from `data` on, paged part included.
    pub skb_len: u32,
    /// `sk_buff.data_len`: the paged part of `len`.
    pub skb_data_len: u32,
    /// `sk_buff.protocol`: `EtherType`, big-endian.
    pub skb_protocol: u32,
    /// `sk_buff.dev`, in a union with `dev_scratch`: not always a device.
    pub skb_dev: u32,
    /// `sk_buff.skb_iif`: ifindex of the interface that the packet came in by, 0 if none.
    pub skb_iif: u32,
    /// `sk_buff.sk`: the socket that owns the packet, or none.
    pub skb_sk: u32,
    /// `sk_buff.head`: start of the buffer, which `mac_header` and `network_header` count from.
    pub skb_head: u32,
    /// `sk_buff.data`: start of what is left of the packet.
    pub skb_data: u32,
    /// `sk_buff.mac_header`: 0xffff when not set.
    pub skb_mac_header: u32,
    /// `sk_buff.network_header`: 0 when not set.
    pub skb_network_header: u32,
    /// `net_device.ifindex`.
    pub dev_ifindex: u32,
    /// `net_device.name`: [`IFNAMSIZ`] bytes.
    pub dev_name: u32,
    /// `net_device.nd_net.net`: the device's network namespace.
    pub dev_net: u32,
    /// `sock.__sk_common.skc_net.net`: the socket's network namespace.
    pub sock_net: u32,
    /// `net.ns.inum`: the namespace's inode number, as `/proc/PID/ns/net` shows it.
    pub net_inum: u32,
    /// `net.dev_index_head`: the namespace's interfaces, hashed by index.
    pub net_dev_index_head: u32,
    /// `net_device.index_hlist`: an interface's link in that hash.
    pub dev_index_hlist: u32,
    /// `sk_buff._skb_refdst`: the packet's route, with flags in the lowest bits.
    pub skb_refdst: u32,
    /// `dst_entry.dev`: the route's device.
    pub dst_dev: u32,
    /// `devlink_trap_metadata.trap_name`: a pointer to text.
    pub trap_name: u32,
    /// `devlink_trap_metadata.trap_group_name`, likewise.
    pub trap_group_name: u32,
    /// `devlink_trap_metadata.input_dev`: the device that the packet came in by, or none.
    pub trap_input_dev: u32,
    /// `devlink_trap_metadata.trap_type`: `enum devlink_trap_type`.
    pub trap_type: u32,
}

/// What userspace tells the kernel program before it is loaded. The verifier sees constants and drops dead branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Config {
    /// Pointers below this are not kernel pointers (a union's other member shows through).
    pub kernel_space: u64,
    /// Where this kernel keeps its fields.
    pub offsets: Offsets,
    /// Not 0: the tracepoint has a third argument, `reason` (5.17 and later, and backports).
    pub has_reason: u32,
    /// Not 0: the tracepoint has a fourth argument, `rx_sk` (6.11 and later); it may be NULL.
    pub has_rx_sk: u32,
    /// Nanoseconds of a tick of the kernel's timer (`TICK_NSEC`).
    pub tick_ns: u32,
    /// Not 0: send records to the ring buffer.
    pub events: u32,
    /// Leading bytes of the packet in each record, at most [`MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Records a second for each place, reason and CPU; 0 = no bound.
    pub rate: u32,
    /// Bytes waiting in the ring buffer from which the reader is woken; below, it comes by itself.
    pub wakeup_bytes: u32,
    /// Count only this network namespace (inode number); 0 = all.
    pub netns: u32,
    /// Count only this interface; 0 = all.
    pub ifindex: u32,
    /// Slots of the cache in use, less one: one of the powers of two up to [`CACHE_SLOTS`].
    pub cache_mask: u32,
    /// The general reason (`SKB_DROP_REASON_QDISC_DROP`) of packets whose exact one `qdisc_drop` has told just before; 0
    /// where the kernel has no such tracepoint.
    pub qdisc_reason: u32,
    /// The type of devlink traps whose packets are not dropped (`DEVLINK_TRAP_TYPE_CONTROL`).
    pub trap_control: u32,
    /// Always 0.
    pub padding: u32,
}

/// What drops are counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct DropKey {
    /// The tracepoint's `location`: the address that the freeing call returns to.
    pub location: u64,
    /// Inode number of the network namespace; 0 when neither device nor socket told it.
    pub netns: u32,
    /// Interface index within `netns`; 0 when there is none.
    pub ifindex: u32,
    /// `enum skb_drop_reason`, subsystem in the high 16 bits; [`REASON_ABSENT`] on kernels without it.
    pub reason: u32,
    /// `EtherType` in the host's byte order; 0 when not set.
    pub protocol: u16,
    /// Always 0.
    pub padding: u16,
}

/// The reason on kernels whose tracepoint does not give one. No kernel uses this subsystem.
pub const REASON_ABSENT: u32 = u32::MAX;

/// Counts of one [`DropKey`] on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct DropCount {
    /// Calls of the tracepoint, one for each buffer (a GSO buffer holds several packets of the wire).
    pub packets: u64,
    /// Bytes from the MAC header, else from the network header, else what was left.
    pub bytes: u64,
    /// First drop, nanoseconds of `CLOCK_MONOTONIC`.
    pub first_ns: u64,
    /// First drop, ticks of the kernel's timer (`jiffies`). They advance with `CLOCK_MONOTONIC`
    /// (`tick_do_update_jiffies64`, `kernel/time/tick-sched.c`) and cost a load, where the clock costs 20 ns.
    pub first_ticks: u64,
    /// Last drop, likewise.
    pub last_ticks: u64,
}

/// Slots of the cache in front of the hash. A power of two.
pub const CACHE_SLOTS: usize = 256;

/// One slot of the cache, one cache line: owned by the first key that hashed to it.
///
/// `packets` stands first and is written last when a slot is taken, so a reader that sees it also sees the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct CacheSlot {
    /// Counts of `key` on this CPU; `packets` is 0 while the slot is free.
    pub count: DropCount,
    /// The owner.
    pub key: DropKey,
}

/// What the kernel program did on one CPU. `hits = Σ packets of all keys + overflow + filtered`, and
/// `offered = submitted + suppressed + ring_full`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Counters {
    /// Runs of the program.
    pub hits: u64,
    /// Drops outside the wanted namespace or interface.
    pub filtered: u64,
    /// Drops whose key found no room in the map; counted by reason in the overflow map.
    pub overflow: u64,
    /// Drops that the event plane looked at.
    pub offered: u64,
    /// Records in the ring buffer.
    pub submitted: u64,
    /// Records held back by the bound on records for each place and reason.
    pub suppressed: u64,
    /// Records that found the ring buffer full.
    pub ring_full: u64,
    /// Records without leading bytes, for they could not be read.
    pub unreadable: u64,
}

/// The exact reason of the drop that is under way on one CPU, from `qdisc_drop` until `kfree_skb` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct QdiscNote {
    /// Address of the packet's `struct sk_buff`; 0 when there is no note.
    pub skb: u64,
    /// `enum qdisc_drop_reason`.
    pub reason: u32,
    /// Always 0.
    pub padding: u32,
    /// Notes that another one took the place of before `kfree_skb` came for them.
    pub untaken: u64,
}

/// State of one CPU: one look-up gives the kernel program all it needs for a known key.
///
/// The counters stand behind the slots: a read copies upwards, so `hits` is never less than the slots that were read
/// with it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct CpuState {
    /// Direct-mapped by [`slot_of`].
    pub slots: [CacheSlot; CACHE_SLOTS],
    /// What this CPU did.
    pub counters: Counters,
    /// What it is about to drop.
    pub qdisc: QdiscNote,
}

/// The slot of a key, of the `mask + 1` in use.
#[inline(always)]
#[must_use]
pub const fn slot_of(key: &DropKey, mask: u32) -> usize {
    let mixed = key.location
        ^ ((key.reason as u64) << 32)
        ^ ((key.netns as u64) << 16)
        ^ ((key.ifindex as u64) << 40)
        ^ ((key.protocol as u64) << 48);
    // Fibonacci hashing: the upper bits of the product are the well-mixed ones.
    ((mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u32 & mask) as usize
}

/// Subsystems with counters of their own in the overflow map.
pub const OVERFLOW_SUBSYSTEMS: u32 = 8;
/// Reasons of each subsystem with counters of their own.
pub const OVERFLOW_REASONS: u32 = 256;
/// Slots of the overflow map; the last takes every reason beyond the bounds.
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

/// The reason of a slot of the overflow map; none for the last.
#[must_use]
pub const fn overflow_reason(slot: u32) -> Option<u32> {
    if slot < OVERFLOW_SLOTS - 1 { Some((slot / OVERFLOW_REASONS) << 16 | (slot % OVERFLOW_REASONS)) } else { None }
}

/// Drops of one reason whose key found no room, on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct OverflowCount {
    /// As [`DropCount::packets`].
    pub packets: u64,
    /// As [`DropCount::bytes`].
    pub bytes: u64,
}

/// Key of the map of interface names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct InterfaceKey {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Interface index within it.
    pub ifindex: u32,
}

/// An interface's name at its first drop, padded with zeros.
pub type InterfaceName = [u8; IFNAMSIZ];

/// Key of a token bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct BucketKey {
    /// As [`DropKey::location`].
    pub location: u64,
    /// As [`DropKey::reason`].
    pub reason: u32,
    /// Always 0.
    pub padding: u32,
}

/// A token bucket of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct Bucket {
    /// Ticks of the kernel's timer up to which tokens were added.
    pub since_ticks: u64,
    /// Records that may be sent.
    pub tokens: u64,
}

/// [`RecordHeader::start`]: no header is set, and no bytes follow.
pub const START_NONE: u8 = 0;
/// [`RecordHeader::start`]: what bytes follow are from the MAC header on.
pub const START_MAC: u8 = 1;
/// [`RecordHeader::start`]: what bytes follow are from the network header on.
pub const START_NETWORK: u8 = 2;

/// [`RecordHeader::kind`]: a drop that passed `kfree_skb`.
pub const RECORD_SKB: u8 = 0;
/// [`RecordHeader::kind`]: a hardware drop, whose [`TrapNames`] stand between the header and the bytes. Its key has no
/// place and no reason.
pub const RECORD_TRAP: u8 = 1;

/// A record of the ring buffer: this header, then `snaplen` bytes of which the first `captured` mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct RecordHeader {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub timestamp_ns: u64,
    /// What it is counted by.
    pub key: DropKey,
    /// As in [`DropCount::bytes`].
    pub length: u32,
    /// Leading bytes that follow.
    pub captured: u16,
    /// One of the `START_*` values.
    pub start: u8,
    /// One of the `RECORD_*` values.
    pub kind: u8,
    /// The interface's name at the drop; zeros when there is none.
    pub interface: InterfaceName,
}

const _: () = {
    assert!(size_of::<Offsets>() == 92);
    assert!(size_of::<Config>() == 152);
    assert!(size_of::<DropKey>() == 24);
    assert!(size_of::<DropCount>() == 40);
    assert!(size_of::<CacheSlot>() == 64);
    assert!(size_of::<Counters>() == 64);
    assert!(size_of::<QdiscNote>() == 24);
    assert!(size_of::<CpuState>() == CACHE_SLOTS * 64 + 64 + 24);
    // The kernel bounds one value of a per-CPU map (PCPU_MIN_UNIT_SIZE, include/linux/percpu.h).
    assert!(size_of::<CpuState>() <= 32 * 1024);
    assert!(size_of::<OverflowCount>() == 16);
    assert!(size_of::<InterfaceKey>() == 8);
    assert!(size_of::<BucketKey>() == 16);
    assert!(size_of::<Bucket>() == 16);
    assert!(size_of::<RecordHeader>() == 56);
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

    #[test]
    fn every_key_has_a_slot() {
        let key =
            DropKey { location: u64::MAX, netns: u32::MAX, ifindex: 1, reason: u32::MAX, protocol: 0x86dd, padding: 0 };
        assert!(slot_of(&key, 255) < CACHE_SLOTS);
        assert!(slot_of(&key, 15) < 16);
        assert_ne!(slot_of(&DropKey { ifindex: 2, ..key }, 255), slot_of(&key, 255));
    }
}
