//! The JSON form of `reconcile`, `droptrace.reconcile.v1`.

use std::io::{self, Write};

use serde::Serialize;

use super::head::Head;
use crate::domain::bracket::{BracketedCounter, ReconcileReport, Verdict};
use crate::outside::to_json;
use crate::sink::ReconcileSink;

/// Shows the counters as one line of JSON.
pub(crate) struct ReconcileJson<W> {
    out: W,
}

impl<W: Write> ReconcileJson<W> {
    /// Writes to `out`.
    pub(crate) const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> ReconcileSink for ReconcileJson<W> {
    fn report(&mut self, report: &ReconcileReport) -> io::Result<()> {
        let document = Document {
            head: Head::new(
                "droptrace.reconcile.v1",
                &report.host,
                report.started_at,
                report.duration,
                &report.sources,
            ),
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
    #[serde(flatten)]
    head: Head<'r>,
    readings: u32,
    namespaces: u32,
    wrong: usize,
    counters: Vec<Row<'r>>,
    gaps: &'r [String],
}

#[derive(Serialize)]
struct Row<'r> {
    counter: &'r str,
    netns: Option<u32>,
    netns_name: Option<&'r str>,
    ifindex: Option<u32>,
    interface: Option<&'r str>,
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
            netns: Some(counter.netns).filter(|inum| *inum != 0),
            netns_name: counter.netns_name.as_deref(),
            ifindex: counter.interface.as_ref().map(|interface| interface.ifindex),
            interface: counter.interface.as_ref().and_then(|interface| interface.name.as_deref()),
            class: counter.class,
            of: &counter.of,
            least: known(counter.least),
            most: known(counter.most),
            explained: counter.explained,
            possible: counter.possible,
            outside: known(counter.outside),
            verdict: counter.verdict.name(),
            by: match counter.verdict {
                Verdict::Excess(by) | Verdict::Missing(by) | Verdict::Undecided(by) => Some(by),
                _ => None,
            },
        }
    }
}
