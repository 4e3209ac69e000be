//! The ledger of a backend: the drops that it saw, those that it kept, and those that it lost. Each ledger has a sum
//! that must be exact, and reports a mismatch if it is not.

mod parts;
pub mod wire;

use crate::domain::event::Origin;

/// The ledger of one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// The ledger of the kernel program.
    Ebpf(EbpfLedger),
    /// The ledger of the kernel's drop monitor.
    NetDm(NetDmLedger),
    /// The ledger of the kernel's own counters.
    Counters(CountersLedger),
}

impl Ledger {
    /// The backend's name in JSON.
    pub const fn source(&self) -> &'static str {
        match self {
            Self::Ebpf(_) => Origin::Ebpf.name(),
            Self::NetDm(_) => Origin::NetDm.name(),
            Self::Counters(ledger) => ledger.source,
        }
    }

    /// Counts drops that were counted by key or reason as filtered, because a filter was applied to their records later. The
    /// kernel's own counters have no filters. `unknown` of the drops are in an unknown network namespace. The filter could not
    /// decide on counted drops beyond `recorded`, the number of all records.
    pub fn filter(&mut self, drops: u64, unknown: u64, recorded: u64) {
        if let Self::Ebpf(ledger) = self {
            ledger.unknown_netns = ledger.unknown_netns.saturating_sub(unknown);
            ledger.unrecorded = ledger.accounted.saturating_add(ledger.overflow).saturating_sub(recorded);
        }
        let (accounted, overflow, filtered) = match self {
            Self::Ebpf(ledger) => (&mut ledger.accounted, &mut ledger.overflow, &mut ledger.filtered),
            Self::NetDm(ledger) => (&mut ledger.accounted, &mut ledger.overflow, &mut ledger.filtered),
            Self::Counters(_) => return,
        };
        let of_keys = drops.min(*accounted);
        let of_reasons = (drops - of_keys).min(*overflow);
        *accounted -= of_keys;
        *overflow -= of_reasons;
        *filtered = filtered.saturating_add(of_keys + of_reasons);
    }

    /// Drops that a filter excluded.
    pub const fn filtered(&self) -> u64 {
        match self {
            Self::Ebpf(ledger) => ledger.filtered,
            Self::NetDm(ledger) => ledger.filtered,
            Self::Counters(_) => 0,
        }
    }

    /// Drops that are in none of the counts; absent where their number cannot be known.
    pub const fn lost(&self) -> Option<u64> {
        match self {
            Self::Ebpf(ledger) => Some(ledger.lost()),
            Self::NetDm(ledger) => ledger.lost(),
            Self::Counters(_) => None,
        }
    }

    /// The ledger of events, if the backend counts them apart from drops.
    pub const fn events(&self) -> Option<&EventLedger> {
        match self {
            Self::Ebpf(ledger) => ledger.events.as_ref(),
            Self::NetDm(_) | Self::Counters(_) => None,
        }
    }
}

/// The ledger of the backend `ebpf`.
///
/// In each reading `hits = accounted + overflow + filtered`; `lost = nested + missed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EbpfLedger {
    /// Runs of the kernel programs: drops that they saw, also hardware drops.
    pub hits: u64,
    /// Drops counted by aggregation key.
    pub accounted: u64,
    /// Drops counted by reason only, because the map of aggregation keys was full.
    pub overflow: u64,
    /// Drops that a filter excluded.
    pub filtered: u64,
    /// Drops among `accounted` whose network namespace is unknown, so that a filter could not decide on them.
    pub unknown_netns: u64,
    /// Drops among `accounted` and `overflow` without a record, so that the filter of `droptrace replay` could not decide on
    /// them; 0 in the ledger of a run, and without such a filter.
    pub unrecorded: u64,
    /// Drops that were not counted, because another of the programs was running on that CPU already.
    pub nested: u64,
    /// Drops for which the kernel did not run the program, because it was running on that CPU already
    /// (`recursion_misses`, `kernel/trace/bpf_trace.c`).
    pub missed: u64,
    /// Exact reasons that queueing disciplines reported without a matching drop: the drops, if there were any, have the
    /// general reason `QDISC_DROP`. `None` if the kernel has no such tracepoint.
    pub qdisc_unmatched: Option<u64>,
    /// The ledger of events; `None` if events are off.
    pub events: Option<EventLedger>,
}

