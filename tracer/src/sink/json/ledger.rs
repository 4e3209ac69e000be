//! The ledger of each source.

use serde::Serialize;

use crate::ledger::wire::{Ebpf, NetDm};
use crate::ledger::{CountersLedger, Ledger};
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
