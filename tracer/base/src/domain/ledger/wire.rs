//! The JSON form of ledgers.

use serde::{Deserialize, Serialize};

use super::{EbpfLedger, EventLedger, NetDmLedger};

/// Numbers that follow from other fields are written, and not read.
#[derive(Serialize, Deserialize)]
pub struct Ebpf {
    hits: u64,
    accounted: u64,
    overflow: u64,
    filtered: u64,
    #[serde(skip_deserializing)]
    lost: u64,
    /// `null` in the first recordings of kernels that skip no drop (before 5.12).
    missed: Option<u64>,
    /// The first recordings lack the next two fields.
    #[serde(default)]
    nested: u64,
    #[serde(default)]
    unknown_netns: u64,
    #[serde(default)]
    unrecorded: u64,
    events: Option<Events>,
    qdisc_unmatched: Option<u64>,
}

/// The ledger of events.
#[derive(Serialize, Deserialize)]
pub struct Events {
    offered: u64,
    submitted: u64,
    suppressed: u64,
    ring_full: u64,
    delivered: u64,
    undecodable: u64,
    #[serde(skip_deserializing)]
    pending: i128,
    unreadable: u64,
    /// The first recordings lack this field.
    #[serde(default)]
    rate: u32,
    #[serde(skip_deserializing)]
    site_rate: u64,
}

/// The ledger of the drop monitor.
#[derive(Serialize, Deserialize)]
pub struct NetDm {
    drops: u64,
    accounted: u64,
    overflow: u64,
    filtered: u64,
    /// `None` also if losses are not counted.
    lost: Option<u64>,
    tail_drops: Option<u64>,
    socket_drops: Option<u64>,
    received: u64,
    delivered: u64,
    undecodable: u64,
    overruns: u64,
    interruptions: u64,
    at_limit: u64,
    device_hints: u64,
    skipped_attributes: u64,
}

impl From<EbpfLedger> for Ebpf {
    fn from(ledger: EbpfLedger) -> Self {
        let EbpfLedger { hits, accounted, overflow, filtered, unknown_netns, nested, missed, .. } = ledger;
        let EbpfLedger { unrecorded, events, qdisc_unmatched, .. } = ledger;
        let (lost, events) = (ledger.lost(), events.map(Events::from));
        let missed = Some(missed);
        Self {
            hits,
            accounted,
            overflow,
            filtered,
            lost,
            missed,
            nested,
            unknown_netns,
            unrecorded,
            events,
            qdisc_unmatched,
        }
    }
}

impl From<Ebpf> for EbpfLedger {
    fn from(ledger: Ebpf) -> Self {
        let Ebpf { hits, accounted, overflow, filtered, lost: _, missed, nested, unknown_netns, unrecorded, .. } =
            ledger;
        let (events, qdisc_unmatched) = (ledger.events.map(EventLedger::from), ledger.qdisc_unmatched);
        let missed = missed.unwrap_or(0);
        Self { hits, accounted, overflow, filtered, unknown_netns, unrecorded, nested, missed, qdisc_unmatched, events }
    }
}

impl From<EventLedger> for Events {
    fn from(ledger: EventLedger) -> Self {
        let EventLedger { offered, submitted, suppressed, ring_full, delivered, undecodable, unreadable, rate } =
            ledger;
        let (pending, site_rate) = (ledger.pending(), ledger.site_rate());
        Self { offered, submitted, suppressed, ring_full, delivered, undecodable, pending, unreadable, rate, site_rate }
    }
}

impl From<Events> for EventLedger {
    fn from(events: Events) -> Self {
        let Events { offered, submitted, suppressed, ring_full, delivered, undecodable, unreadable, rate, .. } = events;
        Self { offered, submitted, suppressed, ring_full, delivered, undecodable, unreadable, rate }
    }
}

impl From<NetDmLedger> for NetDm {
    fn from(ledger: NetDmLedger) -> Self {
        let lost = ledger.lost();
        let NetDmLedger { received, delivered, undecodable, drops, accounted, overflow, filtered, .. } = ledger;
        let NetDmLedger { tail_drops, socket_drops, overruns, interruptions, at_limit, .. } = ledger;
        let NetDmLedger { device_hints, skipped_attributes, .. } = ledger;
        Self {
            drops,
            accounted,
            overflow,
            filtered,
            lost,
            tail_drops,
            socket_drops,
            received,
            delivered,
            undecodable,
            overruns,
            interruptions,
            at_limit,
            device_hints,
            skipped_attributes,
        }
    }
}

impl From<NetDm> for NetDmLedger {
    fn from(ledger: NetDm) -> Self {
        Self {
            counts_losses: ledger.lost.is_some(),
            received: ledger.received,
            delivered: ledger.delivered,
            undecodable: ledger.undecodable,
            drops: ledger.drops,
            accounted: ledger.accounted,
            overflow: ledger.overflow,
            filtered: ledger.filtered,
            tail_drops: ledger.tail_drops,
            socket_drops: ledger.socket_drops,
            overruns: ledger.overruns,
            interruptions: ledger.interruptions,
            at_limit: ledger.at_limit,
            device_hints: ledger.device_hints,
            skipped_attributes: ledger.skipped_attributes,
        }
    }
}
