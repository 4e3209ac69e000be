//! The kernel's counters beside the drops, where each reading of the drops is between two readings of the counters.

use std::sync::Arc;
use std::time::Duration;

use super::event::Timestamp;
use super::reconciliation::Interface;
use super::report::{Host, SourceReport};

/// The counters that moved, and the drops that explain them.
#[derive(Clone, Debug)]
pub struct ReconcileReport {
    /// The host.
    pub host: Host,
    /// The time at which the backend started.
    pub started_at: Timestamp,
    /// Time for which the backend ran.
    pub duration: Duration,
    /// The backend and its ledger.
    pub sources: Vec<SourceReport>,
    /// The number of readings of the drops, each between two readings of the counters.
    pub readings: u32,
    /// The number of network namespaces whose counters were compared.
    pub namespaces: u32,
    /// What could not be compared, in sentences without a full stop.
    pub gaps: Vec<String>,
    /// The counters that moved, the worst first.
    pub counters: Vec<BracketedCounter>,
}

impl ReconcileReport {
    /// The number of counters that contradict the drops.
    pub fn wrong(&self) -> usize {
        self.counters.iter().filter(|counter| counter.verdict.is_wrong()).count()
    }
}

/// One counter of one network namespace. The counter rose by `least` to `most` between the first reading of the drops and
/// the last one: the readings of the counter were not at the same time as those of the drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BracketedCounter {
    /// The counter's name, as `nstat` spells it.
    pub name: Arc<str>,
    /// How the counter relates to drops, such as `exact` or `copy`.
    pub class: &'static str,
    /// The counters that this one is a part or a sum of.
    pub of: Vec<String>,
    /// Inode number of the network namespace; 0 for a counter of the whole host.
    pub netns: u32,
    /// The name of the namespace under `/run/netns`, if it has one.
    pub netns_name: Option<Arc<str>>,
    /// For a counter of an interface, the interface.
    pub interface: Option<Interface>,
    /// The least possible rise.
    pub least: u64,
    /// The greatest possible rise.
    pub most: u64,
    /// Drops that were counted with a reason and at a function that the counter counts.
    pub explained: u64,
    /// Drops that the counter may count: without a reason or a namespace, or lost to the backend.
    pub possible: u64,
    /// The part of the rise that certainly is none of these drops.
    pub outside: u64,
    /// What follows.
    pub verdict: Verdict,
}

/// What the readings say about one counter. A bracket is a pair of readings of the drops, each between two readings of the
/// counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More drops were counted than the counter can have risen by: by this number, in the worst bracket.
    Excess(u64),
    /// Fewer drops were counted than an exact counter rose by: by this number, in the worst bracket.
    Missing(u64),
    /// Packets were lost that pass no tracepoint.
    Outside,
    /// Packets may have been lost that pass no tracepoint, up to this number: other drops may explain the rise as well.
    Undecided(u64),
    /// Drops and counter agree.
    Agrees,
    /// The counter does not rise once for each drop.
    NotCompared,
    /// The counter was once less than before.
    Unknown,
}

impl Verdict {
    /// Whether the BPF program, the table of counters or the kernel is at fault.
    pub const fn is_wrong(self) -> bool {
        matches!(self, Self::Excess(_) | Self::Missing(_))
    }

    /// The position in a table, the worst first.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Excess(_) | Self::Missing(_) => 0,
            Self::Outside => 1,
            Self::Undecided(_) => 2,
            Self::Agrees => 3,
            Self::NotCompared => 4,
            Self::Unknown => 5,
        }
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Excess(_) => "excess",
            Self::Missing(_) => "missing",
            Self::Outside => "outside",
            Self::Undecided(_) => "undecided",
            Self::Agrees => "agrees",
            Self::NotCompared => "not-compared",
            Self::Unknown => "unknown",
        }
    }
}
