//! `droptrace.stat.v1`.

use std::cmp::Reverse;
use std::io::{self, Write};

use serde::Serialize;

use super::head::Head;
use super::hidden::Hidden;
use super::keys::Keyed;
use super::outside::Outside;
use super::past::Past;
use super::refused::RefusedSyns;
use super::retransmit::Retransmissions;
use super::stack::StacksRow;
use super::trace::Origins;
use crate::dimension::{Dimension, Dimensions};
use crate::domain::attribution::AttributionLedger;
use crate::domain::event::reason_name;
use crate::domain::flow_ledger::FlowLedger;
use crate::domain::report::StatReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::{Usual, usual_of_reason};
use crate::outside::to_json;
use crate::render::rank::{Ranking, Sort};
use crate::render::time::TimeText;
use crate::sink::StatSink;

/// Shows totals as JSON, one document a line for each report.
pub(crate) struct StatJson<W> {
    out: W,
    ranking: Ranking,
    by: Dimensions,
}

impl<W: Write> StatJson<W> {
    /// Writes to `out`, all rows in the order of `sort`, with the members of the dimensions `by`.
    pub(crate) fn new(out: W, sort: Sort, by: Dimensions) -> Self {
        Self { out, ranking: Ranking::new(sort), by }
    }
}

impl<W: Write> StatSink for StatJson<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        let (ranks, _) = self.ranking.rank(report);
        let document = Document {
            head: Head::new("droptrace.stat.v1", &report.host, report.started_at, report.duration, &report.sources),
            by: self.by.iter().map(Dimension::name).collect(),
            drops: ranks.iter().map(|rank| Row::new(rank.total, &self.by)).collect(),
            not_packets: not_packets(&report.drops, &self.by),
            overflow: report.overflow.iter().map(Overflow::from).collect(),
            hidden: report.hidden.iter().map(Hidden::from).collect(),
            r#final: report.is_final,
            own_netlink_drops: report.own_netlink_drops,
            attribution: report.attribution,
            flows: report.flows,
            stacks: report.stacks.as_deref().map(|sites| sites.iter().map(StacksRow::from).collect()),
            retransmissions: report.retransmissions.as_ref().map(Retransmissions::from),
            refused_syns: report.refused.as_ref().map(RefusedSyns::from),
            outside: report.outside.as_ref().map(Outside::from),
            past: report.past.as_ref().map(Past::from),
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
    /// The dimensions by which drops are grouped.
    by: Vec<&'static str>,
    drops: Vec<Row<'r>>,
    /// Drops that pass the tracepoint and are no packets of a network.
    not_packets: Vec<Row<'r>>,
    overflow: Vec<Overflow<'r>>,
    /// The sums of drops that were hidden.
    hidden: Vec<Hidden>,
    r#final: bool,
    own_netlink_drops: Option<u64>,
    /// Whose packets were dropped; absent where owners are not asked for.
    attribution: Option<AttributionLedger>,
    /// The flows of dropped packets; absent where flows are not asked for.
    flows: Option<FlowLedger>,
    /// Call stacks of sampled drops; absent where they are not asked for.
    stacks: Option<Vec<StacksRow<'r>>>,
    /// Retransmissions of TCP, and the drops that they followed; null where they are not asked for.
    retransmissions: Option<Retransmissions<'r>>,
    /// SYNs that listening sockets refused; null where they are not counted.
    refused_syns: Option<RefusedSyns<'r>>,
    /// The kernel's counters beside the backend; absent where they are not read.
    outside: Option<Outside<'r>>,
    /// The intervals of an agent's history; absent for a run and for a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    past: Option<Past<'r>>,
}

/// The kinds with the most drops first.
fn not_packets<'r>(drops: &'r [DropTotal], by: &Dimensions) -> Vec<Row<'r>> {
    let mut found: Vec<_> = drops.iter().filter(|total| !total.key.kind.is_packet()).collect();
    found.sort_by_key(|total| (Reverse(total.packets), total.key.location.address));
    found.into_iter().map(|total| Row::new(total, by)).collect()
}

#[derive(Serialize)]
struct Row<'r> {
    #[serde(flatten)]
    key: Keyed<'r>,
    packets: u64,
    packets_at_most: Option<u64>,
    bytes: Option<u64>,
    first_seen: TimeText,
    last_seen: TimeText,
    netlink: bool,
    seen_by: Origins<'r>,
}

impl<'r> Row<'r> {
    fn new(total: &'r DropTotal, by: &Dimensions) -> Self {
        Self {
            key: Keyed::new(&total.key, by),
            packets: total.packets,
            packets_at_most: Some(total).filter(|_| by.flow_facts() != 0).and_then(DropTotal::at_most),
            bytes: total.bytes,
            first_seen: TimeText::new(total.first_seen),
            last_seen: TimeText::new(total.last_seen),
            netlink: total.key.is_netlink_message(),
            seen_by: Origins(total.seen_by),
        }
    }
}

#[derive(Serialize)]
struct Overflow<'r> {
    reason: Option<&'r str>,
    subsystem: Option<&'r str>,
    usual: Option<&'static str>,
    packets: u64,
    bytes: Option<u64>,
}

impl<'r> From<&'r OverflowTotal> for Overflow<'r> {
    fn from(total: &'r OverflowTotal) -> Self {
        let names = total.reason.as_deref().and_then(|reason| Some((reason_name(reason)?, &*reason.subsystem)));
        let (reason, subsystem) = names.unzip();
        let usual = usual_of_reason(reason).map(Usual::name);
        Self { reason, subsystem, usual, packets: total.packets, bytes: total.bytes }
    }
}
