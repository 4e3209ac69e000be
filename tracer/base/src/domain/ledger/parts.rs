//! The ledger of a part of a run, and the sum of such parts.

use super::{CountersLedger, EbpfLedger, EventLedger, Ledger, NetDmLedger};

/// Combines two counts.
type Combine = fn(u64, u64) -> u64;

impl Ledger {
    /// The ledger of the time since `earlier`, which is a ledger of the same run; the whole ledger if that is of another backend.
    /// A number that is unknown now, or was then, is unknown.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.combined(earlier, u64::saturating_sub).unwrap_or(*self)
    }

    /// The sum with another part; `None` if that is of another backend. A number that is unknown in either part is unknown, but
    /// for the ledger of events, which a part may lack.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let mut sum = self.combined(other, u64::saturating_add)?;
        if let (Self::Ebpf(sum), Self::Ebpf(one), Self::Ebpf(other)) = (&mut sum, self, other) {
            sum.events = sum.events.or(one.events).or(other.events);
        }
        Some(sum)
    }

    fn combined(&self, other: &Self, with: Combine) -> Option<Self> {
        match (self, other) {
            (Self::Ebpf(one), Self::Ebpf(other)) => Some(Self::Ebpf(ebpf(one, other, with))),
            (Self::NetDm(one), Self::NetDm(other)) => Some(Self::NetDm(net_dm(one, other, with))),
            (Self::Counters(one), Self::Counters(other)) if one.source == other.source => {
                Some(Self::Counters(CountersLedger { source: one.source, counted: with(one.counted, other.counted) }))
            }
            _ => None,
        }
    }
}

fn known(one: Option<u64>, other: Option<u64>, with: Combine) -> Option<u64> {
    one.zip(other).map(|(one, other)| with(one, other))
}

fn ebpf(one: &EbpfLedger, other: &EbpfLedger, with: Combine) -> EbpfLedger {
    EbpfLedger {
        hits: with(one.hits, other.hits),
        accounted: with(one.accounted, other.accounted),
        overflow: with(one.overflow, other.overflow),
        filtered: with(one.filtered, other.filtered),
        unknown_netns: with(one.unknown_netns, other.unknown_netns),
        unrecorded: with(one.unrecorded, other.unrecorded),
        nested: with(one.nested, other.nested),
        missed: with(one.missed, other.missed),
        qdisc_unmatched: known(one.qdisc_unmatched, other.qdisc_unmatched, with),
        events: one.events.zip(other.events).map(|(one, other)| events(&one, &other, with)),
    }
}

/// The limit of the sampler is not a count: it is that of `one`.
fn events(one: &EventLedger, other: &EventLedger, with: Combine) -> EventLedger {
    EventLedger {
        offered: with(one.offered, other.offered),
        submitted: with(one.submitted, other.submitted),
        suppressed: with(one.suppressed, other.suppressed),
        ring_full: with(one.ring_full, other.ring_full),
        delivered: with(one.delivered, other.delivered),
        undecodable: with(one.undecodable, other.undecodable),
        unreadable: with(one.unreadable, other.unreadable),
        rate: one.rate,
    }
}

fn net_dm(one: &NetDmLedger, other: &NetDmLedger, with: Combine) -> NetDmLedger {
    NetDmLedger {
        counts_losses: one.counts_losses && other.counts_losses,
        received: with(one.received, other.received),
        delivered: with(one.delivered, other.delivered),
        undecodable: with(one.undecodable, other.undecodable),
        drops: with(one.drops, other.drops),
        accounted: with(one.accounted, other.accounted),
        overflow: with(one.overflow, other.overflow),
        filtered: with(one.filtered, other.filtered),
        tail_drops: known(one.tail_drops, other.tail_drops, with),
        socket_drops: known(one.socket_drops, other.socket_drops, with),
        overruns: with(one.overruns, other.overruns),
        interruptions: with(one.interruptions, other.interruptions),
        at_limit: with(one.at_limit, other.at_limit),
        device_hints: with(one.device_hints, other.device_hints),
        skipped_attributes: with(one.skipped_attributes, other.skipped_attributes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_run_add_up_to_it() {
        let events = |count| EventLedger { offered: count + 3, delivered: count, rate: 7, ..EventLedger::default() };
        let at = |count: u64| {
            Ledger::Ebpf(EbpfLedger {
                hits: 2 * count,
                accounted: count,
                filtered: count,
                missed: count / 2,
                qdisc_unmatched: Some(count),
                events: Some(events(count)),
                ..EbpfLedger::default()
            })
        };
        let parts = [at(10), at(25).since(&at(10)), at(90).since(&at(25))];
        let sum = parts[0].plus(&parts[1]).unwrap().plus(&parts[2]).unwrap();
        assert_eq!(sum, at(90));
        let of_counters = |counted| Ledger::Counters(CountersLedger { source: "counters", counted });
        assert_eq!(of_counters(9).since(&of_counters(4)).plus(&of_counters(4)), Some(of_counters(9)));
        assert_eq!(at(1).plus(&of_counters(1)), None);
        assert_eq!(at(5).since(&of_counters(1)), at(5));
    }

    #[test]
    fn unknown_numbers_stay_unknown() {
        let known =
            NetDmLedger { counts_losses: true, tail_drops: Some(4), socket_drops: Some(1), ..NetDmLedger::default() };
        let unknown = NetDmLedger { tail_drops: None, ..known };
        assert_eq!(Ledger::NetDm(known).plus(&Ledger::NetDm(known)).and_then(|sum| sum.lost()), Some(10));
        assert_eq!(Ledger::NetDm(known).plus(&Ledger::NetDm(unknown)).and_then(|sum| sum.lost()), None);
    }
}
