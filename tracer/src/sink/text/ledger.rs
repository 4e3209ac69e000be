//! The ledger in one line for each source and for its records.

use std::fmt::Write as _;

use crate::dimension;
use crate::domain::attribution::AttributionLedger;
use crate::domain::dedupe::DedupeLedger;
use crate::domain::flow_ledger::FlowLedger;
use crate::domain::ledger::{CountersLedger, EbpfLedger, EventLedger, Ledger, NetDmLedger};
use crate::domain::report::{HeldBack, SourceReport};
use crate::render::number::Grouped;

/// Largest number of listed drop sites with held-back records.
const MOST_SITES: usize = 3;

/// A line, and whether it reports no problem.
#[derive(Clone, Debug)]
pub(crate) struct LedgerLine {
    pub(crate) text: String,
    pub(crate) healthy: bool,
}

impl LedgerLine {
    /// A line that reports no problem.
    pub(super) const fn plain(text: String) -> Self {
        Self { text, healthy: true }
    }
}

/// One line for each source.
pub(super) fn accounting(sources: &[SourceReport]) -> Vec<LedgerLine> {
    let lines = sources.iter().map(|source| {
        let mut text = named("ledger", sources, source);
        let healthy = match &source.ledger {
            Ledger::Ebpf(ledger) => ebpf(&mut text, ledger),
            Ledger::NetDm(ledger) => net_dm(&mut text, ledger),
            Ledger::Counters(CountersLedger { counted, .. }) => {
                _ = write!(text, "counters rose by {} in total, some of them for the same packet; ", Grouped(*counted));
                text.push_str("lost: unknown (most drops have no counter)");
                false
            }
        };
        LedgerLine { text, healthy }
    });
    lines.collect()
}

/// `owners: 997 attributed + 3 unknown + 7 without a socket (5 of them in a container's namespace or on a link to one) + 0 without room`.
pub(super) fn attribution(ledger: &AttributionLedger) -> LedgerLine {
    let AttributionLedger { attributed, unknown, no_socket, no_room, resident } = *ledger;
    let mut text = format!("owners: {} attributed", Grouped(attributed));
    _ = write!(text, " + {} unknown + {} without a socket", Grouped(unknown), Grouped(no_socket));
    if resident > 0 {
        _ = write!(text, " ({} of them in a container's namespace or on a link to one)", Grouped(resident));
    }
    _ = write!(text, " + {} without room", Grouped(no_room));
    LedgerLine { text, healthy: no_room == 0 }
}

/// `flows: 990 by flow + 7 of other flows + 3 without a flow + 0 without room`.
pub(super) fn flows(ledger: &FlowLedger) -> LedgerLine {
    let FlowLedger { by_flow, others, no_flow, no_room, most_more } = *ledger;
    let mut text = format!("flows: {} by flow + {} of other flows", Grouped(by_flow), Grouped(others));
    _ = write!(text, " + {} without a flow + {} without room", Grouped(no_flow), Grouped(no_room));
    if most_more > 0 {
        _ = write!(text, "; a row may have up to {} more", Grouped(most_more));
    }
    LedgerLine { text, healthy: no_room == 0 }
}

/// `10 hits = 10 accounted + 0 overflow + 0 filtered; nothing lost of the drops in kfree_skb`.
///
/// On a ledger mismatch, the line says that the sums do not agree.
fn ebpf(text: &mut String, ledger: &EbpfLedger) -> bool {
    let EbpfLedger { hits, accounted, overflow, filtered, unknown_netns, unrecorded, qdisc_unmatched, .. } = *ledger;
    _ = write!(text, "{} hits = {} accounted", Grouped(hits), Grouped(accounted));
    _ = write!(text, " + {} overflow + {} filtered", Grouped(overflow), Grouped(filtered));
    text.push_str("; ");
    match ledger.lost() {
        0 => text.push_str("nothing lost of the drops in kfree_skb"),
        lost => {
            _ = write!(text, "lost {} (the BPF program was already running on that CPU)", Grouped(lost));
        }
    }
    if unknown_netns > 0 {
        _ = write!(
            text,
            "; {} of the accounted have an unknown network namespace, so the filter could not decide on them",
            Grouped(unknown_netns)
        );
    }
    if unrecorded > 0 {
        _ = write!(
            text,
            "; {} of the drops have no record, so the filter could not decide on them",
            Grouped(unrecorded)
        );
    }
    if let Some(qdisc_unmatched) = qdisc_unmatched.filter(|qdisc_unmatched| *qdisc_unmatched > 0) {
        _ = write!(text, "; up to {} qdisc drops without their exact reason", Grouped(qdisc_unmatched));
    }
    let mismatch = ledger.mismatch();
    if mismatch != 0 {
        _ = write!(text, "; ledger mismatch: the sum is off by {mismatch}, a fault of droptrace");
    }
    mismatch == 0 && ledger.lost() == 0
}

