//! The kernel's counters beside the ledger: what rose outside `kfree_skb`, and what could not be compared.

use std::fmt::Write as _;

use super::ledger::LedgerLine;
use crate::domain::reconciliation::{ListenerProcess, ReconciledCounter, Reconciliation, RefusingListener};
use crate::outside::printable;
use crate::render::number::Grouped;

/// The greatest number of counters with a line of their own.
const MOST_LINES: usize = 5;
/// The greatest number of listening sockets in a line.
const MOST_LISTENERS: usize = 3;

/// A line for each counter that rose outside `kfree_skb`, and `with_gaps` one for what could not be compared.
pub(super) fn lines(found: &Reconciliation, with_gaps: bool) -> Vec<LedgerLine> {
    let outside = found.outside();
    let (shown, rest) = outside.split_at(outside.len().min(MOST_LINES));
    let mut lines: Vec<_> = shown.iter().map(|counter| line(counter)).collect();
    if !rest.is_empty() {
        let packets = rest.iter().map(|counter| counter.outside).fold(0, u64::saturating_add);
        let text = format!("outside kfree_skb: {} more counters, {} in total", rest.len(), Grouped(packets));
        lines.push(LedgerLine { text, healthy: false });
    }
    if with_gaps && !found.gaps.is_empty() {
        let text = format!("counters: {}", found.gaps.join("; "));
        lines.push(LedgerLine { text: printable(&text).to_string(), healthy: true });
    }
    lines
}

/// `outside kfree_skb: 82 TcpExtListenDrops in netns web (listener 10.0.0.2:80, pid 812 gunicorn): SYNs that …; droptrace
/// explain TcpExtListenDrops`.
fn line(counter: &ReconciledCounter) -> LedgerLine {
    let ReconciledCounter { name, meaning, netns, netns_name, outside, .. } = counter;
    let mut text = format!("outside kfree_skb: {}", Grouped(*outside));
    if counter.undecided() > 0 {
        text.insert_str("outside kfree_skb: ".len(), "at least ");
    }
    match netns_name {
        Some(netns) => _ = write!(text, " {name} in netns {}", printable(netns)),
        None => _ = write!(text, " {name} in netns {netns}"),
    }
    text.push_str(&listeners(counter));
    _ = write!(text, ": {meaning}; droptrace explain {name}");
    LedgerLine { text, healthy: false }
}

/// ` (listener 10.0.0.2:80, pid 812 gunicorn)`; with the number of each where that of the counter is not all of one.
fn listeners(counter: &ReconciledCounter) -> String {
    let all = &counter.listeners;
    let is_one = matches!(&all[..], [only] if only.drops >= counter.rise);
    let mut shown: Vec<_> = all.iter().take(MOST_LISTENERS).map(|listener| one_listener(listener, !is_one)).collect();
    if all.len() > MOST_LISTENERS {
        shown.push(format!("{} more", all.len() - MOST_LISTENERS));
    }
    match all.len() {
        0 => String::new(),
        1 => format!(" (listener {})", shown.join("; ")),
        _ => format!(" (listeners {})", shown.join("; ")),
    }
}

/// `10.0.0.2:80, pid 812 gunicorn`, and the number behind it.
fn one_listener(listener: &RefusingListener, has_number: bool) -> String {
    let mut text = listener.address.to_string();
    if let Some(ListenerProcess { pid, comm }) = &listener.process {
        _ = write!(text, ", pid {pid}");
        if let Some(comm) = comm {
            _ = write!(text, " {}", printable(comm));
        }
    }
    if has_number {
        _ = write!(text, ": {}", Grouped(listener.drops));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(rise: u64, explained: u64, outside: u64) -> ReconciledCounter {
        ReconciledCounter {
            name: "TcpExtListenDrops".into(),
            meaning: "SYNs that a listener refused".into(),
            netns: 4_026_532_201,
            netns_name: Some("web".into()),
            rise,
            explained,
            outside,
            listeners: vec![],
        }
    }

    fn listener(port: u16, drops: u64, comm: Option<&str>) -> RefusingListener {
        let process = comm.map(|comm| ListenerProcess { pid: 812, comm: Some(comm.to_owned()) });
        RefusingListener { address: ([10, 0, 0, 2], port).into(), drops, process }
    }

    #[test]
    fn listeners_stand_behind_the_namespace_and_have_numbers_unless_one_has_all() {
        let with = |listeners| shown(vec![ReconciledCounter { listeners, ..counter(82, 0, 82) }], &[]).remove(0);
        let line = with(vec![listener(80, 82, Some("gunicorn"))]);
        assert!(line.contains(" in netns web (listener 10.0.0.2:80, pid 812 gunicorn): SYNs"), "{line}");
        let line = with(vec![listener(80, 50, Some("a\u{1b}")), listener(81, 32, None)]);
        assert!(line.contains(" (listeners 10.0.0.2:80, pid 812 a\u{fffd}: 50; 10.0.0.2:81: 32): "), "{line}");
        let line = with(vec![listener(80, 81, None)]);
        assert!(line.contains(" (listener 10.0.0.2:80: 81): "), "{line}");
        let line = with((1..=5).map(|port| listener(port, 9, None)).collect());
        assert!(line.contains("; 10.0.0.2:3: 9; 2 more): "), "{line}");
    }

    fn shown(counters: Vec<ReconciledCounter>, gaps: &[&str]) -> Vec<String> {
        let gaps = gaps.iter().map(|gap| (*gap).to_owned()).collect();
        lines(&Reconciliation { counters, namespaces: 1, gaps }, true).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn rise_outside_has_a_line_with_its_namespace_and_meaning() {
        let meaning = "SYNs that a listener refused; droptrace explain TcpExtListenDrops";
        assert_eq!(
            shown(vec![counter(1_082, 0, 1_082)], &[]),
            [format!("outside kfree_skb: 1,082 TcpExtListenDrops in netns web: {meaning}")]
        );
        let unnamed = ReconciledCounter { netns_name: None, ..counter(40, 5, 30) };
        assert_eq!(
            shown(vec![unnamed], &[]),
            [format!("outside kfree_skb: at least 30 TcpExtListenDrops in netns 4026532201: {meaning}")]
        );
        assert_eq!(shown(vec![counter(7, 7, 0)], &[]), [""; 0]);
    }

    #[test]
    fn many_counters_and_gaps_have_one_line_each() {
        let lines = shown((1..=8).map(|count| counter(count, 0, count)).collect(), &["a fell", "b\u{1b} ended"]);
        assert_eq!(lines.len(), MOST_LINES + 2);
        assert!(lines[0].starts_with("outside kfree_skb: 8 "), "{lines:?}");
        assert_eq!(lines[5], "outside kfree_skb: 3 more counters, 6 in total");
        assert!(lines[6].starts_with("counters: a fell; b") && !lines[6].contains('\u{1b}'), "{lines:?}");
    }
}
