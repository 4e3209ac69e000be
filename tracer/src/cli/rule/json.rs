//! The rules as a document.

use std::io::{self, Write};

use serde::Serialize;

use super::report::{Report, Row};
use crate::nftables::TABLE;
use crate::outside::to_json;
use crate::sink::packet_sentence;

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    host: &'d str,
    kernel: &'d str,
    netns: u32,
    netns_name: Option<&'d str>,
    filter: Option<&'d str>,
    duration_ms: u64,
    limit_per_second: u32,
    table: &'static str,
    table_has_owner: bool,
    rules: Vec<RuleJson<'d>>,
    ledger: LedgerJson,
    conntrack: Option<ConntrackJson>,
}

#[derive(Serialize)]
struct ConntrackJson {
    drops: u64,
    table_full: u64,
    clashes: u64,
    most_of_traced: u64,
}

#[derive(Serialize)]
struct RuleJson<'d> {
    family: &'static str,
    table: &'d str,
    chain: &'d str,
    hook: Option<&'static str>,
    handle: Option<u64>,
    is_policy: bool,
    table_was_replaced: bool,
    drops: u64,
    counter_rise: Option<u64>,
    text: Option<&'d str>,
    comment: Option<&'d str>,
    command: String,
    example: Example,
}

#[derive(Serialize)]
struct Example {
    source: Option<String>,
    destination: Option<String>,
    transport: Option<String>,
    length: u32,
    text: String,
}

#[derive(Serialize)]
struct LedgerJson {
    selected: u64,
    beyond_limit: u64,
    traced: u64,
    dropped_by_rules: u64,
    dropped_by_policies: u64,
    not_dropped: u64,
    filtered: u64,
    unknown: u64,
    fragments: u64,
    drops_of_unknown_packets: u64,
    malformed: u64,
    lost_messages: Option<u32>,
}

pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let document = Document {
        schema: "droptrace.rule.v1",
        host: &report.host.name,
        kernel: &report.host.kernel,
        netns: report.netns,
        netns_name: report.netns_name.as_deref(),
        filter: report.filter.as_deref(),
        duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        limit_per_second: report.limit,
        table: TABLE,
        table_has_owner: report.is_owned,
        rules: report.rows.iter().map(|row| rule(row, report)).collect(),
        ledger: ledger(report),
        conntrack: report.conntrack.map(|drops| ConntrackJson {
            drops: drops.all,
            table_full: drops.without_room(),
            clashes: drops.clashes,
            most_of_traced: report.most_by_conntrack(),
        }),
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

fn rule<'d>(row: &'d Row, report: &Report) -> RuleJson<'d> {
    let (id, rule) = (&row.drops.rule, row.rule.as_ref());
    let (packet, length) = (row.drops.example.decode(), row.drops.example.length);
    RuleJson {
        family: row.family(),
        table: &id.table,
        chain: &id.chain,
        hook: row.hook,
        handle: id.handle,
        is_policy: id.handle.is_none(),
        table_was_replaced: row.is_replaced,
        drops: row.drops.packets,
        counter_rise: row.rise,
        text: rule.and_then(|rule| rule.text.as_deref()),
        comment: rule.and_then(|rule| rule.comment.as_deref()),
        command: row.command(&report.entrance),
        example: Example {
            source: packet.source().map(|endpoint| endpoint.to_string()),
            destination: packet.destination().map(|endpoint| endpoint.to_string()),
            transport: packet.transport().map(|transport| transport.to_string()),
            length,
            text: packet_sentence(packet, length),
        },
    }
}

fn ledger(report: &Report) -> LedgerJson {
    let (ledger, trace) = (&report.ledger, &report.ledger.trace);
    LedgerJson {
        selected: ledger.sampled.selected,
        beyond_limit: ledger.beyond_limit(),
        traced: ledger.sampled.traced,
        dropped_by_rules: trace.by_rules,
        dropped_by_policies: trace.by_policies,
        not_dropped: trace.not_dropped(),
        filtered: trace.filtered,
        unknown: ledger.unseen(),
        fragments: trace.fragments,
        drops_of_unknown_packets: trace.unknown,
        malformed: trace.malformed,
        lost_messages: ledger.lost,
    }
}
