//! Plain data of a drop: its time, its drop site, its reason, and the backends that reported it.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tracer_common::REASON_ABSENT;

use crate::domain::facts::{Facts, Role};
use crate::domain::flow::Flow;
use crate::domain::owner::{Owner, Process};

/// A point in real time: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(timestamp.0)
    }
}

/// A backend that reports drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The eBPF program on `kfree_skb`.
    Ebpf,
    /// The kernel's drop monitor, over generic netlink.
    NetDm,
}

impl Origin {
    /// Both backends, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Ebpf, Self::NetDm];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::NetDm => "net_dm",
        }
    }

    /// A list of this backend alone, as in [`DropEvent::seen_by`].
    pub const fn alone(self) -> &'static [Self] {
        match self {
            Self::Ebpf => &[Self::Ebpf],
            Self::NetDm => &[Self::NetDm],
        }
    }

    /// The backends of both lists.
    pub fn united(one: &[Self], other: &[Self]) -> &'static [Self] {
        let has = |origin| one.contains(&origin) || other.contains(&origin);
        match (has(Self::Ebpf), has(Self::NetDm)) {
            (true, true) => &Self::ALL,
            (true, false) => Self::Ebpf.alone(),
            (false, true) => Self::NetDm.alone(),
            (false, false) => &[],
        }
    }
}

/// Subsystem of the reasons that are names of devlink traps.
pub const HARDWARE: &str = "hardware";

/// Subsystem of the reasons of XDP programs and redirects.
pub const XDP: &str = "xdp";

/// The drop reason: `enum skb_drop_reason` (`include/net/dropreason-core.h`), resolved to names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The kernel's number, with the subsystem in the high 16 bits; `None` if a backend reported only a name that this
    /// kernel's types do not have.
    pub value: Option<u32>,
    /// `core`, `mac80211_unusable`, `openvswitch`, …, or the number of a subsystem without a name. [`HARDWARE`] and
    /// [`XDP`] are the subsystems of hardware drops and of XDP, whose reasons are not the kernel's.
    pub subsystem: Arc<str>,
    /// The name without the prefix `SKB_DROP_REASON_`, such as `SOCKET_RCVBUFF`; the number if no name is known.
    pub name: Arc<str>,
}

/// The drop site: in the kernel's code, or in a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The tracepoint's `location`: the address to which the freeing call returns; 0 if the drop was not in the
    /// kernel's code.
    pub address: u64,
    /// `None` if the kernel hides its addresses, or no symbol fits.
    pub symbol: Option<Symbol>,
    /// The group that the devlink trap of a hardware drop belongs to, if it is reported: the part of the device's
    /// pipeline.
    pub trap_group: Option<Arc<str>>,
}

/// The function that frees packets. It drops none: where the compiler split it, as in Debian's 5.10 for arm64, the kernel reports
/// it as the drop site of all drops.
pub const KFREE_SKB: &str = "kfree_skb";

impl Location {
    /// The function that dropped the packet, if it is known.
    pub fn function(&self) -> Option<&str> {
        self.symbol.as_ref().map(|symbol| &*symbol.name).filter(|name| *name != KFREE_SKB)
    }
}

/// A symbol of the kernel and the distance from its start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// The function's name.
    pub name: Arc<str>,
    /// Bytes from the function's start.
    pub offset: u64,
    /// The module; `None` for the kernel's own image.
    pub module: Option<Arc<str>>,
}

/// The kind of the freed buffer: the tracepoint also shows buffers that are not packets of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A packet of a network.
    #[default]
    Packet,
    /// A packet that a device dropped and its driver reported through a devlink trap.
    Hardware,
    /// A frame that an XDP program or a redirect dropped before it became a packet of the network stack.
    Xdp,
    /// A message between Unix sockets of this host.
    Unix,
    /// A netlink message of this host.
    Netlink,
    /// A copy that the kernel made of a packet that went on, such as a copy for a sniffer.
    Copy,
    /// An empty buffer without headers, such as the one with which the kernel tests a device that comes up.
    Empty,
}