/// `10 drops = 10 accounted + 0 overflow + 0 filtered; nothing lost of the drops in kfree_skb`.
fn net_dm(text: &mut String, ledger: &NetDmLedger) -> bool {
    let NetDmLedger { drops, accounted, overflow, filtered, tail_drops, socket_drops, undecodable, .. } = *ledger;
    _ = write!(text, "{} drops = {} accounted", Grouped(drops), Grouped(accounted));
    _ = write!(text, " + {} overflow + {} filtered; ", Grouped(overflow), Grouped(filtered));
    match ledger.lost() {
        Some(0) => text.push_str("nothing lost of the drops in kfree_skb"),
        Some(lost) => {
            let (queue, socket) = (tail_drops.unwrap_or_default(), socket_drops.unwrap_or_default());
            _ = write!(text, "lost {} = {} because the kernel's queue was full", Grouped(lost), Grouped(queue));
            _ = write!(
                text,
                " + {} because the socket was full + {} undecodable",
                Grouped(socket),
                Grouped(undecodable)
            );
        }
        None => _ = write!(text, "lost: unknown ({})", unknown(ledger)),
    }
    let off = ledger.unaccounted();
    if off != 0 {
        _ = write!(text, "; ledger mismatch: the sum is off by {off}, a fault of droptrace");
    }
    off == 0 && ledger.lost() == Some(0)
}

fn times(count: u64) -> String {
    if count == 1 { "once".into() } else { format!("{} times", Grouped(count)) }
}

/// The reason why the number of lost drops is unknown.
fn unknown(ledger: &NetDmLedger) -> String {
    let mut why = Vec::new();
    if !ledger.counts_losses {
        why.push("summary mode leaves out hits while it sends its counts, and does not count them".to_owned());
    }
    if ledger.at_limit > 0 {
        why.push(format!("{} summaries were full at 64 drop sites", Grouped(ledger.at_limit)));
    }
    if ledger.overruns > 0 {
        why.push(format!("the socket overran {}", times(ledger.overruns)));
    }
    if ledger.interruptions > 0 {
        why.push(format!("other processes stopped or took over the drop monitor {}", times(ledger.interruptions)));
    }
    if why.is_empty() { "this kernel does not report the number".into() } else { why.join("; ") }
}

/// `records: 10 offered = 10 submitted + 0 suppressed + 0 ring_full; 10 submitted = 10 delivered + 0 undecodable`.
pub(super) fn events(sources: &[SourceReport]) -> Vec<LedgerLine> {
    let with_events = sources.iter().filter_map(|source| Some((source, *source.ledger.events()?)));
    let lines = with_events.map(|(source, ledger)| {
        let EventLedger { offered, submitted, suppressed, ring_full, delivered, undecodable, .. } = ledger;
        let mut text = named("records", sources, source);
        _ = write!(text, "{} offered = {} submitted", Grouped(offered), Grouped(submitted));
        _ = write!(text, " + {} suppressed", Grouped(suppressed));
        if suppressed > 0 {
            text.push_str(" (counted, not shown; --all shows every drop)");
        }
        _ = write!(text, " + {} ring_full", Grouped(ring_full));
        if ring_full > 0 {
            text.push_str(" (counted, not shown; raise --ring-size)");
        }
        _ = write!(text, "; {} submitted = {} delivered", Grouped(submitted), Grouped(delivered));
        _ = write!(text, " + {} undecodable", Grouped(undecodable));
        let (pending, unaccounted) = (ledger.pending(), ledger.unaccounted());
        if pending != 0 {
            _ = write!(text, " + {pending} pending");
        }
        if unaccounted != 0 {
            _ = write!(text, "; ledger mismatch: the sum is off by {unaccounted}, a fault of droptrace");
        }
        let healthy = undecodable == 0 && pending >= 0 && unaccounted == 0;
        let held_back = held_back(source, &ledger).map(|text| LedgerLine { text, healthy: true });
        [Some(LedgerLine { text, healthy }), held_back]
    });
    lines.flatten().flatten().collect()
}

/// `held back: 10 at udp_queue_rcv_one_skb+0x437 (SOCKET_RCVBUFF); limit for each CPU: 5 records a second of each flow, 55 of
/// each drop site and reason`.
fn held_back(source: &SourceReport, ledger: &EventLedger) -> Option<String> {
    let (first, rest) = source.held_back.split_at_checked(MOST_SITES).unwrap_or((&source.held_back, &[]));
    let sites: Vec<String> = first.iter().map(site).collect();
    let shown: u64 = first.iter().map(|site| site.records).sum();
    let mut text = format!("held back: {}", sites.join(", "));
    if !rest.is_empty() {
        _ = write!(text, ", {} elsewhere", Grouped(ledger.suppressed.saturating_sub(shown)));
    }
    _ = write!(text, "; limit for each CPU: {} records a second of each flow", Grouped(ledger.rate.into()));
    _ = write!(text, ", {} of each drop site and reason", Grouped(ledger.site_rate()));
    (!source.held_back.is_empty()).then_some(text)
}

fn site(HeldBack { reason, location, records }: &HeldBack) -> String {
    format!("{} at {} ({})", Grouped(*records), dimension::site(location, usize::MAX), dimension::reason(reason))
}

