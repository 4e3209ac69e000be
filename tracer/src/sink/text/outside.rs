//! The kernel's counters beside the ledger: what rose outside `kfree_skb`, and what could not be compared.

use std::fmt::Write as _;

use super::ledger::LedgerLine;
use crate::domain::reconciliation::{Interface, ListenerProcess, ReconciledCounter, Reconciliation, RefusingListener};
use crate::outside::printable;
use crate::render::number::Grouped;

/// The greatest number of counters with a line of their own.
const MOST_LINES: usize = 5;
/// The class of counters that rise without a loss.
const NO_LOSS: &str = "no-loss";
/// The greatest number of listening sockets in a line.
const MOST_LISTENERS: usize = 3;

/// A line for each counter that rose outside `kfree_skb`, or may have risen there, one each for the other counters of the host
/// and of interfaces, and `with_gaps` one for what could not be compared.
pub(super) fn lines(found: &Reconciliation, with_gaps: bool) -> Vec<LedgerLine> {
    let outside = found.outside();
    let (shown, rest) = outside.split_at(outside.len().min(MOST_LINES));
    let mut lines: Vec<_> = shown.iter().map(|counter| line(counter)).collect();
    if !rest.is_empty() {
        let packets = rest.iter().map(|counter| counter.at_most_outside()).fold(0, u64::saturating_add);
        let is_certain = rest.iter().all(|counter| counter.outside == counter.at_most_outside());
        let limit = if is_certain { "" } else { "up to " };
        let text = format!("outside kfree_skb: {} more counters, {limit}{} in total", rest.len(), Grouped(packets));
        lines.push(LedgerLine { text, healthy: false });
    }
    lines.extend(beside(found));
    if with_gaps && !found.gaps.is_empty() {
        let text = format!("counters: {}", found.gaps.join("; "));
        lines.push(LedgerLine { text: printable(&text).to_string(), healthy: true });
    }
    lines
}

/// `outside kfree_skb: 82 TcpExtListenDrops in netns web (listener 10.0.0.2:80, pid 812 gunicorn): SYNs that …; droptrace
/// explain TcpExtListenDrops`.
fn line(counter: &ReconciledCounter) -> LedgerLine {
    let ReconciledCounter { name, meaning, outside, .. } = counter;
    let (limit, packets) = match outside {
        0 => ("up to ", counter.at_most_outside()),
        _ if counter.undecided() > 0 => ("at least ", *outside),
        _ => ("", *outside),
    };
    let mut text = format!("outside kfree_skb: {limit}{}", Grouped(packets));
    _ = write!(text, " {name}{}{}: {meaning}; ", origin(counter), listeners(counter));
    if *outside == 0 {
        text.push_str("some may be drops that were counted without a reason, filtered or lost; ");
    }
    _ = write!(text, "droptrace explain {name}");
    LedgerLine { text, healthy: false }
}

/// ` of eth0 in netns web`, or ` (CPU 0, 3)` for a counter of the whole host.
fn origin(counter: &ReconciledCounter) -> String {
    let mut text = match &counter.interface {
        None => String::new(),
        Some(Interface { name: Some(name), .. }) => format!(" of {}", printable(name)),
        Some(Interface { name: None, ifindex }) => format!(" of if{ifindex}"),
    };
    match (&counter.netns_name, counter.netns) {
        (Some(netns), _) => _ = write!(text, " in netns {}", printable(netns)),
        (None, 0) => {
            let cpus: Vec<_> = counter.cpus.iter().map(|cpu| cpu.cpu.to_string()).collect();
            _ = write!(text, " (CPU {})", cpus.join(", "));
        }
        (None, netns) => _ = write!(text, " in netns {netns}"),
    }
    text
}

