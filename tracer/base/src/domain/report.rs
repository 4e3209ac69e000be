//! The data that sinks show.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::attribution::AttributionLedger;
use crate::domain::compare::Comparison;
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::{Location, NamedKey, Reason, Timestamp};
use crate::domain::flow_ledger::FlowLedger;
use crate::domain::ledger::Ledger;
use crate::domain::past::Past;
use crate::domain::reconciliation::Reconciliation;
use crate::domain::refused::RefusedReport;
use crate::domain::retransmit::RetransmitReport;
use crate::domain::stack::SampledStacks;
use crate::domain::total::{DropTotal, OverflowTotal};

/// The host that the drops happened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Node name (`uname -n`).
    pub name: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
}

/// One backend and its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// The backend's mode: `tp_btf` or `raw_tracepoint`; `packet` or `summary`; `procfs`.
    pub mode: &'static str,
    /// The ledger, which also names the backend.
    pub ledger: Ledger,
    /// The drop sites at which the sampler held back records, those with the most first.
    pub held_back: Vec<HeldBack>,
}

/// The records that the sampler held back at one drop site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The drop reason.
    pub reason: Arc<Reason>,
    /// The drop site.
    pub location: Arc<Location>,
    /// Number of records.
    pub records: u64,
}

/// Two backends side by side.
#[derive(Clone, Debug)]
pub struct CompareReport {
    /// The host.
    pub host: Host,
    /// The time at which both backends ran.
    pub started_at: Timestamp,
    /// Time for which both backends ran.
    pub duration: Duration,
    /// Both backends, with their ledgers.
    pub sources: Vec<SourceReport>,
    /// The ledger of the join of single drops; `None` in summary mode.
    pub union: Option<DedupeLedger>,
    /// The differences and their causes.
    pub comparison: Comparison<Arc<NamedKey>>,
}

/// Why drops are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenBy {
    /// Healthy hosts often have such drops (`--unusual`).
    Usual,
    /// An expression matches (`--hide`).
    Expression,
}

impl HiddenBy {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Usual, Self::Expression];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Expression => "expression",
        }
    }
}

/// Drops that are counted and not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenDrops {
    /// Why.
    pub by: HiddenBy,
    /// Number of their rows; absent for single drops.
    pub rows: Option<u64>,
    /// Number of drops.
    pub packets: u64,
    /// Bytes of the drops; absent where some are unknown.
    pub bytes: Option<u64>,
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
    /// The backends and their ledgers.
    pub sources: Vec<SourceReport>,
    /// By key, in any order: sinks show them in the one that was asked for.
    pub drops: Vec<DropTotal>,
    /// What only the reason is known of.
    pub overflow: Vec<OverflowTotal>,
    /// The sums of drops that are counted in the ledger and not among `drops`, because they are not to be shown.
    pub hidden: Vec<HiddenDrops>,
    /// Netlink messages to droptrace itself that the kernel dropped because droptrace's sockets were full. They are
    /// among the drops of netlink messages; `None` if the number is unknown.
    pub own_netlink_drops: Option<u64>,
    /// Whose packets were dropped; absent where owners are not asked for.
    pub attribution: Option<AttributionLedger>,
    /// The flows of dropped packets; absent where flows are not asked for.
    pub flows: Option<FlowLedger>,
    /// The call stacks of sampled drops; absent where they are not asked for.
    pub stacks: Option<Vec<SampledStacks>>,
    /// Retransmissions of TCP, and the drops that they followed; absent where they are not asked for.
    pub retransmissions: Option<RetransmitReport>,
    /// SYNs that listening sockets refused; absent where they are not counted.
    pub refused: Option<RefusedReport>,
    /// The kernel's counters beside the backend; absent where they are not read.
    pub outside: Option<Reconciliation>,
    /// The intervals of an agent's history that the report sums up; absent for a run and for a recording.
    pub past: Option<Past>,
}
