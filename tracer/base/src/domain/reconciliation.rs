//! The kernel's counters of drops beside the drops that were counted: the part of their rise that is outside `kfree_skb`.

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
}

/// The rise of one counter: `rise = explained + undecided + outside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciledCounter {
    /// The counter's name, as `nstat` spells it.
    pub name: Arc<str>,
    /// The packets that it counts, as a phrase.
    pub meaning: Arc<str>,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The name of the namespace under `/run/netns`, if it has one.
    pub netns_name: Option<Arc<str>>,
    /// The rise between the first and the last reading.
    pub rise: u64,
    /// Drops that were counted with a reason and at a function that the counter counts, at most the rise.
    pub explained: u64,
    /// The part of the rise that certainly is none of the drops that were counted, filtered or lost.
    pub outside: u64,
    /// For `TcpExtListenDrops`, the listening sockets whose own counter rose, the greatest rise first. Empty for other
    /// counters, and where the sockets of the namespace could not be read.
    pub listeners: Vec<RefusingListener>,
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
    /// The part of the rise that may be drops which were counted without a reason or a namespace, filtered or lost.
    pub const fn undecided(&self) -> u64 {
        self.rise.saturating_sub(self.explained).saturating_sub(self.outside)
    }
}

impl Reconciliation {
    /// The counters that rose outside `kfree_skb`, the greatest part first.
    pub fn outside(&self) -> Vec<&ReconciledCounter> {
        let mut found: Vec<_> = self.counters.iter().filter(|counter| counter.outside > 0).collect();
        found.sort_by(|one, other| {
            other.outside.cmp(&one.outside).then_with(|| one.name.cmp(&other.name)).then(one.netns.cmp(&other.netns))
        });
        found
    }
}
