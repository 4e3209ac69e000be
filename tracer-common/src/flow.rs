//! Flows: drops by addresses, ports, mark and socket, counted in bounded memory.
//!
//! A flow has one set of [`FLOW_WAYS`] slots. A flow that finds its set full takes the slot with the fewest drops and
//! inherits their number as [`FlowSlot::displaced`] (the space-saving algorithm of Metwally, Agrawal and El Abbadi). So the
//! sum over all slots is the exact number of drops, and each flow has at least `packets - displaced` of them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::DropKey;

/// [`crate::Config::flows`]: keep the source address.
pub const FLOW_SOURCE: u32 = 1;
/// [`crate::Config::flows`]: keep the destination address.
pub const FLOW_DESTINATION: u32 = 1 << 1;
/// [`crate::Config::flows`]: keep the source port.
pub const FLOW_SOURCE_PORT: u32 = 1 << 2;
/// [`crate::Config::flows`]: keep the destination port.
pub const FLOW_DESTINATION_PORT: u32 = 1 << 3;
/// [`crate::Config::flows`]: keep the protocol above IP.
pub const FLOW_TRANSPORT: u32 = 1 << 4;
/// [`crate::Config::flows`]: keep the mark.
pub const FLOW_MARK: u32 = 1 << 5;
/// [`crate::Config::flows`]: keep the inode number of the socket, by which userspace finds the process.
pub const FLOW_PROCESS: u32 = 1 << 6;
/// [`crate::Config::flows`]: keep the user who made the socket.
pub const FLOW_USER: u32 = 1 << 7;

/// [`FlowFacts::known`]: the addresses and the protocol above IP.
pub const KNOWN_ADDRESSES: u8 = 1;
/// [`FlowFacts::known`]: the ports.
pub const KNOWN_PORTS: u8 = 1 << 1;
/// [`FlowFacts::known`]: the mark.
pub const KNOWN_MARK: u8 = 1 << 2;
/// [`FlowFacts::known`]: [`FlowRow::uid`].
pub const KNOWN_USER: u8 = 1 << 3;

/// The facts of a flow that are asked for; all others are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowFacts {
    /// Source address in network byte order; IPv4 addresses have 12 zeros behind them.
    pub source: [u64; 2],
    /// Destination address, likewise.
    pub destination: [u64; 2],
    /// `skb->mark`.
    pub mark: u32,
    /// Source port in network byte order.
    pub source_port: u16,
    /// Destination port in network byte order.
    pub destination_port: u16,
    /// 4 or 6; 0 without known addresses.
    pub version: u8,
    /// The protocol above IP: `IPPROTO_*`. For IPv6, the first header behind the fixed one.
    pub transport: u8,
    /// Bits of the facts that are known: the `KNOWN_*` values.
    pub known: u8,
    /// Always 0. No array, which the kernel program would copy byte by byte.
    pub padding: u8,
    /// Inode number of the packet's socket, as `/proc/PID/fd` shows it; 0 if it is unknown. It has 32 bits on all kernels
    /// (`sock_alloc`, `net/socket.c`; `get_next_ino`, `fs/inode.c`), and is never 0.
    pub inode: u32,
}

/// A row of flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowRow {
    /// The low half of [`flow_hash`] of the row with a zero here.
    pub hash: u32,
    /// `sk_uid` of the packet's socket: the user who made it; 0 unless [`KNOWN_USER`] is set. Here it fills the word.
    pub uid: u32,
    /// The aggregation key of the drops.
    pub drop: DropKey,
    /// The flow.
    pub facts: FlowFacts,
}

/// The words of a [`FlowRow`].
pub type FlowWords = [u64; size_of::<FlowRow>() / size_of::<u64>()];

/// A flow that has been counted, without its drops, which are in [`FlowSet::packets`]. Two cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowSlot {
    /// The row that has the slot.
    pub row: FlowRow,
    /// Drops that the slot had counted for other flows when its flow took it.
    pub displaced: u64,
    /// Bytes of the flow's own drops.
    pub bytes: u64,
    /// First drop since the flow has the slot, the low 32 bits of `jiffies64`.
    pub first_ticks: u32,
    /// Last drop, likewise.
    pub last_ticks: u32,
    /// Always 0.
    pub padding: u64,
}

