//! The kernel's counters of drops beside the drops that were counted: the part of their rise that is outside `kfree_skb`.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;

/// The counters of network namespaces beside a capture backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// The counters that rose, in the order of the namespaces that were read.
    pub counters: Vec<ReconciledCounter>,
    /// The number of namespaces whose counters were read twice or more.
    pub namespaces: u32,
    /// What could not be compared, in sentences without a full stop.
    pub gaps: Vec<String>,
    /// The number of readings so far. The last of them was finished before the drops were read.
    pub readings: u32,
}

/// The rise of one counter: `rise = explained + undecided + outside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciledCounter {
    /// The counter's name, as `nstat` spells it.
    pub name: Arc<str>,
    /// How the counter relates to drops, such as `exact` or `copy`.
    pub class: &'static str,
    /// The packets that it counts, as a phrase.
    pub meaning: Arc<str>,
    /// Inode number of the network namespace; 0 for a counter of the whole host.
    pub netns: u32,
    /// The number of the namespace among those that were read during the run, from 1: an inode number may stand for one namespace
    /// after another. 0 for a counter of the whole host.
    pub netns_number: u32,
    /// The name of the namespace under `/run/netns`, if it has one.
    pub netns_name: Option<Arc<str>>,
    /// For a counter of an interface, the interface.
    pub interface: Option<Interface>,
    /// For a counter that each processor has, the processors whose counter rose.
    pub cpus: Vec<CpuRise>,
    /// The rise between the first and the last reading.
    pub rise: u64,
    /// Whether the rise can be compared with drops. If not, `explained` and `outside` are 0.
    pub is_compared: bool,
    /// Drops that were counted with a reason and at a function that the counter counts, and SYNs that are counted by the socket
    /// that refused them; at most the rise.
    pub explained: u64,
    /// The part of the rise that certainly is none of the drops that were counted, filtered or lost.
    pub outside: u64,
    /// All drops that may be among the rise, since the backend started: `outside` is the rise beyond them. Absent if their number is
    /// not known, so that nothing can be claimed to be outside.
    pub covered: Option<u64>,
    /// The counter counts packets that are lost without `kfree_skb`, if not those alone. The undecided part of its rise may be outside as well.
    pub is_untraceable: bool,
    /// For `TcpExtListenDrops`, the listening sockets whose own counter rose, the greatest rise first. Empty for other
    /// counters, and where the sockets of the namespace could not be read.
    pub listeners: Vec<RefusingListener>,
}

/// An interface that has counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The index, which is unique within the network namespace.
    pub ifindex: u32,
    /// The name; absent if the interface was gone before its name was read.
    pub name: Option<Arc<str>>,
}

/// The part of a rise that one processor counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuRise {
    /// The number of the processor.
    pub cpu: u32,
    /// The rise between the first and the last reading.
    pub rise: u64,
}

/// A listening socket of TCP that refused connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusingListener {
    /// The address that the socket is bound to.
    pub address: SocketAddr,
    /// The rise of the socket's own counter (`sk_drops`) between the first and the last reading. The socket counts
    /// malformed segments there as well.
    pub drops: u64,
    /// The process with the lowest id that has the socket open; absent if none was found.
    pub process: Option<ListenerProcess>,
}

/// A process that has a listening socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerProcess {
    /// The process id.
    pub pid: u32,
    /// The name of the process; absent if the name is empty.
    pub comm: Option<String>,
}

impl ReconciledCounter {
    /// The part of the rise that may be drops which were counted without a reason or a namespace, filtered or lost; 0 for a
    /// counter that is not compared.
    pub const fn undecided(&self) -> u64 {
        if self.is_compared { self.rise.saturating_sub(self.explained).saturating_sub(self.outside) } else { 0 }
    }

    /// The greatest number of packets that may be outside `kfree_skb`: `outside`, and the undecided ones of a counter whose
    /// packets do not pass it.
    pub const fn at_most_outside(&self) -> u64 {
        if self.is_untraceable { self.outside.saturating_add(self.undecided()) } else { self.outside }
    }
}

impl Reconciliation {
    /// The counters that rose outside `kfree_skb`, the greatest part first, and behind them those that may have risen
    /// outside.
    pub fn outside(&self) -> Vec<&ReconciledCounter> {
        let size = |counter: &ReconciledCounter| Reverse((counter.outside, counter.at_most_outside()));
        let mut found: Vec<_> = self.counters.iter().filter(|counter| counter.at_most_outside() > 0).collect();
        found.sort_by(|one, other| {
            size(one).cmp(&size(other)).then_with(|| one.name.cmp(&other.name)).then(one.netns.cmp(&other.netns))
        });
        found
    }
}
