//! `--fail-if`: whether the drops of a run make it fail.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::args::{Answer, Counted, FailIf};
use crate::dimension::Dimensions;
use crate::domain::past::{Gap, GapCause};
use crate::domain::reconciliation::{ReconciledCounter, Reconciliation};
use crate::domain::report::StatReport;
use crate::domain::total::DropTotal;
use crate::explain::{Entrance, UsualDrops};
use crate::filter::question::Question;
use crate::filter::{Filter, Named, View};
use crate::identity::entrance::entrance;
use crate::outside::say;
use crate::render::number::Grouped;

/// Largest number of rows that a failure lists.
const MOST_ROWS: usize = 10;

/// The drops that a run is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// The network namespace that `netns self` means.
    pub(super) home_netns: u32,
    /// The run is about one network namespace alone.
    pub(super) is_one_netns: bool,
}

impl Scope {
    /// Whether a row is certainly among them: drops of unknown namespaces have a row in each run.
    fn has(self, total: &DropTotal) -> bool {
        !self.is_one_netns || total.key.netns != 0
    }
}

/// A count, the rows that it is of, and how many more drops may belong to it.
struct Count<'r> {
    least: u64,
    /// Drops whose row is unknown; absent where an unknown number was lost.
    more: Option<u64>,
    rows: Vec<&'r DropTotal>,
}

/// Reports on stderr each condition that is true, or may be true because of drops that are in no row. Returns whether there
/// is one. `report` has all rows, also those that are hidden.
pub(super) fn fails(conditions: &[FailIf], report: &StatReport, scope: Scope) -> bool {
    let lines: Vec<_> = conditions.iter().filter_map(|condition| failure(condition, report, scope)).collect();
    for line in lines.iter().flatten() {
        say("droptrace", format_args!("{line}"));
    }
    !lines.is_empty()
}

/// The lines about a condition that is or may be true.
fn failure(condition: &FailIf, report: &StatReport, scope: Scope) -> Option<Vec<String>> {
    let Count { least, more, mut rows } = count(&condition.counted, report, scope);
    let answer = condition.answer(least, more.map(|more| least.saturating_add(more)));
    let mut head = match answer {
        Answer::No => return None,
        Answer::Yes => format!("--fail-if {condition}: true: {} counted", drops(least)),
        Answer::Perhaps => format!("--fail-if {condition}: cannot be ruled out: {} counted", drops(least)),
    };
    match more {
        Some(0) => {}
        None if condition.counted == Counted::Outside => head.push_str(", and the kernel's counters were not read"),
        Some(more) if condition.counted == Counted::Outside => {
            _ = write!(head, ", and up to {} more may be outside", Grouped(more));
        }
        Some(more) => {
            _ = write!(head, ", and up to {} more were lost, or are in no row that is known whole", Grouped(more));
        }
        None => head.push_str(", and an unknown number was lost"),
    }
    rows.sort_by_key(|total| std::cmp::Reverse(total.packets));
    let shown = rows.iter().take(MOST_ROWS).map(|total| row(total));
    let rest = rows.len().saturating_sub(MOST_ROWS);
    let rest = (rest > 0).then(|| format!("  … and {rest} more rows"));
    Some(std::iter::once(head).chain(shown).chain(rest).collect())
}

fn drops(count: u64) -> String {
    if count == 1 { "1 drop".into() } else { format!("{} drops", Grouped(count)) }
}

/// `  12 NO_SOCKET tcp_v4_rcv+0x4e2 eth0 ipv4 blue`.
fn row(total: &DropTotal) -> String {
    let names = Dimensions::usual();
    let names = names.iter().map(|dimension| dimension.value(&total.key)).collect::<Vec<_>>().join(" ");
    format!("  {} {names}", Grouped(total.packets))
}

