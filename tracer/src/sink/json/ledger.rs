//! The ledger of each backend.

use serde::Serialize;

use super::hidden::Hidden;
use super::outside::Outside;
use super::{retransmit, symbol_of};
use crate::domain::attribution::AttributionLedger;
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::reason_name;
use crate::domain::ledger::wire::{Ebpf, NetDm};
use crate::domain::ledger::{CountersLedger, Ledger};
use crate::domain::report::{HeldBack, SourceReport};
use crate::sink::RunEnd;

/// The schema of a run's last line.
const LEDGER: &str = "droptrace.ledger.v1";

/// Largest number of listed drop sites with held-back records; `suppressed` has the sum of all.
const MOST_SITES: usize = 20;

/// `droptrace.ledger.v1`.
#[derive(Serialize)]
pub(super) struct LedgerLine<'r> {
    schema: &'static str,
    sources: Vec<WithRecords<'r>>,
    union: Option<&'r DedupeLedger>,
    attribution: Option<&'r AttributionLedger>,
    /// The sums of drops that were hidden.
    hidden: Vec<Hidden>,
    /// Null where retransmissions are not asked for.
    retransmissions: Option<retransmit::Ledger>,
    /// `None` where the kernel's counters are not read.
    outside: Option<Outside<'r>>,
    duration_ns: Option<u64>,
}

impl<'r> LedgerLine<'r> {
    pub(super) fn new(end: &RunEnd<'r>) -> Self {
        let sources = end.sources.iter().map(WithRecords::from).collect();
        let RunEnd { union, attribution, hidden, retransmissions, outside, duration, .. } = *end;
        let hidden = hidden.iter().map(Hidden::from).collect();
        let retransmissions = retransmissions.map(retransmit::Ledger::from);
        let duration_ns = duration.map(|duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        let outside = outside.map(Outside::from);
        Self { schema: LEDGER, sources, union, attribution, hidden, retransmissions, outside, duration_ns }
    }
}

/// The ledger of a backend, and the drop sites whose records were held back.
#[derive(Serialize)]
struct WithRecords<'r> {
    #[serde(flatten)]
    account: Account,
    held_back: Vec<Site<'r>>,
}

#[derive(Serialize)]
struct Site<'r> {
    reason: Option<&'r str>,
    subsystem: Option<&'r str>,
    symbol: Option<&'r str>,
    offset: Option<u64>,
    module: Option<&'r str>,
    records: u64,
}

impl<'r> From<&'r SourceReport> for WithRecords<'r> {
    fn from(report: &'r SourceReport) -> Self {
        let sites = report.held_back.iter().take(MOST_SITES).map(|HeldBack { reason, location, records }| {
            let (symbol, offset, module) = symbol_of(location);
            let (name, records) = (reason_name(reason), *records);
            Site { reason: name, subsystem: name.map(|_| &*reason.subsystem), symbol, offset, module, records }
        });
        Self { account: report.into(), held_back: sites.collect() }
    }
}

#[derive(Serialize)]
pub(crate) struct Account {
    source: &'static str,
    mode: &'static str,
    ledger: Shape,
}

/// Each backend has fields of its own; `accounted`, `overflow`, `filtered` and `lost` are common to all.
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
            Ledger::Counters(CountersLedger { counted, .. }) => {
                Shape::Counters(Counters { accounted: counted, overflow: 0, filtered: 0, lost: None })
            }
        };
        Self { source: report.ledger.source(), mode: report.mode, ledger }
    }
}