/// `union: 20 seen by ebpf + 18 by net_dm = 20 drops + 18 seen by both`.
pub(super) fn union(ledger: &DedupeLedger) -> LedgerLine {
    let DedupeLedger { ebpf, net_dm, unique, duplicates, pending } = *ledger;
    let mut text = format!("union: {} seen by ebpf", Grouped(ebpf.delivered));
    _ = write!(text, " + {} by net_dm = {} drops", Grouped(net_dm.delivered), Grouped(unique));
    _ = write!(text, " + {} seen by both", Grouped(duplicates));
    if pending > 0 {
        _ = write!(text, " + {} pending", Grouped(pending));
    }
    _ = write!(text, "; by ebpf only {}", Grouped(ebpf.alone.total()));
    let without = ebpf.alone.no_mac_header;
    if without > 0 {
        _ = write!(text, " (of them {} without a MAC header, which net_dm leaves out)", Grouped(without));
    }
    _ = write!(text, ", by net_dm only {}", Grouped(net_dm.alone.total()));
    let unaccounted = ledger.unaccounted();
    if unaccounted != 0 {
        _ = write!(text, "; ledger mismatch: the sum is off by {unaccounted}, a fault of droptrace");
    }
    LedgerLine { text, healthy: unaccounted == 0 }
}

/// The name of the line, with the source's name where there are several sources.
fn named(what: &str, sources: &[SourceReport], source: &SourceReport) -> String {
    if sources.len() > 1 { format!("{what} ({}): ", source.ledger.source()) } else { format!("{what}: ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::net_dm_source;

    fn line(ledger: EbpfLedger) -> (String, bool) {
        one(SourceReport { mode: "tp_btf", ledger: Ledger::Ebpf(ledger), held_back: vec![] })
    }

    fn one(source: SourceReport) -> (String, bool) {
        let mut lines = accounting(&[source]);
        assert_eq!(lines.len(), 1);
        let line = lines.remove(0);
        (line.text, line.healthy)
    }

    const SOUND: EbpfLedger = EbpfLedger {
        hits: 1_000_000,
        accounted: 999_990,
        overflow: 7,
        filtered: 3,
        unknown_netns: 0,
        unrecorded: 0,
        nested: 0,
        missed: 0,
        qdisc_unmatched: None,
        events: None,
    };

    #[test]
    fn nothing_lost() {
        let expected = "ledger: 1,000,000 hits = 999,990 accounted + 7 overflow + 3 filtered; nothing lost of the drops in kfree_skb";
        assert_eq!(line(SOUND), (expected.into(), true));
    }

    #[test]
    fn nested_and_missed_drops_are_lost() {
        let (text, is_healthy) = line(EbpfLedger { missed: 8, nested: 4, ..SOUND });
        assert!(text.ends_with("; lost 12 (the BPF program was already running on that CPU)"), "{text}");
        assert!(!is_healthy);
    }

    #[test]
    fn drops_that_a_filter_could_not_decide_on_are_reported() {
        let (text, is_healthy) = line(EbpfLedger { unknown_netns: 10, ..SOUND });
        let expected =
            "; 10 of the accounted have an unknown network namespace, so the filter could not decide on them";
        assert!(text.ends_with(expected), "{text}");
        assert!(is_healthy);
    }

    #[test]
    fn drops_without_a_record_are_undecided() {
        let (text, _) = line(EbpfLedger { unrecorded: 1_000, ..SOUND });
        let expected = "; 1,000 of the drops have no record, so the filter could not decide on them";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_sum_that_does_not_add_up_is_a_fault() {
        let (text, is_healthy) = line(EbpfLedger { accounted: 999_980, ..SOUND });
        assert!(
            text.ends_with(
                "nothing lost of the drops in kfree_skb; ledger mismatch: the sum is off by 10, a fault of droptrace"
            ),
            "{text}"
        );
        assert!(!is_healthy);
    }

    #[test]
    fn net_dm_ledger_shows_losses_by_cause() {
        let mut source = net_dm_source();
        let expected = "ledger: 1,000 drops = 990 accounted + 6 overflow + 4 filtered; lost 123 = \
                        20 because the kernel's queue was full + 100 because the socket was full + 3 undecodable";
        assert_eq!(one(source.clone()), (expected.into(), false));
        let Ledger::NetDm(ledger) = &mut source.ledger else { panic!("a sample of the drop monitor") };
        *ledger = NetDmLedger { counts_losses: false, at_limit: 3, interruptions: 1, ..*ledger };
        let unknown = one(source);
        assert!(unknown.0.contains("; lost: unknown (summary mode leaves out hits"), "{}", unknown.0);
        assert!(
            unknown.0.contains("; 3 summaries were full at 64 drop sites; the socket overran 2 times;"),
            "{}",
            unknown.0
        );
        assert!(unknown.0.ends_with("other processes stopped or took over the drop monitor once)"), "{}", unknown.0);
        assert!(!unknown.1);
    }
}
