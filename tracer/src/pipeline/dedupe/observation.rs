//! One drop as one source reported it, and one drop as both sources reported it.

use super::fingerprint::{Fingerprint, Unpairable};
use crate::domain::dedupe::AloneCause;
use crate::domain::event::{Origin, Timestamp};

/// One drop as one source reported it, in the terms that both sources share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation<T> {
    /// The source that reported the drop.
    pub origin: Origin,
    /// Facts about the drop.
    pub drop: SharedFacts,
    /// The fingerprint of the packet's first bytes, or the reason why the drop cannot be joined with another
    /// observation.
    pub print: Result<Fingerprint, Unpairable>,
    /// The caller's handle, such as the slot of the packet's bytes. The deduper returns it unchanged.
    pub detail: T,
}

/// Facts about a drop that both sources can report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedFacts {
    /// Time of the drop, in real time, by the clock of the source.
    pub timestamp: Timestamp,
    /// The tracepoint's `location`, or `NET_DM`'s `PC`: both sources report the same address.
    pub pc: u64,
    /// The caller's number of the drop reason *as `NET_DM` can report it*, whichever source reported the drop.
    pub reason: u32,
    /// Bytes of the packet, counted from the MAC header.
    pub length: u32,
    /// Inode number of the network namespace; 0 when unknown. Not compared, because `NET_DM` does not report it.
    pub netns: u32,
    /// Interface index; 0 when unknown. Not compared, because `NET_DM` reports the interface where the packet came in,
    /// and eBPF the packet's device.
    pub ifindex: u32,
}

/// A drop, counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueDrop<T> {
    /// Facts from the kernel program if it saw the drop, because it reports more; facts that it lacks come from
    /// `NET_DM`.
    pub drop: SharedFacts,
    /// The sources that saw the drop.
    pub seen_by: SeenBy<T>,
}

/// The sources that saw a drop, with the caller's handle of each observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenBy<T> {
    /// Both sources saw the drop.
    Both {
        /// Handle of the kernel program's observation.
        ebpf: T,
        /// Handle of `NET_DM`'s observation.
        net_dm: T,
    },
    /// One source saw the drop.
    Alone {
        /// The source.
        origin: Origin,
        /// Handle of its observation.
        detail: T,
        /// Reason why it was not joined with another observation.
        cause: AloneCause,
    },
}

impl<T> SeenBy<T> {
    /// The sources, in a fixed order.
    pub(crate) const fn origins(&self) -> &'static [Origin] {
        match self {
            Self::Both { .. } => &[Origin::Ebpf, Origin::NetDm],
            Self::Alone { origin: Origin::Ebpf, .. } => &[Origin::Ebpf],
            Self::Alone { origin: Origin::NetDm, .. } => &[Origin::NetDm],
        }
    }
}

impl From<Unpairable> for AloneCause {
    fn from(why: Unpairable) -> Self {
        match why {
            Unpairable::NoMacHeader => Self::NoMacHeader,
            Unpairable::TooFewBytes => Self::TooFewBytes,
        }
    }
}