/// Slots of a set.
pub const FLOW_WAYS: usize = 4;
/// Sets of a table. A power of two.
pub const FLOW_SETS: usize = 32;
/// Tables of a generation while flows are counted. A power of two.
pub const FLOW_TABLES: u32 = 32;

/// The slots where a flow may be, filled one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowSet {
    /// Drops of each slot, together with [`FlowSlot::displaced`]; 0 while the slot is free. With the hashes, these are
    /// in one cache line, so that a look-up reads no slot but the one that it finds.
    pub packets: [u64; FLOW_WAYS],
    /// [`FlowRow::hash`] of each slot.
    pub hashes: [u32; FLOW_WAYS],
    /// Always 0.
    pub padding: [u64; 2],
    /// The flows.
    pub slots: [FlowSlot; FLOW_WAYS],
}

/// Slots of one CPU in one generation.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct FlowTable {
    /// Its sets.
    pub sets: [FlowSet; FLOW_SETS],
}

/// The hash of a row, whose own [`FlowRow::hash`] is 0. Each word is multiplied by a number of its own, so that a
/// processor multiplies several at a time.
#[inline(always)]
#[must_use]
pub const fn flow_hash(row: &FlowWords) -> u64 {
    let (mut hash, mut factor, mut at) = (0_u64, 0x9e37_79b9_7f4a_7c15_u64, 0);
    while at < row.len() {
        hash = hash.wrapping_add(row[at].wrapping_mul(factor));
        // The step of a linear congruential generator; the even increment keeps the factors odd.
        factor = factor.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_408);
        at += 1;
    }
    // Only the upper bits of the sum depend on all bits of the words.
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 32)
}

/// The table of a hash, and the set there.
#[inline(always)]
#[must_use]
pub const fn flow_set(hash: u64) -> (u32, usize) {
    ((hash >> 59) as u32 & (FLOW_TABLES - 1), (hash >> 54) as usize % FLOW_SETS)
}

const _: () = {
    assert!(size_of::<FlowFacts>() == 48);
    assert!(size_of::<FlowRow>() == 96);
    assert!(size_of::<FlowSlot>() == 128);
    assert!(size_of::<FlowSet>() == 64 + FLOW_WAYS * 128);
    // The kernel limits the size of a value of a per-CPU map (PCPU_MIN_UNIT_SIZE, include/linux/percpu.h).
    assert!(size_of::<FlowTable>() <= 32 * 1024);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these flows find their set full.
    fn without_room(flows: impl Iterator<Item = FlowFacts>) -> usize {
        let mut used = [[0; FLOW_SETS]; FLOW_TABLES as usize];
        flows
            .filter(|facts| {
                let row = FlowRow { facts: *facts, ..FlowRow::default() };
                let (table, set) = flow_set(flow_hash(&zerocopy::transmute!(row)));
                used[table as usize][set] += 1;
                used[table as usize][set] > FLOW_WAYS
            })
            .count()
    }

    /// Half as many flows as slots. At random, `Σ max(0, k − 4)` for Poisson's k with mean 2, times 1,024, is 89.
    #[test]
    fn flows_spread_over_the_sets() {
        let flows = || 0..2_048_u16;
        let address = |host: u16| FlowFacts { source: [u64::from(host).swap_bytes() >> 32, 0], ..FlowFacts::default() };
        assert!(without_room(flows().map(address)) <= 120);
        let port = |port: u16| FlowFacts { source_port: port.to_be(), ..FlowFacts::default() };
        assert!(without_room(flows().map(port)) <= 120);
        let ipv6 =
            |host: u16| FlowFacts { destination: [0xfe80, u64::from(host).swap_bytes()], ..FlowFacts::default() };
        assert!(without_room(flows().map(ipv6)) <= 120);
        let inode = |inode: u16| FlowFacts { inode: inode.into(), ..FlowFacts::default() };
        assert!(without_room(flows().map(inode)) <= 120);
        let both = |at: u16| FlowFacts { source_port: (at & 63).to_be(), ..address(at >> 6) };
        assert!(without_room(flows().map(both)) <= 120);
    }
}