impl Kind {
    /// The name in JSON and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Hardware => "hardware",
            Self::Xdp => "xdp",
            Self::Unix => "unix",
            Self::Netlink => "netlink",
            Self::Copy => "copy",
            Self::Empty => "empty",
        }
    }

    /// Returns the kind with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        const ALL: [Kind; 7] =
            [Kind::Packet, Kind::Hardware, Kind::Xdp, Kind::Unix, Kind::Netlink, Kind::Copy, Kind::Empty];
        ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns whether the length is known: the tracepoints of XDP do not report the length of the frame.
    pub const fn has_length(self) -> bool {
        !matches!(self, Self::Xdp)
    }

    /// Returns whether a packet of a network was lost.
    pub const fn is_packet(self) -> bool {
        matches!(self, Self::Packet | Self::Hardware | Self::Xdp)
    }
}

/// The network namespace in which a single container, or pod, lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Residence {
    /// The namespace of the drop.
    #[serde(rename = "namespace")]
    Here,
    /// The namespace at the other end of the drop's interface, which is a virtual link (veth).
    #[serde(rename = "peer_namespace")]
    Peer,
}

impl Residence {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Here => "resident",
            Self::Peer => "peer",
        }
    }

    /// The basis of the owner in JSON.
    pub const fn basis(self) -> &'static str {
        match self {
            Self::Here => "namespace",
            Self::Peer => "peer_namespace",
        }
    }
}

/// An aggregation key of drops, with names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamedKey {
    /// The kind of the freed buffer.
    pub kind: Kind,
    /// The drop reason.
    pub reason: Arc<Reason>,
    /// The drop site.
    pub location: Arc<Location>,
    /// The `EtherType`; 0 if it is not set.
    pub protocol: u16,
    /// The interface's name at its first drop; `None` if the packet had no device.
    pub interface: Option<Arc<str>>,
    /// The interface's index; 0 if the packet had no device.
    pub ifindex: u32,
    /// Inode number of the network namespace; 0 if it is unknown. The kernel reuses the number as soon as a namespace is
    /// gone.
    pub netns: u32,
    /// Cookie of the network namespace (`net->net_cookie`), which the kernel does not reuse within a boot; 0 if it is
    /// unknown, and on kernels without cookies (before 5.12).
    pub netns_cookie: u64,
    /// Name of the namespace under `/run/netns`, if it has one.
    pub netns_name: Option<Arc<str>>,
    /// Which socket `cgroup_id` and `owner` belong to; absent where the packet has none, and where owners are not asked for.
    pub socket: Option<Role>,
    /// The control group of the process that made the socket (`kernfs_node.id`); 0 where it is unknown.
    pub cgroup_id: u64,
    /// The names of that control group, and of what runs in it.
    pub owner: Arc<Owner>,
    /// The flow; absent where flows are not asked for.
    pub flow: Option<Arc<Flow>>,
    /// Where `owner` lives if it is instead the only container, or pod, in a network namespace. There is no socket then.
    pub residence: Option<Residence>,
}

/// A key of which nothing is known.
impl Default for NamedKey {
    fn default() -> Self {
        static UNKNOWN: LazyLock<(Arc<Reason>, Arc<Location>)> = LazyLock::new(|| {
            let reason = Reason { value: Some(REASON_ABSENT), subsystem: "".into(), name: "".into() };
            (reason.into(), Location { address: 0, symbol: None, trap_group: None }.into())
        });
        let (reason, location) = UNKNOWN.clone();
        Self {
            kind: Kind::Packet,
            reason,
            location,
            protocol: 0,
            interface: None,
            ifindex: 0,
            netns: 0,
            netns_cookie: 0,
            netns_name: None,
            socket: None,
            cgroup_id: 0,
            owner: Arc::default(),
            flow: None,
            residence: None,
        }
    }
}

impl NamedKey {
    /// Returns whether the dropped buffers are messages to netlink sockets, and not packets of a network.
    pub fn is_netlink_message(&self) -> bool {
        self.kind == Kind::Netlink
    }