fn count<'r>(counted: &Counted, report: &'r StatReport, scope: Scope) -> Count<'r> {
    let lost = if misses_intervals(report) { None } else { lost(report) };
    let overflow: u64 = report.overflow.iter().map(|total| total.packets).sum();
    let packets = report.drops.iter().filter(|total| total.key.kind.is_packet());
    let sum = |rows: &[&DropTotal]| rows.iter().map(|total| total.packets).fold(0, u64::saturating_add);
    match counted {
        Counted::Lost => Count { least: lost.unwrap_or_default(), more: lost.map(|_| 0), rows: vec![] },
        Counted::Outside => outside(report),
        Counted::Total => {
            let (rows, unknown): (Vec<_>, Vec<_>) = packets.partition(|total| scope.has(total));
            let more = lost.map(|lost| lost.saturating_add(sum(&unknown)));
            Count { least: sum(&rows).saturating_add(overflow), more, rows }
        }
        Counted::Rows(filter) => {
            let (rows, others): (Vec<_>, Vec<_>) = packets.partition(|total| matches(filter, total, scope.home_netns));
            let (rows, outside): (Vec<_>, Vec<_>) = rows.into_iter().partition(|total| scope.has(total));
            let gone = if asks_name(filter) { gone(&others) } else { BTreeSet::new() };
            let others = others.into_iter().filter(|total| is_undecided(filter, total, &gone));
            let unknown: Vec<_> = others.chain(outside).collect();
            let more = lost.map(|lost| lost.saturating_add(overflow).saturating_add(sum(&unknown)));
            Count { least: sum(&rows), more, rows }
        }
    }
}

/// The drops that the backends lost; absent if their number is unknown.
fn lost(report: &StatReport) -> Option<u64> {
    report.sources.iter().map(|source| source.ledger.lost()).try_fold(0_u64, |sum, lost| sum.checked_add(lost?))
}

/// Whether intervals of a history cannot be read, so that nobody knows their drops.
fn misses_intervals(report: &StatReport) -> bool {
    let is_missing = |gap: &Gap| matches!(gap.cause, GapCause::Killed | GapCause::Missing);
    report.past.as_ref().is_some_and(|past| past.damaged > 0 || past.gaps.iter().any(is_missing))
}

/// The losses outside `kfree_skb`. Their number is unknown where the kernel's counters were not read.
fn outside(report: &StatReport) -> Count<'_> {
    let refused = report.refused.as_ref().map_or(0, |found| found.packets() + found.without_room);
    let counters = || report.outside.iter().flat_map(Reconciliation::outside);
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(refused, u64::saturating_add);
    let least = sum(&mut counters().map(|counter| counter.outside));
    let most = sum(&mut counters().map(ReconciledCounter::at_most_outside));
    Count { least, more: report.outside.as_ref().map(|_| most - least), rows: vec![] }
}

fn matches(filter: &Filter, total: &DropTotal, home_netns: u32) -> bool {
    let usual = UsualDrops::built_in();
    usual.is_ok_and(|usual| filter.matches(&View::default(), &Named::of_key(&total.key, usual, home_netns)))
}

/// Whether the filter asks for a name that the row does not have. The namespaces that are `gone` may have had any name.
fn is_undecided(filter: &Filter, total: &DropTotal, gone: &BTreeSet<u32>) -> bool {
    let key = &total.key;
    filter.questions.iter().any(|question| match question {
        Question::Site(_) => key.location.symbol.is_none() && key.location.address != 0,
        Question::Netns(target) => {
            key.netns == 0 || (is_name(target) && key.netns_name.is_none() && gone.contains(&key.netns))
        }
        Question::Interface(_) => key.interface.is_none() && key.ifindex != 0,
        Question::Cgroup(_) | Question::Container(_) | Question::Pod(_) => {
            key.socket.is_some() && key.owner.cgroup.is_none()
        }
        _ => false,
    })
}

/// Whether a filter asks for a network namespace by its name.
fn is_name(target: &str) -> bool {
    target != "self" && target.parse::<u32>().is_err()
}

fn asks_name(filter: &Filter) -> bool {
    filter.questions.iter().any(|question| matches!(question, Question::Netns(target) if is_name(target)))
}

