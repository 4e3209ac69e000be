//! The ledger: what a source saw, what was kept of it, and what was lost, so that the sum is right or says that it
//! is not.

pub mod wire;

use crate::domain::event::Origin;

/// The account of one source, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Of the kernel program.
    Ebpf(EbpfLedger),
    /// Of the kernel's drop monitor.
    NetDm(NetDmLedger),
    /// Of the kernel's own counters.
    Counters(CountersLedger),
}

impl Ledger {
    /// The source's name in JSON.
    pub const fn source(&self) -> &'static str {
        match self {
            Self::Ebpf(_) => Origin::Ebpf.name(),
            Self::NetDm(_) => Origin::NetDm.name(),
            Self::Counters(_) => "counters",
        }
    }

    /// Drops that a filter left out.
    pub const fn filtered(&self) -> u64 {
        match self {
            Self::Ebpf(ledger) => ledger.filtered,
            Self::NetDm(ledger) => ledger.filtered,
            Self::Counters(_) => 0,
        }
    }

    /// The account of single drops, of a source that has one apart from its counts.
    pub const fn events(&self) -> Option<&EventLedger> {
        match self {
            Self::Ebpf(ledger) => ledger.events.as_ref(),
            Self::NetDm(_) | Self::Counters(_) => None,
        }
    }
}

/// The account of the eBPF source.
///
/// `hits = accounted + overflow + filtered`, in each reading; `lost = nested + missed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EbpfLedger {
    /// Runs of the kernel programs: drops seen, in hardware too.
    pub hits: u64,
    /// Drops counted by place.
    pub accounted: u64,
    /// Drops counted by reason only, for the map of places was full.
    pub overflow: u64,
    /// Drops that a filter left out.
    pub filtered: u64,
    /// Drops among those accounted whose network namespace is unknown, so that a filter could not decide on them.
    pub unknown_netns: u64,
    /// Drops that were not counted, because one of the programs was running already on that CPU.
    pub nested: u64,
    /// Drops that the kernel did not show to the program, which was running on that CPU already (`recursion_misses`,
    /// `kernel/trace/bpf_trace.c`).
    pub missed: u64,
    /// Exact reasons that queueing disciplines told and no drop took up: the drops, if they were any, have the general
    /// reason `QDISC_DROP`. None where the kernel has no such tracepoint.
    pub qdisc_unmatched: Option<u64>,
    /// The event plane; none when it is off.
    pub events: Option<EventLedger>,
}

impl EbpfLedger {
    /// Drops that are in none of the counts.
    pub const fn lost(&self) -> u64 {
        self.nested.saturating_add(self.missed)
    }

    /// What the sum is off by: 0, or the account is wrong.
    pub const fn mismatch(&self) -> i128 {
        self.hits as i128 - self.accounted as i128 - self.overflow as i128 - self.filtered as i128
    }
}

/// The account of the ring buffer: `offered = submitted + suppressed + ring_full` and, once drained,
/// `submitted = delivered + undecodable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventLedger {
    /// Drops that might have become records.
    pub offered: u64,
    /// Records written.
    pub submitted: u64,
    /// Records held back by the bounds.
    pub suppressed: u64,
    /// Records that found the ring full.
    pub ring_full: u64,
    /// Records that userspace read.
    pub delivered: u64,
    /// Records that made no sense.
    pub undecodable: u64,
    /// Records among those submitted that have no bytes of the packet, for no header was set or they could not be read.
    pub unreadable: u64,
    /// The bound: records a second of each flow at a site, on each CPU; 0 for none.
    pub rate: u32,
}

impl EventLedger {
    /// Records written and not read yet: 0 once the program is detached and the ring drained.
    pub const fn pending(&self) -> i128 {
        self.submitted as i128 - self.delivered as i128 - self.undecodable as i128
    }

    /// The bound on a site: records a second on each CPU, of which a share is kept for flows that have not shown for a
    /// second; 0 for none.
    pub const fn site_rate(&self) -> u64 {
        self.rate as u64 * (tracer_common::SITE_FACTOR + 1)
    }

    /// Offered drops that are in none of the counts: 0, or the account is wrong.
    pub const fn unaccounted(&self) -> i128 {
        self.offered as i128 - self.submitted as i128 - self.suppressed as i128 - self.ring_full as i128
    }
}

/// The account of the `NET_DM` source: `received = delivered + undecodable` in messages, and
/// `drops = accounted + overflow + filtered` in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetDmLedger {
    /// The kernel counts what it leaves out: packet mode only. Summary mode leaves out hits without a counter.
    pub counts_losses: bool,
    /// Alerts that came.
    pub received: u64,
    /// Alerts that made sense.
    pub delivered: u64,
    /// Alerts that did not, or that were cut.
    pub undecodable: u64,
    /// Drops that the alerts tell.
    pub drops: u64,
    /// Drops counted by place.
    pub accounted: u64,
    /// Drops counted by reason only, for there was no room for more places.
    pub overflow: u64,
    /// Drops that a filter left out.
    pub filtered: u64,
    /// Drops that found the monitor's queue full (`NET_DM_CMD_STATS_GET`); none where the kernel does not tell.
    pub tail_drops: Option<u64>,
    /// Alerts that the socket had no room for (`SO_MEMINFO`), each of which is a drop in packet mode; none where the
    /// kernel does not tell.
    pub socket_drops: Option<u64>,
    /// Times that the socket was found to have overrun (`ENOBUFS`).
    pub overruns: u64,
    /// Times that monitoring had ended or changed hands: what was dropped until it was noticed is in no count.
    pub interruptions: u64,
    /// Summary alerts with as many places as they can hold: hits at further ones are in no count.
    pub at_limit: u64,
    /// Hints that a device's own count of receive drops rose, which are no counts of packets.
    pub device_hints: u64,
    /// Attributes of types that are not known here.
    pub skipped_attributes: u64,
}

impl NetDmLedger {
    /// Drops that are in none of the counts; none when their number cannot be known.
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

    /// What the account is off by: 0, or it is wrong.
    pub const fn unaccounted(&self) -> i128 {
        let messages = self.received as i128 - self.delivered as i128 - self.undecodable as i128;
        let drops = self.drops as i128 - self.accounted as i128 - self.overflow as i128 - self.filtered as i128;
        if messages != 0 { messages } else { drops }
    }
}

/// The account of the kernel's own counters: what rose. How many drops they do not count cannot be known, and one
/// packet may move more than one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountersLedger {
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
    fn what_was_lost_is_known_only_where_each_loss_is_counted() {
        assert_eq!(SOUND.lost(), Some(432));
        assert_eq!(NetDmLedger { counts_losses: false, ..SOUND }.lost(), None);
        assert_eq!(NetDmLedger { tail_drops: None, ..SOUND }.lost(), None);
        assert_eq!(NetDmLedger { socket_drops: None, ..SOUND }.lost(), None);
        assert_eq!(NetDmLedger { interruptions: 1, ..SOUND }.lost(), None);
    }

    #[test]
    fn either_sum_that_is_off_shows() {
        assert_eq!(SOUND.unaccounted(), 0);
        assert_eq!(NetDmLedger { received: 13, ..SOUND }.unaccounted(), 1);
        assert_eq!(NetDmLedger { accounted: 9, ..SOUND }.unaccounted(), -2);
    }
}