/// The counters of the host and of interfaces that rose for drops at `kfree_skb` alone, and those that are not compared, in a line
/// each: `also counted: 187 softnet_dropped (CPU 1); …`.
fn beside(found: &Reconciliation) -> Vec<LedgerLine> {
    let is_beside = |counter: &&ReconciledCounter| {
        counter.at_most_outside() == 0 && (counter.netns == 0 || counter.interface.is_some())
    };
    let line = |head: &str, is_compared: bool| {
        let of: Vec<_> =
            found.counters.iter().filter(is_beside).filter(|counter| counter.is_compared == is_compared).collect();
        let one = |counter: &&ReconciledCounter| {
            let no_loss = if counter.class == NO_LOSS { ", no loss" } else { "" };
            format!("{} {}{}{no_loss}", Grouped(counter.rise), counter.name, origin(counter))
        };
        let mut shown: Vec<_> = of.iter().take(MOST_LINES).map(one).collect();
        if of.len() > MOST_LINES {
            shown.push(format!("{} more", of.len() - MOST_LINES));
        }
        (!of.is_empty()).then(|| LedgerLine { text: format!("{head}: {}", shown.join("; ")), healthy: true })
    };
    let heads = [("among the drops", true), ("counters that are not compared", false)];
    heads.into_iter().filter_map(|(head, is_compared)| line(head, is_compared)).collect()
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
    use crate::domain::reconciliation::CpuRise;

    fn counter(rise: u64, explained: u64, outside: u64) -> ReconciledCounter {
        ReconciledCounter {
            name: "TcpExtListenDrops".into(),
            class: "not-traceable",
            is_compared: true,
            interface: None,
            cpus: vec![],
            meaning: "SYNs that a listener refused".into(),
            netns: 4_026_532_201,
            netns_number: 1,
            netns_name: Some("web".into()),
            rise,
            explained,
            outside,
            covered: Some(0),
            is_untraceable: true,
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
        lines(&Reconciliation { counters, namespaces: 1, gaps, readings: 2 }, true)
            .into_iter()
            .map(|line| line.text)
            .collect()
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
    fn rise_that_may_be_outside_has_a_line_with_the_greatest_number() {
        let undecided = ReconciledCounter { listeners: vec![listener(80, 12, None)], ..counter(12, 0, 0) };
        let [line] = &shown(vec![undecided.clone()], &[])[..] else { panic!("one line") };
        let start = "outside kfree_skb: up to 12 TcpExtListenDrops in netns web (listener 10.0.0.2:80): SYNs that";
        assert!(line.starts_with(start) && line.contains("some may be drops that were counted without"), "{line}");
        assert!(line.ends_with("; droptrace explain TcpExtListenDrops"), "{line}");
        let traceable = ReconciledCounter { is_untraceable: false, ..undecided };
        assert_eq!(shown(vec![traceable], &[]), [""; 0], "its drops are among those that were counted");
        let lines = shown((1..=7).map(|count| counter(count, 0, count / 7)).collect(), &[]);
        assert_eq!(lines[5], "outside kfree_skb: 2 more counters, up to 3 in total");
    }

    #[test]
    fn counters_of_the_host_have_processors_and_those_of_interfaces_a_name() {
        let cpus = [(0, 4), (3, 3)].map(|(cpu, rise)| CpuRise { cpu, rise }).to_vec();
        let of_host = |name: &str, outside| ReconciledCounter {
            name: name.into(),
            netns: 0,
            netns_name: None,
            cpus: cpus.clone(),
            ..counter(7, 7 - outside, outside)
        };
        let squeezed = of_host("softnet_time_squeeze", 0);
        let squeezed = ReconciledCounter { class: NO_LOSS, is_compared: false, explained: 0, ..squeezed };
        let of_link = |name: Option<&str>, outside| ReconciledCounter {
            interface: Some(Interface { ifindex: 9, name: name.map(Into::into) }),
            name: "rx_dropped".into(),
            ..counter(7, 7 - outside, outside)
        };
        let lines =
            shown(vec![of_host("softnet_dropped", 0), squeezed, of_link(Some("eth\u{1b}0"), 0), of_link(None, 7)], &[]);
        assert!(lines[0].starts_with("outside kfree_skb: 7 rx_dropped of if9 in netns web: "), "{lines:?}");
        let rest = [
            "among the drops: 7 softnet_dropped (CPU 0, 3); 7 rx_dropped of eth\u{fffd}0 in netns web",
            "counters that are not compared: 7 softnet_time_squeeze (CPU 0, 3), no loss",
        ];
        assert_eq!(lines[1..], rest);
        let lines = shown(vec![of_host("softnet_dropped", 2)], &[]);
        assert!(lines[0].starts_with("outside kfree_skb: 2 softnet_dropped (CPU 0, 3): "), "{lines:?}");
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
