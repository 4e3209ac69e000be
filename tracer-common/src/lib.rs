//! The single definition of every byte that is exchanged between the kernel program and userspace.
//!
//! All structs are `repr(C)` with explicit padding and asserted sizes, in the byte order of the machine. The kernel
//! program writes them, and userspace reads them after a check of the length; [`Config`] is passed in the other
//! direction, once, before loading.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "the kernel program calls functions only on rare paths: the common path is one function"
)]

mod account;
mod config;
mod event;
mod filter;
mod flow;
mod identity;
mod refused;
mod segment;
mod slots;

pub use account::{
    CodeRange, Counters, Counts, CpuState, DropCount, DropFacts, DropKey, GENERATIONS, KIND_COPY, KIND_EMPTY,
    KIND_NETLINK, KIND_PACKET, KIND_TRAP, KIND_UNIX, KIND_XDP, MOST_HOLDERS, MOST_NOTED_NS, NOTED_COUNTED,
    NOTED_FILTERED, NOTED_UNDECIDED, OVERFLOW_REASONS, OVERFLOW_SLOTS, OVERFLOW_SUBSYSTEMS, OverflowCount, ProvedNet,
    QdiscNote, REASON_ABSENT, SCRATCH_LEN, UDP_QUEUES, UdpNote, XDP_REDIRECT_FAILED, XdpNote, overflow_reason,
    overflow_slot,
};
pub use config::{
    ABSENT, BYTES_CAST, BYTES_NONE, BYTES_PROBE, CALL_RDONLY_CAST, CONSTANT, Config, FIELD, Offsets, READ_CAST,
    READ_PLAIN, TypeIds, UDP_RECEIVERS_LATER, UDP_RECEIVERS_NOTED, UDP_RECEIVERS_UNKNOWN,
};
pub use event::{
    FlowBucket, FlowKey, MAX_SNAPLEN, RecordHeader, SAMPLED_FIRST, SECTION_DEVICE, SECTION_GSO, SECTION_SOCKET,
    SECTION_STACK, SECTION_VLAN, SITE_FACTOR, SOCKET_OWNER, SOCKET_RECEIVER, STACK_BYTES, START_MAC, START_NETWORK,
    START_NONE, SiteBucket, SiteKey, SocketFacts,
};
pub use filter::{
    CGROUPS_COUNTED, CGROUPS_FILTERED, FILTER_INTERFACE, FILTER_ON, FILTER_PACKET, FILTER_USER, PACKET_FILTER,
    PacketView, USER_KNOWN, VLAN_PRESENT,
};
pub use flow::{
    FLOW_DESTINATION, FLOW_DESTINATION_PORT, FLOW_MARK, FLOW_PROCESS, FLOW_SETS, FLOW_SOURCE, FLOW_SOURCE_PORT,
    FLOW_TABLES, FLOW_TRANSPORT, FLOW_USER, FLOW_WAYS, FlowFacts, FlowRow, FlowSet, FlowSlot, FlowTable, FlowWords,
    KNOWN_ADDRESSES, KNOWN_MARK, KNOWN_PORTS, KNOWN_USER, flow_hash, flow_set,
};
pub use identity::{IFNAMSIZ, InterfaceName, KeyNames, NamespaceAnswer, TRAP_GROUP_LEN, TRAP_NAME_LEN, TrapNames};
pub use refused::{REFUSED_ACCEPT_QUEUE, REFUSED_OTHER, REFUSED_SYN_QUEUE, RefusedSyn, SynCounters, SynState};
pub use segment::{
    DroppedSegment, Retransmission, SEGMENT_DROPPED, SEGMENT_HEADERS, SEGMENT_RETRANSMITTED, SegmentCounts,
};
pub use slots::{CACHE_SLOTS, CacheSlot, KeyWords, MOST_TABLES, Table, WAYS, slot_of, table_of};
