//! The sentences around the table of `stat`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::domain::event::Kind;
use crate::domain::ledger::Ledger;
use crate::domain::report::{HiddenBy, HiddenDrops, SourceReport, StatReport};
use crate::outside::printable;
use crate::render::fit::{shorten, width};
use crate::render::number::{Grouped, seconds};

/// A recording that a report is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It has the duration of its run.
    Whole,
    /// The end of its run is not known, because the recording is truncated or of an earlier version: the report ends with the
    /// last drop.
    ToLastDrop,
}

/// The head, which a line of the terminal holds: without the host where there is no room for it. The rates are those of `span`.
pub(super) fn fitting_head(report: &StatReport, span: Duration, recorded: Option<Recorded>, room: usize) -> String {
    let StatReport { host, duration, .. } = report;
    let (name, kernel) = (printable(&host.name), printable(&host.kernel));
    let mut rest = format!(" in {}", seconds(*duration));
    if recorded == Some(Recorded::ToLastDrop) {
        rest.push_str(", from the start of the recording to its last drop");
    }
    if span != *duration {
        _ = write!(rest, "; PKT/S of the last {}", seconds(span));
    }
    let head = format!("Packets dropped on {name} (Linux {kernel}){rest}");
    if width(&head) <= room { head } else { shorten(format!("Packets dropped{rest}"), room).into_owned() }
}

/// Drops that pass the tracepoint and are no packets of a network, by kind.
pub(super) fn not_packets(report: &StatReport) -> Option<String> {
    // Of one, and of several.
    const WORDS: [(Kind, [&str; 2]); 4] = [
        (Kind::Unix, ["message of a Unix socket", "messages of Unix sockets"]),
        (Kind::Netlink, ["netlink message", "netlink messages"]),
        (Kind::Copy, ["copy of a packet that went on", "copies of packets that went on"]),
        (Kind::Empty, ["empty buffer", "empty buffers"]),
    ];
    let count = |kind: Kind| {
        let rows = report.drops.iter().filter(move |total| total.key.kind == kind);
        rows.map(|total| total.packets).sum::<u64>()
    };
    let counted = WORDS.map(|(kind, words)| (count(kind), words)).into_iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> =
        counted.map(|(count, words)| format!("{} {}", Grouped(count), words[usize::from(count != 1)])).collect();
    let text = format!("not packets of a network, and not in the table: {}", words.join(", "));
    (!words.is_empty()).then_some(text)
}

/// `hidden: 4 rows, 1,203 drops (usual)`.
pub(super) fn hidden(hidden: &HiddenDrops) -> String {
    let counted = |count: u64, noun: &str| format!("{} {noun}{}", Grouped(count), if count == 1 { "" } else { "s" });
    let rows = hidden.rows.map_or(String::new(), |rows| format!("{}, ", counted(rows, "row")));
    let why = match hidden.by {
        HiddenBy::Usual => "usual",
        HiddenBy::Expression => "--hide",
    };
    format!("hidden: {rows}{} ({why})", counted(hidden.packets, "drop"))
}

/// Drops that droptrace causes itself.
pub(super) fn own(report: &StatReport) -> Option<String> {
    let own = report.own_netlink_drops.filter(|own| *own > 0)?;
    Some(format!("own: {own} netlink messages for droptrace itself were dropped, because its sockets were full"))
}

/// Stands for a table without rows.
pub(super) fn nothing(report: &StatReport, is_recorded: bool) -> String {
    if !report.hidden.is_empty() {
        return "All drops are hidden.".into();
    }
    let has_counters_only = |source: &SourceReport| matches!(source.ledger, Ledger::Counters(_));
    if report.sources.iter().any(has_counters_only) {
        return "No counter of drops rose.".into();
    }
    let filtered = report.sources.iter().any(|source| source.ledger.filtered() > 0);
    if is_recorded {
        let filter = if filtered { " within the filter" } else { "" };
        return format!("The recording has no drops{filter}.");
    }
    let filter = if filtered { " within the filter" } else { "" };
    let yet = if report.is_final { "" } else { " so far" };
    if report.refused.as_ref().is_some_and(|report| !report.rows.is_empty()) {
        return format!("kfree_skb showed no drop{filter}{yet}, and sockets refused SYNs.");
    }
    match report.outside.as_ref().and_then(|found| found.outside().first().map(|first| first.outside)) {
        None => format!("No packet was dropped{filter}{yet}."),
        Some(outside) => {
            let show = if outside > 0 { "show" } else { "may show" };
            format!("kfree_skb showed no drop{filter}{yet}, and the kernel's counters {show} drops outside kfree_skb.")
        }
    }
}
