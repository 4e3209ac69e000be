//! What is known that can make two sources differ.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use serde::Serialize;

/// How `NET_DM` listened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetDmMode {
    /// One message a drop.
    #[default]
    Packet,
    /// Counts by place, once a second.
    Summary,
}

/// Why a source may not have heard what the other did. `net/core/drop_monitor.c` is where `NET_DM`'s come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// `NET_DM`: it does not see drops of this kind.
    NotCoveredByNetDm,
    /// `NET_DM`: packet mode skips packets without a MAC header.
    NoMacHeader,
    /// `NET_DM`: messages to this program's own sockets that found no room; they are drops of our making.
    OwnNetlink,
    /// `NET_DM`: it listened for less time.
    NetDmStartedOrStopped,
    /// `NET_DM`: counts that had not been sent when monitoring stopped.
    NotSentAtStop,
    /// `NET_DM`: its queue in the kernel was full, as its own statistics tell.
    QueueTailDrops,
    /// `NET_DM`: this program's socket was full. The socket counts the messages that it had no room for; in packet mode
    /// each is a drop.
    SocketOverrun,
    /// `NET_DM`: messages that came, but made no sense or were cut.
    Undecodable,
    /// `NET_DM`: its map of places was full; these drops are counted by reason only.
    NetDmOverflow,
    /// `NET_DM`: others stopped or took it over, and what was dropped until that was noticed is in no count.
    Interrupted,
    /// `NET_DM`: summary mode holds 64 places a CPU and second, and counts no others.
    TooManyPlaces,
    /// `NET_DM`: summary mode does not count what comes while a CPU's buffer is sent and replaced.
    AlertBufferReplaced,
    /// eBPF: it does not see drops of this kind.
    NotCoveredByEbpf,
    /// eBPF: it listened for less time.
    EbpfStartedOrStopped,
    /// eBPF: its map of places was full; these drops are counted by reason only.
    EbpfOverflow,
    /// eBPF: the kernel did not show these to the program, which was running on that CPU already.
    EbpfMissed,
}

/// Who does not see drops of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncovered {
    /// The kernel program, such as hardware drops without the devlink tracepoint.
    ByEbpf,
    /// `NET_DM`, such as queueing disciplines' own tracepoint.
    ByNetDm,
}

/// What is known of one place and interval. Each number bounds what its cause explains there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteEvidence {
    /// One source does not see what happens here: all that only the other heard is explained.
    pub uncovered: Option<Uncovered>,
    /// Drops of packets without a MAC header, as the kernel program told them.
    pub no_mac_header: u64,
    /// Drops of messages to this program's own netlink sockets.
    pub own_netlink: u64,
    /// Drops that the kernel program counted while `NET_DM` was not yet, or no longer, listening.
    pub while_net_dm_off: u64,
    /// Drops that `NET_DM` told of while the kernel program was not yet, or no longer, listening.
    pub while_ebpf_off: u64,
    /// Drops that the kernel program counted between `NET_DM`'s last alert and its STOP. Summary mode only.
    pub since_last_alert: u64,
}

/// What is known of an interval.
#[derive(Clone, Debug)]
pub struct Evidence<K> {
    /// How `NET_DM` listened.
    pub mode: NetDmMode,
    /// Of single places.
    pub sites: HashMap<K, SiteEvidence, RandomState>,
    /// `NET_DM`'s own count of packets that found its queue full (`STATS`), at any place; none where it is not known.
    pub queue_tail_drops: Option<u64>,
    /// How often this program's socket overran (`ENOBUFS`).
    pub socket_overruns: u64,
    /// Messages that the socket had no room for; none where the kernel does not tell.
    pub socket_drops: Option<u64>,
    /// Messages that made no sense.
    pub undecodable: u64,
    /// Drops that `NET_DM` told, but that found no room among its places.
    pub net_dm_overflow: u64,
    /// How often others stopped `NET_DM`, or took it over.
    pub interruptions: u64,
    /// Alerts of summary mode with 64 places, which is all that they hold: hits at further ones were not counted.
    pub full_alerts: u64,
    /// Alerts of summary mode: at each, a CPU's buffer was replaced.
    pub alerts: u64,
    /// Drops that the kernel program counted by reason only.
    pub ebpf_overflow: u64,
    /// Drops that the kernel program did not count because it was running already.
    pub ebpf_missed: u64,
}

impl<K> Default for Evidence<K> {
    /// Nothing is known to have been lost.
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

/// One direction: what explains drops that one source did not hear.
pub(super) struct Clues {
    /// Counted, at any place: what explains one place's drops explains no other's.
    pub(super) shared: Vec<(Cause, u64)>,
    /// Known to have happened, but not how often.
    pub(super) unsized_causes: Vec<Cause>,
}

impl<K: Eq + Hash> Evidence<K> {
    pub(super) fn site(&self, site: &K) -> SiteEvidence {
        self.sites.get(site).copied().unwrap_or_default()
    }

    pub(super) fn missing_from_net_dm(&self) -> Clues {
        let summary = self.mode == NetDmMode::Summary;
        let in_packets = |packets: u64| if summary { 0 } else { packets };
        // A message of summary mode holds any number of drops.
        let overran = self.socket_drops.map_or(self.socket_overruns > 0, |socket_drops| summary && socket_drops > 0);
        let happened = [
            (overran, Cause::SocketOverrun),
            (!summary && self.queue_tail_drops.is_none(), Cause::QueueTailDrops),
            (summary && self.undecodable > 0, Cause::Undecodable),
            (self.interruptions > 0, Cause::Interrupted),
            (summary && self.full_alerts > 0, Cause::TooManyPlaces),
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
    /// What `NET_DM` did not hear of `missing` drops here, by cause.
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

    /// What the kernel program did not hear of `missing` drops here, by cause.
    pub(super) fn missing_from_ebpf(&self, missing: u64) -> [(Cause, u64); 2] {
        let uncovered = if self.uncovered == Some(Uncovered::ByEbpf) { missing } else { 0 };
        [(Cause::NotCoveredByEbpf, uncovered), (Cause::EbpfStartedOrStopped, self.while_ebpf_off)]
    }
}
