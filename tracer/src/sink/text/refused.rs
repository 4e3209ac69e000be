//! The lines of refused SYNs under the table of `stat`.

use std::fmt::Write as _;

use super::ledger::LedgerLine;
use crate::domain::owner::Process;
use crate::domain::refused::{RefusedReport, RefusedSyns};
use crate::outside::printable;
use crate::render::number::Grouped;

/// The greatest number of sockets with a line of their own, unless all are asked for, and of addresses in a line.
const MOST_LINES: usize = 5;
const MOST_SOURCES: usize = 3;

/// A line for each socket and cause, one for the others, and one for what is known in part.
pub(super) fn lines(report: &RefusedReport, is_final: bool, all: bool) -> Vec<LedgerLine> {
    let (shown, rest) = report.rows.split_at(report.rows.len().min(if all { usize::MAX } else { MOST_LINES }));
    let mut texts: Vec<_> = shown.iter().map(|row| line(row, all)).collect();
    if !rest.is_empty() {
        let packets = rest.iter().map(|row| row.packets).sum();
        texts.push(format!("refused SYNs: {} more rows with {} (--top 0 shows all)", rest.len(), Grouped(packets)));
    }
    if report.without_room > 0 {
        let packets = Grouped(report.without_room);
        texts.push(format!("refused SYNs: {packets} more, without their sockets, because the kernel's table was full"));
    }
    let missing = report.missing(report.packets());
    if is_final && missing != 0 {
        texts.push(format!("refused SYNs: ledger mismatch: the sum is off by {missing}, a fault of droptrace"));
    }
    texts.into_iter().map(|text| LedgerLine { text, healthy: false }).collect()
}

/// `refused SYNs: 82 by 10.0.0.2:80 in netns web (pid 812 gunicorn, shop/web): the accept queue was full; from 10.0.0.1: 80, 10.0.0.9: 2`.
fn line(row: &RefusedSyns, all: bool) -> String {
    let mut text = format!("refused SYNs: {} by {}", Grouped(row.packets), row.listener);
    match &row.netns_name {
        Some(name) => _ = write!(text, " in netns {}", printable(name)),
        None => _ = write!(text, " in netns {}", row.netns),
    }
    let process = row.process.as_ref().map(|Process { pid, comm }| {
        let comm = comm.as_deref().unwrap_or_default();
        format!("pid {pid} {}", printable(comm)).trim_end().to_owned()
    });
    let owner = row.owner.name().map(|name| printable(&name).to_string());
    let who: Vec<_> = process.into_iter().chain(owner).collect();
    if !who.is_empty() {
        _ = write!(text, " ({})", who.join(", "));
    }
    _ = write!(text, ": {}; from {}", row.refusal.clause(), sources(row, all));
    text
}

/// `10.0.0.1: 80, 10.0.0.9: 2, others: 7`.
fn sources(row: &RefusedSyns, all: bool) -> String {
    let shown = row.sources.iter().take(if all { usize::MAX } else { MOST_SOURCES });
    let mut texts: Vec<_> = shown.map(|(address, packets)| format!("{address}: {}", Grouped(*packets))).collect();
    let hidden = row.sources.iter().skip(texts.len());
    let (count, packets) = (hidden.clone().count(), hidden.map(|(_, packets)| packets).sum::<u64>());
    if count > 0 {
        texts.push(format!("{count} more: {}", Grouped(packets)));
    }
    if row.of_other_sources() > 0 {
        texts.push(format!("others, for which the table had no room: {}", Grouped(row.of_other_sources())));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::refused;

    fn text(report: &RefusedReport, all: bool) -> String {
        lines(report, true, all).into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn each_socket_and_cause_has_a_line() {
        insta::assert_snapshot!(text(&refused(), false));
    }

    #[test]
    fn rows_and_sources_that_are_left_out_are_counted() {
        let report = refused();
        let (few, all) = (text(&report, false), text(&report, true));
        assert!(few.contains(", 1 more: 1,") && !all.contains(" more:") && all.contains("192.0.2.4: 1"), "{few}{all}");
        let many = vec![report.rows[1].clone(); 7];
        let many = RefusedReport { refused: 7 * many[0].packets, rows: many, filtered: 0, without_room: 0 };
        assert!(text(&many, false).ends_with(" 2 more rows with 4 (--top 0 shows all)\n"), "{}", text(&many, false));
        assert_eq!(text(&many, true).lines().count(), 7);
    }

    #[test]
    fn a_final_sum_that_does_not_add_up_is_a_mismatch() {
        let off = RefusedReport { refused: refused().refused + 3, ..refused() };
        assert!(text(&off, false).contains("ledger mismatch: the sum is off by 3"));
        assert!(!lines(&off, false, false).iter().any(|line| line.text.contains("mismatch")));
    }
}