impl EbpfLedger {
    /// Drops that are in none of the counts.
    pub const fn lost(&self) -> u64 {
        self.nested.saturating_add(self.missed)
    }

    /// The ledger mismatch. Any other number than 0 is a fault of droptrace.
    pub const fn mismatch(&self) -> i128 {
        self.hits as i128 - self.accounted as i128 - self.overflow as i128 - self.filtered as i128
    }
}

/// The ledger of the ring buffer: `offered = submitted + suppressed + ring_full`, and once the ring is drained
/// `submitted = delivered + undecodable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLedger {
    /// Drops that could have become records.
    pub offered: u64,
    /// Records written.
    pub submitted: u64,
    /// Records that the sampler held back.
    pub suppressed: u64,
    /// Records that were lost because the ring buffer was full.
    pub ring_full: u64,
    /// Records that userspace read.
    pub delivered: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Records among `submitted` without bytes of the packet, because no header was set or the bytes could not be read.
    pub unreadable: u64,
    /// The sampler's limit: records per second of each flow at a drop site, on each CPU; 0 for no limit.
    pub rate: u32,
}

impl EventLedger {
    /// Records that were written and not read yet: 0 once the program is detached and the ring is drained.
    pub const fn pending(&self) -> i128 {
        self.submitted as i128 - self.delivered as i128 - self.undecodable as i128
    }

    /// The sampler's limit for a drop site: records per second on each CPU, of which a share is kept for flows without
    /// a record in the last second; 0 for no limit.
    pub const fn site_rate(&self) -> u64 {
        self.rate as u64 * (tracer_common::SITE_FACTOR + 1)
    }

    /// Offered drops that are in none of the counts. Any other number than 0 is a fault of droptrace.
    pub const fn unaccounted(&self) -> i128 {
        self.offered as i128 - self.submitted as i128 - self.suppressed as i128 - self.ring_full as i128
    }
}

/// The ledger of the backend `net_dm`: `received = delivered + undecodable` in messages, and `drops = accounted +
/// overflow + filtered` in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetDmLedger {
    /// Whether the kernel counts the drops that it leaves out: packet mode only. Summary mode leaves out drops without
    /// a count.
    pub counts_losses: bool,
    /// Alerts that arrived.
    pub received: u64,
    /// Alerts that were decoded.
    pub delivered: u64,
    /// Alerts that could not be decoded or were truncated.
    pub undecodable: u64,
    /// Drops that the alerts report.
    pub drops: u64,
    /// Drops counted by aggregation key.
    pub accounted: u64,
    /// Drops counted by reason only, because there was no room for more aggregation keys.
    pub overflow: u64,
    /// Drops that a filter excluded.
    pub filtered: u64,
    /// Drops that were lost because the monitor's queue was full (`NET_DM_CMD_STATS_GET`); `None` if the kernel does
    /// not report the number.
    pub tail_drops: Option<u64>,
    /// Alerts that the socket had no room for (`SO_MEMINFO`), each of which is a drop in packet mode; `None` if the
    /// kernel does not report the number.
    pub socket_drops: Option<u64>,
    /// Number of times that the socket had overrun (`ENOBUFS`).
    pub overruns: u64,
    /// Number of times that monitoring had stopped or changed its owner: drops until droptrace noticed it are in no
    /// count.
    pub interruptions: u64,
    /// Summary alerts with as many drop sites as an alert can hold: drops at further sites are in no count.
    pub at_limit: u64,
    /// Alerts about a device whose own count of receive drops rose. They do not count packets.
    pub device_hints: u64,
    /// Attributes of unknown types.
    pub skipped_attributes: u64,
}

impl NetDmLedger {
    /// Drops that are in none of the counts; `None` if their number cannot be known.
    pub const fn lost(&self) -> Option<u64> {
        match (self.tail_drops, self.socket_drops) {
            (Some(tail_drops), Some(socket_drops)) if self.counts_losses && self.interruptions == 0 => {
                match tail_drops.checked_add(socket_drops) {
                    Some(lost) => lost.checked_add(self.undecodable),
                    None => None,
                }
            }
            _ => None,
        }
    }

