//! SYNs that listening sockets of TCP refused. The kernel consumes them, so that they are not among the drops.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::domain::owner::{Owner, Process};

/// Why a SYN was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The accept queue was full: the process does not accept connections fast enough, or the backlog of `listen` is short.
    /// `TcpExtListenOverflows` rose.
    AcceptQueue,
    /// The SYN queue was full, and SYN cookies are off. `TcpExtTCPReqQFullDrop` rose.
    SynQueue,
    /// Neither of the two counters rose: with SYN cookies off, the SYN queue had room for known peers only; or the kernel had no
    /// memory or no route back, or a security module refused the SYN.
    Other,
}

impl Refusal {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcceptQueue => "accept-queue",
            Self::SynQueue => "syn-queue",
            Self::Other => "other",
        }
    }

    /// The cause, as a clause.
    pub const fn clause(self) -> &'static str {
        match self {
            Self::AcceptQueue => "the accept queue was full",
            Self::SynQueue => "the SYN queue was full and SYN cookies are off",
            Self::Other => {
                "the SYN queue was almost full and SYN cookies are off, or there was no memory or no route back, or a security \
                 module refused them"
            }
        }
    }
}

/// The SYNs that one socket refused for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSyns {
    /// Inode number of the socket's network namespace.
    pub netns: u32,
    /// The name of the namespace, if it has one.
    pub netns_name: Option<Arc<str>>,
    /// The address that the socket is bound to.
    pub listener: SocketAddr,
    /// The number of the socket's control group; 0 if it is the root group, or unknown.
    pub cgroup_id: u64,
    /// The names of the control group and of what runs in it, where owners are looked up.
    pub owner: Owner,
    /// A process that has the socket open, as far as it is known.
    pub process: Option<Process>,
    /// The cause.
    pub refusal: Refusal,
    /// The number of SYNs, at least 1.
    pub packets: u64,
    /// The addresses that sent them and their numbers, the greatest number first.
    pub sources: Vec<(IpAddr, u64)>,
}

impl RefusedSyns {
    /// The SYNs of addresses for which the kernel's table had no room.
    pub fn of_other_sources(&self) -> u64 {
        self.packets.saturating_sub(self.sources.iter().map(|(_, packets)| packets).sum())
    }
}

/// The refused SYNs since the start: `refused = sum of the rows + filtered + without_room` once the numbers are final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedReport {
    /// By socket and cause, the greatest number first.
    pub rows: Vec<RefusedSyns>,
    /// All refused SYNs.
    pub refused: u64,
    /// Those of other network namespaces than the wanted one.
    pub filtered: u64,
    /// Those of which only the number is known, because the kernel's tables had no room.
    pub without_room: u64,
}

impl RefusedReport {
    /// The sum of the rows.
    pub fn packets(&self) -> u64 {
        self.rows.iter().map(|row| row.packets).sum()
    }

    /// The SYNs that are missing in the sum; in final numbers anything but 0 is a fault of droptrace.
    pub const fn missing(&self, packets: u64) -> i64 {
        self.refused.cast_signed() - (packets + self.filtered + self.without_room).cast_signed()
    }
}
