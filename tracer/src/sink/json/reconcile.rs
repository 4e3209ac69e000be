//! The JSON form of `reconcile`, `droptrace.reconcile.v1`.

use std::io::{self, Write};

use serde::Serialize;

use super::ledger::Account;
use crate::domain::bracket::{BracketedCounter, ReconcileReport, Verdict};
use crate::outside::to_json;
use crate::render::time::TimeText;
use crate::sink::ReconcileSink;

/// Shows the counters as one line of JSON.
pub struct ReconcileJson<W> {
    out: W,
}

impl<W: Write> ReconcileJson<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> ReconcileSink for ReconcileJson<W> {
    fn report(&mut self, report: &ReconcileReport) -> io::Result<()> {
        let document = Document {
            schema: "droptrace.reconcile.v1",
            host: &report.host.name,
            kernel: &report.host.kernel,
            started_at: TimeText::new(report.started_at),
            duration_ns: u64::try_from(report.duration.as_nanos()).unwrap_or(u64::MAX),
            sources: report.sources.iter().map(Account::from).collect(),
            readings: report.readings,
            namespaces: report.namespaces,
            wrong: report.wrong(),
            counters: report.counters.iter().map(Row::from).collect(),
            gaps: &report.gaps,
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
    readings: u32,
    namespaces: u32,
    wrong: usize,
    counters: Vec<Row<'r>>,
    gaps: &'r [String],
}

#[derive(Serialize)]
struct Row<'r> {
    counter: &'r str,
    netns: u32,
    netns_name: Option<&'r str>,
    class: &'static str,
    of: &'r [String],
    least: Option<u64>,
    most: Option<u64>,
    explained: u64,
    possible: u64,
    outside: Option<u64>,
    verdict: &'static str,
    by: Option<u64>,
}

impl<'r> From<&'r BracketedCounter> for Row<'r> {
    fn from(counter: &'r BracketedCounter) -> Self {
        let known = |value| (counter.verdict != Verdict::Unknown).then_some(value);
        Self {
            counter: &counter.name,
            netns: counter.netns,
            netns_name: counter.netns_name.as_deref(),
            class: counter.class,
            of: &counter.of,
            least: known(counter.least),
            most: known(counter.most),
            explained: counter.explained,
            possible: counter.possible,
            outside: known(counter.outside),
            verdict: counter.verdict.name(),
            by: match counter.verdict {
                Verdict::Excess(by) | Verdict::Missing(by) => Some(by),
                _ => None,
            },
        }
    }
}
