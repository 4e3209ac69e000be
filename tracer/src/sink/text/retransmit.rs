//! Retransmissions: the lines of `trace --retransmits`, and those under the table of `stat --retransmits`.

use std::fmt::Write as _;
use std::time::Duration;

use super::ledger::LedgerLine;
use crate::dimension;
use crate::domain::retransmit::{
    Cause, Doubt, DropsFollowed, Loss, RetransmitEvent, RetransmitLedger, RetransmitReport,
};
use crate::render::number::Grouped;
use crate::render::time::TimeText;

/// Rows that are shown unless all are asked for.
const SITES: usize = 10;

/// `11:22:33.000000000  retransmission 10.0.0.1:5000 > 10.0.0.2:80, 1448 bytes of sequence from 77: 203.5 ms after NETFILTER_DROP at nf_hook_slow+0x5a`.
pub(super) fn line(event: &RetransmitEvent) -> String {
    let RetransmitEvent { source, destination, sequence, length, .. } = event;
    let time = TimeText::new(event.timestamp);
    let mut line = format!("{}  retransmission {source} > {destination}", time.time_of_day());
    _ = write!(line, ", sequence {sequence}, length {length}: ");
    match &event.loss {
        Loss::After(cause) => line.push_str(&after(cause)),
        Loss::Unmatched => line.push_str("no drop of it is known on this host"),
        Loss::Undecided(doubt) => _ = write!(line, "undecided: {}", why(*doubt)),
    }
    line
}

const fn why(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::DroppedWhileSending => "a drop of it may be the cause, or be that of this sending",
        Doubt::TwoNamespaces => "two network namespaces use these addresses and ports",
        Doubt::Forgotten => "the table had no room for all drops of the last 120 s",
    }
}

fn after(cause: &Cause) -> String {
    let (reason, site) = (dimension::reason(&cause.reason), dimension::site(&cause.location, usize::MAX));
    format!("{} ms after {reason} at {site}", milliseconds(cause.before))
}

fn milliseconds(span: Duration) -> String {
    format!("{:.3}", span.as_secs_f64() * 1e3)
}

/// The drops by drop site and reason: the first ones, or all.
pub(super) fn lines(report: &RetransmitReport, all: bool) -> Vec<String> {
    if report.sites.is_empty() {
        return vec![];
    }
    let shown = if all { usize::MAX } else { SITES };
    let mut lines = vec![String::new(), "Drops that a retransmission of TCP followed:".into()];
    lines.extend(report.sites.iter().take(shown).map(site_line));
    let hidden = report.sites.len().saturating_sub(shown);
    if hidden > 0 {
        let drops = report.sites.iter().skip(shown).map(|row| row.drops).sum();
        lines.push(format!("  … and {hidden} more with {} drops (--top 0 shows all)", Grouped(drops)));
    }
    lines
}

fn site_line(row: &DropsFollowed) -> String {
    let (reason, site) = (dimension::reason(&row.reason), dimension::site(&row.location, usize::MAX));
    let (drops, followed) = (Grouped(row.drops), Grouped(row.followed));
    let (not_followed, unknown) = (Grouped(row.not_followed), Grouped(row.unknown()));
    let unit = if row.drops == 1 { "drop" } else { "drops" };
    format!(
        "  {reason} at {site}: {drops} {unit} = {followed} followed + {not_followed} not followed + {unknown} unknown"
    )
}

/// `retransmissions: 10 = 7 after a drop on this host + 3 without a known drop + 0 undecided + 0 lost; 12 packets on the wire`.
pub(super) fn ledger(ledger: &RetransmitLedger) -> LedgerLine {
    let RetransmitLedger { retransmissions, segments, joined, unmatched, undecided, lost, drops_lost } = *ledger;
    let mut text =
        format!("retransmissions: {} = {} after a drop on this host", Grouped(retransmissions), Grouped(joined));
    _ = write!(text, " + {} without a known drop", Grouped(unmatched));
    _ = write!(text, " + {} undecided + {} lost", Grouped(undecided), Grouped(lost));
    let pending = ledger.pending();
    if pending > 0 {
        _ = write!(text, " + {pending} pending");
    }
    _ = write!(text, "; {} packets on the wire", Grouped(segments));
    if drops_lost > 0 {
        _ = write!(
            text,
            "; {} drops of TCP have no record, because the ring buffer was full: the numbers of drops that were followed are \
             lower bounds",
            Grouped(drops_lost)
        );
    }
    if pending < 0 {
        _ = write!(text, "; ledger mismatch: the sum is off by {pending}, a fault of droptrace");
    }
    LedgerLine { text, healthy: lost == 0 && drops_lost == 0 && pending >= 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{retransmission, retransmissions};

    #[test]
    fn a_retransmission_is_a_line() {
        let with_cause = retransmission();
        let others = [
            Loss::Unmatched,
            Loss::Undecided(Doubt::DroppedWhileSending),
            Loss::Undecided(Doubt::TwoNamespaces),
            Loss::Undecided(Doubt::Forgotten),
        ];
        let others = others.map(|loss| line(&RetransmitEvent { loss, ..with_cause.clone() }));
        insta::assert_snapshot!(format!("{}\n{}", line(&with_cause), others.join("\n")));
    }

    #[test]
    fn each_site_is_a_sum() {
        let report = retransmissions();
        let text = [lines(&report, false), vec![ledger(&report.ledger).text]].concat().join("\n");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn rows_that_are_left_out_are_counted() {
        let report = retransmissions();
        let many = RetransmitReport { sites: vec![report.sites[0].clone(); 13], ..report };
        assert!(lines(&many, false).last().unwrap().contains("and 3 more with 36 drops"));
        assert_eq!(lines(&many, true).len(), 15);
    }

    #[test]
    fn a_ledger_names_what_is_wrong() {
        let sound = retransmissions().ledger;
        assert!(ledger(&sound).healthy);
        let lost = ledger(&RetransmitLedger { drops_lost: 3, ..sound });
        assert!(!lost.healthy && lost.text.contains("3 drops of TCP have no record"), "{}", lost.text);
        let off = ledger(&RetransmitLedger { retransmissions: 0, ..sound });
        assert!(!off.healthy && off.text.contains("ledger mismatch"), "{}", off.text);
    }
}