    /// Returns [`NamedKey::kind`]. If only the function shows that a netlink message, or the copy of a packet for a packet
    /// socket, was to be delivered, the kind follows from the function.
    pub fn kind_of(kind: Kind, ifindex: u32, location: &Location) -> Kind {
        match &location.symbol {
            Some(symbol) if kind == Kind::Packet && ifindex == 0 && is_netlink_delivery(&symbol.name) => Kind::Netlink,
            Some(symbol) if kind == Kind::Packet && is_packet_socket(&symbol.name) => Kind::Copy,
            _ => kind,
        }
    }
}

/// Returns whether this is a function of the kernel that frees netlink messages which their receiver did not take.
///
/// `netlink_attachskb` frees a unicast message when the receiver is full, and `netlink_broadcast_filtered` a multicast
/// one; compilers put either into its caller, and `do_one_broadcast` out of line (`net/netlink/af_netlink.c`). The
/// location does not show which receiver it was.
fn is_netlink_delivery(symbol: &str) -> bool {
    // Compilers mark the parts and variants of a function: `do_one_broadcast.isra.0`.
    let function = symbol.split('.').next().unwrap_or(symbol);
    matches!(
        function,
        "netlink_attachskb"
            | "netlink_unicast"
            | "do_one_broadcast"
            | "netlink_broadcast_deliver"
            | "netlink_broadcast_filtered"
            | "netlink_broadcast"
    )
}

/// Returns whether this is a function of the kernel through which a packet socket receives a packet
/// (`net/packet/af_packet.c`). Only pointers lead to these functions, so that no compiler puts them elsewhere.
/// Protocols then have their packet as a clone, or returned it.
fn is_packet_socket(symbol: &str) -> bool {
    let function = symbol.split('.').next().unwrap_or(symbol);
    matches!(function, "packet_rcv" | "tpacket_rcv" | "packet_rcv_spkt")
}

/// The reason's name; `None` on kernels whose tracepoint does not give a reason.
pub fn reason_name(reason: &Reason) -> Option<&str> {
    (reason.value != Some(REASON_ABSENT)).then_some(&*reason.name)
}

/// The header at which the leading bytes of a packet start, or would start if there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketStart {
    /// No header of the packet is set.
    Nothing,
    /// The MAC header.
    Mac,
    /// The network header, whose protocol is [`NamedKey::protocol`].
    Network,
}

/// One drop.
#[derive(Clone, Copy, Debug)]
pub struct DropEvent<'a> {
    /// The time of the drop.
    pub timestamp: Timestamp,
    /// The aggregation key of the drop.
    pub key: &'a Arc<NamedKey>,
    /// The backends that reported the drop.
    pub seen_by: &'a [Origin],
    /// Length of the packet from the MAC header if that is set; 0 if the kind of the drop has no length
    /// ([`Kind::has_length`]).
    pub length: u32,
    /// The header at which `bytes` start.
    pub start: PacketStart,
    /// Leading bytes of the packet.
    pub bytes: &'a [u8],
    /// Further facts about the packet.
    pub facts: Facts,
    /// A process that had the packet's socket open when it was looked up, shortly after the drop; absent where none is known
    /// for certain.
    pub process: Option<&'a Arc<Process>>,
    /// The call stack: the drop site, the call site of its function, and so on; empty where it is not known or
    /// was not asked for.
    pub stack: &'a [Arc<Location>],
}

impl DropEvent<'_> {
    /// Returns whether the frame was sent to the device's own link address; `None` if either address is unknown.
    pub fn is_to_device(&self) -> Option<bool> {
        let destination = self.bytes.first_chunk::<6>().filter(|_| self.start == PacketStart::Mac)?;
        Some(self.facts.device_mac?.0 == *destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_functions_are_recognised() {
        for symbol in ["netlink_attachskb", "netlink_broadcast_filtered", "do_one_broadcast.isra.0"] {
            assert!(is_netlink_delivery(symbol), "{symbol}");
        }
        for symbol in ["udp_queue_rcv_one_skb", "netlink_dump", "netlink_unicast_kernel", ""] {
            assert!(!is_netlink_delivery(symbol), "{symbol}");
        }
        for (symbol, is) in [("packet_rcv", true), ("tpacket_rcv.cold", true), ("packet_rcv_fanout", false)] {
            assert_eq!(is_packet_socket(symbol), is, "{symbol}");
        }
    }
}
