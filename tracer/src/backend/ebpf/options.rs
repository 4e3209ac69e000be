//! Options of the eBPF source.

use std::sync::Arc;

use super::Mode;
use crate::filter::Filter;
use crate::identity::netns::Target;

/// Options of the source.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options that do not depend on one another")]
pub struct Options {
    /// The type of the attached program.
    pub mode: Mode,
    /// Number of aggregation keys in the hash; the cache of each CPU in front of the hash has as many, up to 256.
    pub map_entries: u32,
    /// Options of records; absent to count only.
    pub events: Option<EventOptions>,
    /// Count only this network namespace; absent for all namespaces.
    pub netns: Option<Arc<Target>>,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Rows that are kept in this process's memory; drops of further keys are counted by drop reason.
    pub max_rows: usize,
    /// Count only the drops that this filter selects; absent for all.
    pub filter: Option<Arc<Filter>>,
    /// Count by the control group of the packet's socket, too.
    pub cgroups: bool,
    /// Count by these facts of the packet's flow, too: bits of [`tracer_common::Config::flows`].
    pub flows: u32,
    /// Report dropped segments of TCP and retransmissions.
    pub retransmits: bool,
    /// Count the SYNs that listening sockets refuse, where the kernel allows it.
    pub refused: bool,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// The kernel lets programs call `bpf_probe_read_kernel`; false under `lockdown=confidentiality`.
    pub may_probe: bool,
}

impl Options {
    /// Totals of all drops, with room for one key: enough to find out whether the programs load. `may_probe` is as in the
    /// options.
    pub const fn least(mode: Mode, may_probe: bool) -> Self {
        Self {
            mode,
            map_entries: 1,
            events: None,
            netns: None,
            ifindex: 0,
            max_rows: 1,
            filter: None,
            cgroups: false,
            flows: 0,
            retransmits: false,
            refused: false,
            kernel_log: false,
            may_probe,
        }
    }
}

/// Options of records.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Leading bytes of each packet, at most [`tracer_common::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Records a second for each drop site, drop reason and CPU; 0 for no limit.
    pub rate: u32,
    /// Bytes of the ring buffer: a power of two, and at least a page.
    pub ring_size: u32,
    /// Records have the call stack of the drop.
    pub stacks: bool,
    /// Beyond the first drops of a key, make a record of one in so many: a power of two; 1 for all drops.
    pub one_in: u32,
}
