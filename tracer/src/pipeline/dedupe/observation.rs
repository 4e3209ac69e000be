//! One drop as one source heard it, and one drop as both did.

use super::fingerprint::{Fingerprint, Unpairable};
use crate::domain::dedupe::AloneCause;
use crate::domain::event::{Origin, Timestamp};

/// One drop as one source heard it, in the terms that both sources share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation<T> {
    /// Who heard it.
    pub origin: Origin,
    /// Where, why and what.
    pub drop: Facts,
    /// The packet's first bytes, or why it cannot be joined with another observation.
    pub print: Result<Fingerprint, Unpairable>,
    /// What the caller knows it by, such as the slot of its bytes. Handed back as it came.
    pub detail: T,
}

/// What an observation tells of its drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When, in real time, by the clock of the source.
    pub timestamp: Timestamp,
    /// The tracepoint's `location`, `NET_DM`'s `PC`: the same address in both.
    pub pc: u64,
    /// Why: a number that the caller has for each reason *as `NET_DM` can tell it*, whichever source it came from.
    pub reason: u32,
    /// Bytes from the MAC header.
    pub length: u32,
    /// Inode number of the network namespace; 0 when unknown. Not compared: `NET_DM` does not tell it.
    pub netns: u32,
    /// Interface index; 0 when unknown. Not compared: `NET_DM` tells where a packet came in, eBPF the packet's device.
    pub ifindex: u32,
}

/// A drop, told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueDrop<T> {
    /// As the kernel program heard it if it did, for it tells more; what it lacks, and else all, as `NET_DM` did.
    pub drop: Facts,
    /// Who heard it.
    pub heard: Heard<T>,
}

/// Who heard a drop, with what the caller knows each observation by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// Both sources.
    Both {
        /// The kernel program's.
        ebpf: T,
        /// `NET_DM`'s.
        net_dm: T,
    },
    /// One of them.
    Alone {
        /// Which.
        origin: Origin,
        /// Its own.
        detail: T,
        /// Why it was not joined with another.
        cause: AloneCause,
    },
}

impl<T> Heard<T> {
    /// The sources' names, in a fixed order.
    pub const fn by(&self) -> &'static [Origin] {
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
