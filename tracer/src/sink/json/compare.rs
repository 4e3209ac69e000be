//! The JSON form of a comparison, `droptrace.compare.v1`.

use std::io::{self, Write};

use serde::Serialize;

use super::ledger::Account;
use super::{Address, Shown, symbol_of};
use crate::domain::compare::{Gap, Row, SCHEMA, Sums};
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::Place;
use crate::domain::event::reason_name;
use crate::domain::report::CompareReport;
use crate::outside::to_json;
use crate::render::time::TimeText;
use crate::sink::CompareSink;

/// Shows a comparison as one line of JSON.
pub struct CompareJson<W> {
    out: W,
}

impl<W: Write> CompareJson<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> CompareSink for CompareJson<W> {
    fn report(&mut self, report: &CompareReport) -> io::Result<()> {
        let document = Document {
            schema: SCHEMA,
            host: &report.host.name,
            kernel: &report.host.kernel,
            started_at: TimeText::new(report.started_at),
            duration_ns: u64::try_from(report.duration.as_nanos()).unwrap_or(u64::MAX),
            sources: report.sources.iter().map(Account::from).collect(),
            union: report.union.as_ref(),
            total: &report.comparison.total,
            sites: report.comparison.sites.iter().map(PlaceRow::from).collect(),
        };
        to_json(&mut self.out, &document)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

#[derive(Serialize)]
struct Document<'r> {
    schema: &'static str,
    host: &'r str,
    kernel: &'r str,
    started_at: TimeText,
    duration_ns: u64,
    sources: Vec<Account>,
    union: Option<&'r DedupeLedger>,
    total: &'r Sums,
    sites: Vec<PlaceRow<'r>>,
}

#[derive(Serialize)]
struct PlaceRow<'r> {
    reason: Option<&'r str>,
    subsystem: Option<&'r str>,
    symbol: Option<&'r str>,
    offset: Option<u64>,
    module: Option<&'r str>,
    address: Option<Shown<Address>>,
    ebpf: u64,
    net_dm: u64,
    difference: i128,
    not_by_net_dm: &'r Gap,
    not_by_ebpf: &'r Gap,
}

impl<'r> From<&'r Row<std::sync::Arc<Place>>> for PlaceRow<'r> {
    fn from(row: &'r Row<std::sync::Arc<Place>>) -> Self {
        let (symbol, offset, module) = symbol_of(&row.site.location);
        let reason = reason_name(&row.site.reason);
        Self {
            reason,
            subsystem: reason.map(|_| &*row.site.reason.subsystem),
            symbol,
            offset,
            module,
            address: Address::of(&row.site.location),
            ebpf: row.ebpf,
            net_dm: row.net_dm,
            difference: row.difference,
            not_by_net_dm: &row.not_by_net_dm,
            not_by_ebpf: &row.not_by_ebpf,
        }
    }
}
