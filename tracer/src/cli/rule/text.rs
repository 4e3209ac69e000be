//! The rules as text.

use std::io::{self, Write};

use super::report::{Ledger, Report, Row};
use crate::cli::netlink::table;
use crate::explain::Entrance;
use crate::outside::printable;
use crate::sink::packet_sentence;

pub(super) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.rows.is_empty() {
        writeln!(out, "no rule and no policy dropped a traced packet")?;
    } else {
        let headings = ["DROPS", "COUNTER", "FAMILY", "TABLE", "CHAIN", "HOOK", "HANDLE", "RULE"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(headings).chain(report.rows.iter().map(cells)).collect();
        table::write(out, 0, [true, true, false, false, false, false, true, false], &rows)?;
        writeln!(out)?;
        report.rows.iter().try_for_each(|row| write_details(out, row, &report.entrance))?;
    }
    write_ledger(out, &report.ledger)?;
    write_conntrack(out, report)?;
    if report.rows.iter().any(|row| row.is_replaced) {
        writeln!(
            out,
            "        the ruleset changed during the run: the rules of tables that were deleted or made again are not shown, \
             because their handles may now be those of other rules"
        )?;
    }
    Ok(())
}

/// What connection tracking dropped, so that it is not taken for a rule's.
fn write_conntrack(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Some(drops) = report.conntrack.filter(|drops| drops.all > 0) else { return Ok(()) };
    writeln!(
        out,
        "        connection tracking dropped {} packets in this network namespace, which is no rule: {} because its table was \
         full, {} because another packet made the same entry; up to {} of them are among the traced packets \
         (droptrace explain conntrack_drop)",
        drops.all,
        drops.without_room(),
        drops.clashes,
        report.most_by_conntrack()
    )
}

fn cells(row: &Row) -> [String; 8] {
    let rule = &row.drops.rule;
    [
        row.drops.packets.to_string(),
        row.rise.map_or_else(|| "-".to_owned(), |rise| format!("+{rise}")),
        row.family().to_owned(),
        rule.table.to_string(),
        rule.chain.to_string(),
        row.hook.unwrap_or("-").to_owned(),
        rule.handle.map_or_else(|| "policy".to_owned(), |handle| handle.to_string()),
        row.text(),
    ]
}

/// The first packet, and the command that shows the rule.
fn write_details(out: &mut impl Write, row: &Row, entrance: &Entrance) -> io::Result<()> {
    let example = &row.drops.example;
    writeln!(out, "first packet: {}", printable(&packet_sentence(example.decode(), example.length)))?;
    let label = if row.is_replaced { "   chain now" } else { "    the rule" };
    writeln!(out, "{label}: {}", printable(&row.command(entrance)))
}

fn write_ledger(out: &mut impl Write, ledger: &Ledger) -> io::Result<()> {
    let trace = &ledger.trace;
    writeln!(
        out,
        "\nledger: {} traced = {} dropped by rules + {} by policies + {} not dropped here + {} filtered + {} unknown",
        ledger.sampled.traced,
        trace.by_rules,
        trace.by_policies,
        trace.not_dropped(),
        trace.filtered,
        ledger.unseen()
    )?;
    if ledger.beyond_limit() > 0 {
        let (beyond, selected) = (ledger.beyond_limit(), ledger.sampled.selected);
        writeln!(out, "        {beyond} of {selected} packets were not traced: they were beyond --limit")?;
    }
    if ledger.lost.is_some_and(|lost| lost > 0) {
        let lost = ledger.lost.unwrap_or_default();
        writeln!(
            out,
            "        {lost} messages were lost because the buffer was full: the drops are at least these; lower --limit"
        )?;
    }
    if trace.fragments > 0 {
        writeln!(
            out,
            "        {} of the unknown packets are fragments: connection tracking reassembles them before most rules",
            trace.fragments
        )?;
    }
    if trace.unknown > 0 {
        writeln!(out, "        {} drops of packets that others trace, or whose first message was lost", trace.unknown)?;
    }
    if trace.malformed > 0 {
        writeln!(out, "        {} messages made no sense", trace.malformed)?;
    }
    Ok(())
}