    /// The ledger mismatch. Any other number than 0 is a fault of droptrace.
    pub const fn unaccounted(&self) -> i128 {
        let messages = self.received as i128 - self.delivered as i128 - self.undecodable as i128;
        let drops = self.drops as i128 - self.accounted as i128 - self.overflow as i128 - self.filtered as i128;
        if messages != 0 { messages } else { drops }
    }
}

/// The ledger of the backend `counters`: the increase of the kernel's own counters. The number of drops that they do
/// not count cannot be known, and one packet may increase more than one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountersLedger {
    /// The backend's name in JSON.
    pub source: &'static str,
    /// The sum of all counters since the start.
    pub counted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: NetDmLedger = NetDmLedger {
        counts_losses: true,
        received: 12,
        delivered: 10,
        undecodable: 2,
        drops: 10,
        accounted: 7,
        overflow: 2,
        filtered: 1,
        tail_drops: Some(30),
        socket_drops: Some(400),
        overruns: 1,
        interruptions: 0,
        at_limit: 0,
        device_hints: 0,
        skipped_attributes: 0,
    };

    #[test]
    fn loss_is_known_only_if_each_loss_is_counted() {
        assert_eq!(SOUND.lost(), Some(432));
        assert_eq!(NetDmLedger { counts_losses: false, ..SOUND }.lost(), None);
        assert_eq!(NetDmLedger { tail_drops: None, ..SOUND }.lost(), None);
        assert_eq!(NetDmLedger { socket_drops: None, ..SOUND }.lost(), None);
        assert_eq!(NetDmLedger { interruptions: 1, ..SOUND }.lost(), None);
    }

    #[test]
    fn mismatch_of_either_sum_shows() {
        assert_eq!(SOUND.unaccounted(), 0);
        assert_eq!(NetDmLedger { received: 13, ..SOUND }.unaccounted(), 1);
        assert_eq!(NetDmLedger { accounted: 9, ..SOUND }.unaccounted(), -2);
    }

    #[test]
    fn filter_that_is_applied_later_keeps_the_sum() {
        let filtered = |drops| {
            let mut ledger = Ledger::NetDm(SOUND);
            ledger.filter(drops, 0, 9);
            let Ledger::NetDm(NetDmLedger { accounted, overflow, filtered, .. }) = ledger else { unreachable!() };
            (accounted, overflow, filtered)
        };
        assert_eq!(
            [filtered(0), filtered(3), filtered(8), filtered(99)],
            [(7, 2, 1), (4, 2, 4), (0, 1, 9), (0, 0, 10)]
        );
    }

    #[test]
    fn filter_that_is_applied_later_takes_unknown_namespaces_with_it() {
        let unknown = |drops, unknown| {
            let counted = EbpfLedger { hits: 9, accounted: 9, unknown_netns: 5, ..EbpfLedger::default() };
            let mut ledger = Ledger::Ebpf(counted);
            ledger.filter(drops, unknown, 9);
            let Ledger::Ebpf(EbpfLedger { accounted, filtered, unknown_netns, .. }) = ledger else { unreachable!() };
            (accounted, filtered, unknown_netns)
        };
        assert_eq!([unknown(9, 5), unknown(3, 1), unknown(4, 0)], [(0, 9, 0), (6, 3, 4), (5, 4, 5)]);
    }

    #[test]
    fn filter_that_is_applied_later_leaves_drops_without_a_record_undecided() {
        let undecided = |drops, recorded| {
            let counted = EbpfLedger { hits: 12, accounted: 9, overflow: 3, ..EbpfLedger::default() };
            let mut ledger = Ledger::Ebpf(counted);
            ledger.filter(drops, 0, recorded);
            let Ledger::Ebpf(ledger) = ledger else { unreachable!() };
            (ledger.unrecorded, ledger.filtered, ledger.mismatch())
        };
        assert_eq!([undecided(0, 12), undecided(5, 7), undecided(0, 0)], [(0, 0, 0), (5, 5, 0), (12, 0, 0)]);
    }
}
