//! The facts that can explain why two backends report different drops.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::Serialize;

/// The alert mode of `NET_DM`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetDmMode {
    /// One message for each drop.
    #[default]
    Packet,
    /// One message for each CPU and second, with a count for each drop site.
    Summary,
}

/// The cause for which one backend may miss drops that the other one reports. The causes of `NET_DM` are those of
/// `net/core/drop_monitor.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// `NET_DM` does not see drops of this kind.
    NotCoveredByNetDm,
    /// Packet mode of `NET_DM` skips packets without a MAC header.
    NoMacHeader,
    /// Messages to the sockets of droptrace itself found no room. `NET_DM` cannot report the drops of its own messages.
    OwnNetlink,
    /// `NET_DM` ran for less time than the kernel program.
    NetDmStartedOrStopped,
    /// `NET_DM` had not sent these counts when monitoring stopped.
    NotSentAtStop,
    /// The queue of `NET_DM` in the kernel was full, as its own statistics show.
    QueueTailDrops,
    /// The socket that receives the alerts of `NET_DM` was full. The socket counts the messages that it had no room
    /// for; in packet mode each of them is a drop.
    SocketOverrun,
    /// Messages of `NET_DM` arrived, but could not be decoded or were truncated.
    Undecodable,
    /// The table of aggregation keys of the `NET_DM` backend was full; these drops are counted by reason only.
    NetDmOverflow,
    /// Other processes stopped `NET_DM` or took it over. Drops until droptrace noticed it are in no count.
    Interrupted,
    /// Summary mode of `NET_DM` holds 64 drop sites for each CPU and second, and does not count drops at further ones.
    TooManySites,
    /// Summary mode of `NET_DM` does not count drops while it sends and replaces the buffer of a CPU.
    AlertBufferReplaced,
    /// The kernel program does not see drops of this kind.
    NotCoveredByEbpf,
    /// The kernel program ran for less time than `NET_DM`.
    EbpfStartedOrStopped,
    /// The kernel program's map of aggregation keys was full; these drops are counted by reason only.
    EbpfOverflow,
    /// The kernel did not run the program for these drops, because it was running on that CPU already.
    EbpfMissed,
}

/// The backend that does not see drops of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncovered {
    /// The kernel program, for example hardware drops without the devlink tracepoint.
    ByEbpf,
    /// `NET_DM`, for example drops that only the tracepoint of queueing disciplines shows.
    ByNetDm,
}

/// The evidence for one site and interval. Each number is the most drops that its cause can explain there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteEvidence {
    /// One backend does not see the drops of this site: then all drops that only the other one reported are explained.
    pub uncovered: Option<Uncovered>,
    /// Drops of packets without a MAC header, as counted by the kernel program.
    pub no_mac_header: u64,
    /// Drops of messages to the netlink sockets of droptrace itself.
    pub own_netlink: u64,
    /// Drops that the kernel program counted before `NET_DM` ran, or after it stopped.
    pub while_net_dm_off: u64,
    /// Drops that `NET_DM` reported before the kernel program ran, or after it was detached.
    pub while_ebpf_off: u64,
    /// Drops that the kernel program counted between the last alert of `NET_DM` and its stop. Summary mode only.
    pub since_last_alert: u64,
}

/// The evidence for an interval.
#[derive(Clone, Debug)]
pub struct Evidence<K> {
    /// The alert mode of `NET_DM`.
    pub mode: NetDmMode,
    /// The evidence for single sites.
    pub sites: HashMap<K, SiteEvidence, RandomState>,
    /// The packets that `NET_DM` dropped because its queue was full, at any site, as it counts them itself
    /// (`NET_DM_CMD_STATS_GET`); `None` if the number is unknown.
    pub queue_tail_drops: Option<u64>,
    /// Number of overruns of droptrace's socket (`ENOBUFS`).
    pub socket_overruns: u64,
    /// Messages that the socket had no room for; `None` if the kernel does not report the number.
    pub socket_drops: Option<u64>,
    /// Messages that could not be decoded.
    pub undecodable: u64,
    /// Drops that `NET_DM` reported, but that found no room in the table of aggregation keys.
    pub net_dm_overflow: u64,
    /// Number of times that other processes stopped `NET_DM` or took it over.
    pub interruptions: u64,
    /// Alerts of summary mode with 64 drop sites, the most that an alert holds: drops at further sites were not
    /// counted.
    pub full_alerts: u64,
    /// Alerts of summary mode. Each of them replaced the buffer of a CPU.
    pub alerts: u64,
    /// Drops that the kernel program counted by reason only.
    pub ebpf_overflow: u64,
    /// Drops that the kernel program did not count because it was running on that CPU already.
    pub ebpf_missed: u64,
}

