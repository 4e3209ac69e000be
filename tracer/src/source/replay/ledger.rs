//! The accounts of the sources, as a recording's last line has them.

use serde::Deserialize;

use super::line::Refused;
use crate::ledger::{EbpfLedger, EventLedger, Ledger, NetDmLedger};
use crate::report::SourceReport;

/// Ways to listen, as `mode` has them.
const MODES: [&str; 4] = ["tp_btf", "raw_tracepoint", "packet", "summary"];

#[derive(Deserialize)]
struct Line {
    sources: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    source: String,
    mode: String,
    ledger: serde_json::Value,
}

/// Fields that follow from others are left out.
#[derive(Deserialize)]
struct Ebpf {
    hits: u64,
    accounted: u64,
    overflow: u64,
    filtered: u64,
    missed: Option<u64>,
    events: Option<Events>,
    qdisc_untaken: Option<u64>,
}

#[derive(Deserialize)]
struct Events {
    offered: u64,
    submitted: u64,
    suppressed: u64,
    ring_full: u64,
    delivered: u64,
    undecodable: u64,
    unreadable: u64,
}

#[derive(Deserialize)]
struct NetDm {
    drops: u64,
    accounted: u64,
    overflow: u64,
    filtered: u64,
    /// None also where the losses are not counted.
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

/// Reads the last line.
pub(super) fn parse(line: &[u8]) -> Result<Vec<SourceReport>, Refused> {
    let Line { sources } = serde_json::from_slice(line)?;
    sources.into_iter().map(report).collect()
}

fn report(account: Account) -> Result<SourceReport, Refused> {
    let mode = MODES.into_iter().find(|mode| *mode == account.mode).ok_or(Refused::Field("an unknown `mode`"))?;
    let ledger = match account.source.as_str() {
        "ebpf" => Ledger::Ebpf(serde_json::from_value::<Ebpf>(account.ledger)?.into()),
        "net_dm" => Ledger::NetDm(serde_json::from_value::<NetDm>(account.ledger)?.into()),
        _ => return Err(Refused::Field("`source` is neither ebpf nor net_dm")),
    };
    Ok(SourceReport { mode, ledger })
}

impl From<Ebpf> for EbpfLedger {
    fn from(ledger: Ebpf) -> Self {
        let Ebpf { hits, accounted, overflow, filtered, missed, events, qdisc_untaken } = ledger;
        Self { hits, accounted, overflow, filtered, missed, events: events.map(EventLedger::from), qdisc_untaken }
    }
}

impl From<Events> for EventLedger {
    fn from(events: Events) -> Self {
        let Events { offered, submitted, suppressed, ring_full, delivered, undecodable, unreadable } = events;
        Self { offered, submitted, suppressed, ring_full, delivered, undecodable, unreadable }
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
            unheard: ledger.unheard,
            overruns: ledger.overruns,
            interruptions: ledger.interruptions,
            at_limit: ledger.at_limit,
            device_hints: ledger.device_hints,
            skipped_attributes: ledger.skipped_attributes,
        }
    }
}