/// The namespaces without a name to which nothing leads any more. Each is looked for once.
fn gone(rows: &[&DropTotal]) -> BTreeSet<u32> {
    let nameless = rows.iter().filter(|total| total.key.netns_name.is_none()).map(|total| total.key.netns);
    let mut namespaces: BTreeSet<_> = nameless.collect();
    namespaces.retain(|netns| entrance(*netns) == Entrance::Unknown);
    namespaces
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::ledger::{EbpfLedger, Ledger, NetDmLedger};
    use crate::domain::report::SourceReport;
    use crate::sink::samples::{overflow, report, totals_of_two_namespaces};

    fn lines(condition: &str, report: &StatReport) -> Option<String> {
        let scope = Scope { home_netns: 7, is_one_netns: false };
        Some(failure(&condition.parse().unwrap(), report, scope)?.join("\n"))
    }

    fn with_ledger(ledger: Ledger) -> StatReport {
        StatReport {
            sources: vec![SourceReport { mode: "", ledger, held_back: vec![] }],
            ..report(totals_of_two_namespaces(), vec![])
        }
    }

    #[test]
    fn failure_has_its_rows_and_success_has_none() {
        let all = report(totals_of_two_namespaces(), vec![]);
        let found = lines("reason NO_SOCKET > 50", &all).unwrap();
        assert!(
            found.starts_with("--fail-if reason NO_SOCKET > 50: true: 57 drops counted\n  40 NO_SOCKET"),
            "{found}"
        );
        assert!(found.lines().count() == 3 && found.ends_with("4026531833"), "{found}");
        assert_eq!(lines("reason NO_SOCKET > 57", &all), None);
        assert_eq!(lines("total == 1", &all), None);
        assert_eq!(lines("lost > 0", &all), None);
        let unusual = lines("unusual > 0", &all).unwrap();
        assert!(unusual.contains("true: 1,001,001 drops"), "{unusual}");
    }

    #[test]
    fn drops_without_a_row_do_not_pass_as_zero() {
        let all = report(totals_of_two_namespaces(), overflow());
        let found = lines("reason TCP_CSUM > 0", &all).unwrap();
        assert!(found.contains("cannot be ruled out: 0 drops counted, and up to 1,235 more"), "{found}");
        assert!(lines("total > 1000000", &all).unwrap().contains("true: 1,006,506 drops"));
    }

    #[test]
    fn rows_of_unknown_names_do_not_pass_as_zero() {
        let mut all = report(totals_of_two_namespaces(), vec![]);
        all.drops.truncate(2);
        let [first, second] = &mut all.drops[..] else { unreachable!() };
        let key = Arc::make_mut(&mut first.key);
        (key.netns, key.netns_name, key.interface, key.ifindex) = (0, None, None, 3);
        // No namespace has this number.
        let key = Arc::make_mut(&mut second.key);
        (key.netns, key.netns_name) = (1, None);
        let (unknown, gone) = (first.packets, second.packets);
        let found = lines("netns lab > 0", &all).unwrap();
        assert!(found.contains(&format!("up to {} more", Grouped(unknown + gone))), "{found}");
        let found = lines("iface eth7 > 0", &all).unwrap();
        assert!(found.contains(&format!("up to {} more", Grouped(unknown))), "{found}");
        let scope = Scope { home_netns: 7, is_one_netns: true };
        let found = failure(&format!("total > {gone}").parse().unwrap(), &all, scope).unwrap().join("\n");
        assert!(found.contains("cannot be ruled out"), "{found}");
    }

    #[test]
    fn lost_drops_do_not_pass_as_zero() {
        let lossy = with_ledger(Ledger::Ebpf(EbpfLedger { missed: 3, ..EbpfLedger::default() }));
        assert!(lines("reason TCP_CSUM > 2", &lossy).unwrap().contains("cannot be ruled out"));
        assert_eq!(lines("reason TCP_CSUM > 3", &lossy), None);
        assert!(lines("lost > 0", &lossy).unwrap().contains("true: 3 drops counted"));
        let unknown = with_ledger(Ledger::NetDm(NetDmLedger::default()));
        let found = lines("reason TCP_CSUM > 1000", &unknown).unwrap();
        assert!(found.contains("cannot be ruled out") && found.contains("an unknown number was lost"), "{found}");
        assert!(lines("lost > 0", &unknown).is_some());
    }
}
