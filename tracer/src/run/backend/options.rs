//! What a run asks of its backend.

use std::sync::Arc;
use std::time::Duration;

use super::CaptureBackend;
use crate::backend::Selection;
use crate::backend::counters::beside::Pace;
use crate::backend::ebpf::EventOptions;
use crate::filter::Filter;
use crate::identity::netns;
use crate::identity::owners::Search;
use crate::kernel::running::RunningKernel;

/// Options of a session.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options that do not depend on one another")]
pub struct Options {
    /// What was read of the kernel before the run.
    pub kernel: Arc<RunningKernel>,
    /// The backends that may be used, best first.
    pub backends: Vec<CaptureBackend>,
    /// Options of single drops; absent for totals only.
    pub events: Option<EventOptions>,
    /// Whether a backend without single drops may run as well, where there are options of single drops.
    pub need: EventNeed,
    /// Count only this network namespace; absent for all namespaces.
    pub netns: Option<Arc<netns::Target>>,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Count only the drops that match; absent for all.
    pub filter: Option<Arc<Filter>>,
    /// Number of aggregation keys in the kernel, for the time between two readings.
    pub map_entries: u32,
    /// Rows that are kept in this process's memory.
    pub max_rows: usize,
    /// What to find out about whose packets they were.
    pub owners: WantedOwners,
    /// Count by these facts of packets' flows, too: bits of [`tracer_common::Config::flows`].
    pub flows: u32,
    /// Report retransmissions of TCP, and join them with drops; only for the BPF program.
    pub retransmits: bool,
    /// Count the SYNs that listening sockets refuse, if the backend is the BPF program and this kernel allows it.
    pub refused: bool,
    /// Read the kernel's counters beside the backend, at this pace; absent to leave them out.
    pub counters: Option<Pace>,
    /// Pass the records of the BPF program on as they came, in blocks, if it is the only backend.
    pub blocks: bool,
    /// Read those counters as well that cannot be compared with drops.
    pub all_counters: bool,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// Where two sources report single drops: time that a drop waits for the other source before it is shown; absent to
    /// show each source's reports by themselves.
    pub join: Option<Duration>,
}

/// Whether single drops are needed where there are options of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventNeed {
    /// Only backends with single drops may run.
    #[default]
    Required,
    /// Backends with totals only may run as well.
    Welcome,
}

/// What to find out about whose packets were dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedOwners {
    /// The control groups of sockets.
    pub cgroups: bool,
    /// The processes of sockets: of single drops', and of flows'.
    pub processes: Option<Search>,
    /// The container or pod that lives in the namespace of drops without a socket.
    pub residents: bool,
}

impl Options {
    /// Whether a backend without single drops does not do.
    pub(super) fn needs_single_drops(&self) -> bool {
        self.events.is_some() && self.need == EventNeed::Required
    }

    /// The drops that are selected, for a backend of totals.
    pub(super) fn selection(&self) -> Selection {
        let netns = self.netns.as_ref().map(|netns| netns.inum);
        Selection { netns, ifindex: self.ifindex, has_filter: self.filter.is_some() }
    }
}