impl<K> Default for Evidence<K> {
    /// No drop is known to be lost.
    fn default() -> Self {
        Self {
            mode: NetDmMode::default(),
            sites: HashMap::default(),
            queue_tail_drops: Some(0),
            socket_overruns: 0,
            socket_drops: Some(0),
            undecodable: 0,
            net_dm_overflow: 0,
            interruptions: 0,
            full_alerts: 0,
            alerts: 0,
            ebpf_overflow: 0,
            ebpf_missed: 0,
        }
    }
}

/// The causes in one direction: they explain drops that one backend did not report.
pub(super) struct Clues {
    /// Counts of causes that are not bound to a site. A drop that explains a gap at one site is not available for
    /// another site.
    pub(super) shared: Vec<(Cause, u64)>,
    /// Causes that are known to have happened, but not how often.
    pub(super) unsized_causes: Vec<Cause>,
}

impl<K: Eq + Hash> Evidence<K> {
    pub(super) fn site(&self, site: &K) -> SiteEvidence {
        self.sites.get(site).copied().unwrap_or_default()
    }

    pub(super) fn missing_from_net_dm(&self) -> Clues {
        let summary = self.mode == NetDmMode::Summary;
        let in_packets = |packets: u64| if summary { 0 } else { packets };
        // A message of summary mode stands for any number of drops.
        let overran = self.socket_drops.map_or(self.socket_overruns > 0, |socket_drops| summary && socket_drops > 0);
        let happened = [
            (overran, Cause::SocketOverrun),
            (!summary && self.queue_tail_drops.is_none(), Cause::QueueTailDrops),
            (summary && self.undecodable > 0, Cause::Undecodable),
            (self.interruptions > 0, Cause::Interrupted),
            (summary && self.full_alerts > 0, Cause::TooManySites),
            (summary && self.alerts > 0, Cause::AlertBufferReplaced),
        ];
        Clues {
            shared: vec![
                (Cause::QueueTailDrops, in_packets(self.queue_tail_drops.unwrap_or(0))),
                (Cause::SocketOverrun, in_packets(self.socket_drops.unwrap_or(0))),
                (Cause::Undecodable, in_packets(self.undecodable)),
                (Cause::NetDmOverflow, self.net_dm_overflow),
            ],
            unsized_causes: happened.into_iter().filter_map(|(happened, cause)| happened.then_some(cause)).collect(),
        }
    }

    pub(super) fn missing_from_ebpf(&self) -> Clues {
        Clues {
            shared: vec![(Cause::EbpfOverflow, self.ebpf_overflow), (Cause::EbpfMissed, self.ebpf_missed)],
            unsized_causes: Vec::new(),
        }
    }
}

impl SiteEvidence {
    /// Explains `missing` drops of this site, which `NET_DM` did not report, by cause.
    pub(super) fn missing_from_net_dm(&self, mode: NetDmMode, missing: u64) -> [(Cause, u64); 5] {
        let in_mode = |wanted: NetDmMode, packets: u64| if mode == wanted { packets } else { 0 };
        let uncovered = if self.uncovered == Some(Uncovered::ByNetDm) { missing } else { 0 };
        [
            (Cause::NotCoveredByNetDm, uncovered),
            (Cause::OwnNetlink, self.own_netlink),
            (Cause::NoMacHeader, in_mode(NetDmMode::Packet, self.no_mac_header)),
            (Cause::NetDmStartedOrStopped, self.while_net_dm_off),
            (Cause::NotSentAtStop, in_mode(NetDmMode::Summary, self.since_last_alert)),
        ]
    }

    /// Explains `missing` drops of this site, which the kernel program did not report, by cause.
    pub(super) fn missing_from_ebpf(&self, missing: u64) -> [(Cause, u64); 2] {
        let uncovered = if self.uncovered == Some(Uncovered::ByEbpf) { missing } else { 0 };
        [(Cause::NotCoveredByEbpf, uncovered), (Cause::EbpfStartedOrStopped, self.while_ebpf_off)]
    }
}
