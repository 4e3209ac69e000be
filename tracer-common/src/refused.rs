//! SYNs that a listening socket of TCP refuses. The kernel consumes them, so that no tracepoint of drops reports them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// [`RefusedSyn::why`]: `TcpExtListenOverflows` rose, because the accept queue of the listening socket was full.
pub const REFUSED_ACCEPT_QUEUE: u8 = 1;
/// [`RefusedSyn::why`]: `TcpExtTCPReqQFullDrop` rose, because the SYN queue was full and SYN cookies are off.
pub const REFUSED_SYN_QUEUE: u8 = 2;
/// [`RefusedSyn::why`]: neither of these counters rose. The last quarter of the SYN queue is kept for known peers where SYN
/// cookies are off; or there was no memory, no route back, or a security module said no.
pub const REFUSED_OTHER: u8 = 3;

/// The key by which refused SYNs are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct RefusedSyn {
    /// The listening socket's network namespace, as [`crate::DropKey::netns`].
    pub netns: u64,
    /// The number of the listening socket's control group; 0 if it is unknown.
    pub cgroup_id: u64,
    /// The address that sent the SYN, in network byte order; addresses of IPv4 are mapped (`::ffff:192.0.2.1`). 0 for the sum
    /// of the addresses that found no room.
    pub source: [u64; 2],
    /// The address that the socket is bound to, likewise; 0 or `::ffff:0.0.0.0` for all addresses.
    pub listener: [u64; 2],
    /// Inode number of the network namespace.
    pub netns_inum: u32,
    /// The port that the socket is bound to, in the host's byte order.
    pub port: u16,
    /// One of the `REFUSED_*` values.
    pub why: u8,
    /// Always 0.
    pub padding: u8,
}

/// The kernel's counters that tell whether, and why, a SYN was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SynCounters {
    /// `LINUX_MIB_LISTENDROPS`.
    pub refused: u64,
    /// `LINUX_MIB_LISTENOVERFLOWS`.
    pub accept_queue: u64,
    /// `LINUX_MIB_TCPREQQFULLDROP`.
    pub syn_queue: u64,
}

/// The state of each CPU between the two programs on `tcp_conn_request`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, Immutable, IntoBytes, KnownLayout))]
pub struct SynState {
    /// Address of the SYN that the kernel is answering on this CPU; 0 between SYNs.
    pub skb: u64,
    /// Address of this CPU's counters of the SYN's namespace.
    pub counters: u64,
    /// The counters before the SYN was answered.
    pub before: SynCounters,
    /// Room in which a pointer becomes a number.
    pub pointer: u64,
    /// SYNs that were refused.
    pub refused: u64,
    /// The part of `refused` for which the maps had no room.
    pub without_room: u64,
}

const _: () = {
    assert!(size_of::<RefusedSyn>() == 56);
    assert!(size_of::<SynState>() == 64);
};
