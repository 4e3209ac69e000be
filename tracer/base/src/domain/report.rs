//! What sinks are given to show.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::compare::Comparison;
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::{Location, Place, Reason, Timestamp};
use crate::domain::ledger::Ledger;
use crate::domain::total::DropTotal;

/// The host that the drops happened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Node name (`uname -n`).
    pub name: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
}

/// One source and its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// How it listens: `tp_btf` or `raw_tracepoint`; `packet` or `summary`; `procfs`.
    pub mode: &'static str,
    /// Which source it is, and its account.
    pub ledger: Ledger,
    /// Where records of single drops were held back, most first.
    pub held_back: Vec<HeldBack>,
}

/// Records that the bounds held back at one site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Why the packets were dropped.
    pub reason: Arc<Reason>,
    /// Where.
    pub location: Arc<Location>,
    /// Records.
    pub records: u64,
}

/// Drops of one reason whose place found no room in the kernel's map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverflowTotal {
    /// Why; none for reasons beyond what the overflow map tells apart.
    pub reason: Option<Arc<Reason>>,
    /// Drops.
    pub packets: u64,
    /// Bytes of them; none where the source does not tell.
    pub bytes: Option<u64>,
}

/// Two sources side by side.
#[derive(Clone, Debug)]
pub struct CompareReport {
    /// Where.
    pub host: Host,
    /// When both listened from.
    pub started_at: Timestamp,
    /// How long.
    pub duration: Duration,
    /// Both, with their accounts.
    pub sources: Vec<SourceReport>,
    /// The account of joining single drops; none in summary mode.
    pub union: Option<DedupeLedger>,
    /// What they differ by, and why.
    pub comparison: Comparison<Arc<Place>>,
}

/// Totals since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatReport {
    /// Where.
    pub host: Host,
    /// When counting started.
    pub started_at: Timestamp,
    /// How long it has been counting.
    pub duration: Duration,
    /// The last report of a run.
    pub is_final: bool,
    /// Who counted.
    pub sources: Vec<SourceReport>,
    /// By place, in any order: sinks show them in the one that was asked for.
    pub drops: Vec<DropTotal>,
    /// What only the reason is known of.
    pub overflow: Vec<OverflowTotal>,
    /// Netlink messages for this program itself that the kernel dropped, for its sockets were full. They are among
    /// the drops at places that deliver netlink; none when it cannot be told.
    pub own_netlink_drops: Option<u64>,
}
