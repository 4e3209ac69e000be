//! The JSON form of a comparison, `droptrace.compare.v1`.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use super::head::Head;
use crate::dimension::{Dimensions, Members};
use crate::domain::compare::{Gap, Row, SCHEMA, Sums};
use crate::domain::dedupe::DedupeLedger;
use crate::domain::event::NamedKey;
use crate::domain::report::CompareReport;
use crate::outside::to_json;
use crate::sink::CompareSink;

/// Shows a comparison as one line of JSON.
pub(crate) struct CompareJson<W> {
    out: W,
}

impl<W: Write> CompareJson<W> {
    /// Writes to `out`.
    pub(crate) const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> CompareSink for CompareJson<W> {
    fn report(&mut self, report: &CompareReport) -> io::Result<()> {
        let by = Dimensions::named(&["reason", "site"]);
        let document = Document {
            head: Head::new(SCHEMA, &report.host, report.started_at, report.duration, &report.sources),
            union: report.union.as_ref(),
            total: &report.comparison.total,
            sites: report.comparison.sites.iter().map(|row| SiteRow::new(row, &by)).collect(),
        };
        to_json(&mut self.out, &document)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

#[derive(Serialize)]
struct Document<'r> {
    #[serde(flatten)]
    head: Head<'r>,
    union: Option<&'r DedupeLedger>,
    total: &'r Sums,
    sites: Vec<SiteRow<'r>>,
}

#[derive(Serialize)]
struct SiteRow<'r> {
    #[serde(flatten)]
    key: Members<'r>,
    ebpf: u64,
    net_dm: u64,
    difference: i128,
    not_by_net_dm: &'r Gap,
    not_by_ebpf: &'r Gap,
}

impl<'r> SiteRow<'r> {
    fn new(row: &'r Row<Arc<NamedKey>>, by: &Dimensions) -> Self {
        Self {
            key: by.members(&row.site),
            ebpf: row.ebpf,
            net_dm: row.net_dm,
            difference: row.difference,
            not_by_net_dm: &row.not_by_net_dm,
            not_by_ebpf: &row.not_by_ebpf,
        }
    }
}
