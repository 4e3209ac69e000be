//! The ledger of each source.

use serde::Serialize;

use crate::ledger::{CountersLedger, EbpfLedger, EventLedger, Ledger, NetDmLedger};
use crate::pipeline::dedupe::DedupeLedger;
use crate::report::SourceReport;

/// The schema of a run's last line.
const LEDGER: &str = "droptrace.ledger.v1";

/// `droptrace.ledger.v1`.
#[derive(Serialize)]
pub(super) struct LedgerLine<'r> {
    schema: &'static str,
    sources: Vec<Account>,
    union: Option<&'r DedupeLedger>,
}

impl<'r> LedgerLine<'r> {
    pub(super) fn new(sources: &[SourceReport], union: Option<&'r DedupeLedger>) -> Self {
        Self { schema: LEDGER, sources: sources.iter().map(Account::from).collect(), union }
    }
}

#[derive(Serialize)]
pub(crate) struct Account {
    source: &'static str,
    mode: &'static str,
    ledger: Shape,
}

/// Each source has fields of its own; `accounted`, `overflow`, `filtered` and `lost` are common to all.
#[derive(Serialize)]
#[serde(untagged)]
enum Shape {
    Ebpf(Ebpf),
    NetDm(NetDm),
    Counters(Counters),
}

#[derive(Serialize)]
struct Ebpf {
    hits: u64,
    accounted: u64,
    overflow: u64,
    filtered: u64,
    lost: Option<u64>,
    missed: Option<u64>,
    unread: i128,
    events: Option<Events>,
    qdisc_untaken: Option<u64>,
}

#[derive(Serialize)]
struct Events {
    offered: u64,
    submitted: u64,
    suppressed: u64,
    ring_full: u64,
    delivered: u64,
    undecodable: u64,
    pending: i128,
    unreadable: u64,
}

#[derive(Serialize)]
struct NetDm {
    drops: u64,
    accounted: u64,
    overflow: u64,
    filtered: u64,
    lost: Option<u64>,
    tail_drops: Option<u64>,
    unheard: Option<u64>,
    received: u64,
    delivered: u64,
    undecodable: u64,
    overruns: u64,
    interruptions: u64,
    at_limit: u64,
    device_hints: u64,
    skipped_attributes: u64,
}

#[derive(Serialize)]
struct Counters {
    accounted: u64,
    overflow: u64,
    filtered: u64,
    lost: Option<u64>,
}

impl From<&SourceReport> for Account {
    fn from(report: &SourceReport) -> Self {
        let ledger = match report.ledger {
            Ledger::Ebpf(ledger) => Shape::Ebpf(ledger.into()),
            Ledger::NetDm(ledger) => Shape::NetDm(ledger.into()),
            Ledger::Counters(CountersLedger { counted }) => {
                Shape::Counters(Counters { accounted: counted, overflow: 0, filtered: 0, lost: None })
            }
        };
        Self { source: report.ledger.source(), mode: report.mode, ledger }
    }
}

impl From<EbpfLedger> for Ebpf {
    fn from(ledger: EbpfLedger) -> Self {
        let EbpfLedger { hits, accounted, overflow, filtered, missed, events, qdisc_untaken } = ledger;
        let (unread, events) = (ledger.unread(), events.map(Events::from));
        Self { hits, accounted, overflow, filtered, lost: missed, missed, unread, events, qdisc_untaken }
    }
}

impl From<EventLedger> for Events {
    fn from(ledger: EventLedger) -> Self {
        let EventLedger { offered, submitted, suppressed, ring_full, delivered, undecodable, unreadable } = ledger;
        let pending = ledger.pending();
        Self { offered, submitted, suppressed, ring_full, delivered, undecodable, pending, unreadable }
    }
}

impl From<NetDmLedger> for NetDm {
    fn from(ledger: NetDmLedger) -> Self {
        let lost = ledger.lost();
        let NetDmLedger { received, delivered, undecodable, drops, accounted, overflow, filtered, .. } = ledger;
        let NetDmLedger { tail_drops, unheard, overruns, interruptions, at_limit, .. } = ledger;
        let NetDmLedger { device_hints, skipped_attributes, .. } = ledger;
        Self {
            drops,
            accounted,
            overflow,
            filtered,
            lost,
            tail_drops,
            unheard,
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
