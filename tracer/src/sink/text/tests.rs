mod room;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::dimension::Dimensions;
use crate::domain::event::{Location, NamedKey, Origin, Residence, Symbol};
use crate::domain::facts::Role;
use crate::domain::flow::Flow;
use crate::domain::owner::Owner;
use crate::domain::reconciliation::{ReconciledCounter, Reconciliation};
use crate::domain::report::StatReport;
use crate::domain::total::DropTotal;
use crate::pipeline::group::group_by;
use crate::render::Size;
use crate::render::number::Grouped;
use crate::render::rank::Sort;
use crate::sink::samples::{
    HOME, NEW_YEAR, comparison, ebpf, host, key, location, net_dm_source, overflow, owned_key, reason, report,
    tcp_packet, totals, totals_of_two_namespaces, trace_sources, udp_packet, union,
};
use crate::sink::{CompareSink, StatSink};

const PLAIN: fn(usize) -> StatOptions = |width| StatOptions {
    by: None,
    sort: Sort::Packets,
    top: None,
    home_netns: HOME,
    color: false,
    recorded: None,
    live: false,
    size: Box::new(move || Size { width, height: None }),
};

fn shown(options: StatOptions, reports: &[StatReport]) -> String {
    let mut out = Vec::new();
    let mut sink = StatText::new(&mut out, options);
    for report in reports {
        sink.report(report).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    println!("{text}");
    text
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap()
}

/// The table alone, because the ledger is a line of its own that may wrap.
fn without_ledger(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("ledger")).collect::<Vec<_>>().join("\n")
}

#[test]
fn tables_fit_their_width() {
    for width in [80, 100, 140] {
        let one = shown(PLAIN(width), &[report(totals(), vec![])]);
        assert!(widest(&without_ledger(&one)) <= width, "{one}");
        insta::assert_snapshot!(format!("table_{width}"), one);

        let two = shown(PLAIN(width), &[report(totals_of_two_namespaces(), overflow())]);
        assert!(widest(&without_ledger(&two)) <= width, "{two}");
        insta::assert_snapshot!(format!("namespaces_and_overflow_{width}"), two);
    }
}

#[test]
fn a_narrow_terminal_does_not_panic() {
    for width in 0..60 {
        shown(PLAIN(width), &[report(totals_of_two_namespaces(), overflow())]);
    }
}

#[test]
fn nothing_dropped_is_said_plainly() {
    let ended = report(vec![], vec![]);
    insta::assert_snapshot!(shown(PLAIN(100), std::slice::from_ref(&ended)), @r"
    Packets dropped on lab-1 (Linux 6.18.44) in 10.0 s
    No packet was dropped.
    ledger: 0 hits = 0 accounted + 0 overflow + 0 filtered; nothing lost of the drops in kfree_skb
    ");
    let mut filtered = StatReport { is_final: false, ..ended };
    ebpf(&mut filtered).filtered = 12;
    ebpf(&mut filtered).hits = 12;
    insta::assert_snapshot!(shown(PLAIN(100), &[filtered]), @r"
    Packets dropped on lab-1 (Linux 6.18.44) in 10.0 s
    No packet was dropped within the filter so far.
    ledger: 12 hits = 0 accounted + 0 overflow + 12 filtered; nothing lost of the drops in kfree_skb
    ");
}

#[test]
fn loss_outside_kfree_skb_is_not_called_nothing() {
    let counter = |outside| ReconciledCounter {
        name: "TcpExtListenDrops".into(),
        class: "not-traceable",
        is_compared: true,
        interface: None,
        cpus: vec![],
        meaning: "SYNs that a listener refused".into(),
        netns: 7,
        netns_number: 1,
        netns_name: Some("web".into()),
        rise: 82,
        explained: 82 - outside,
        outside,
        covered: Some(0),
        is_untraceable: true,
        listeners: vec![],
    };
    let with_counter = |counter| {
        let found = Reconciliation { counters: vec![counter], namespaces: 1, gaps: vec![], readings: 2 };
        shown(PLAIN(100), &[StatReport { outside: Some(found), ..report(vec![], vec![]) }])
    };
    let with = |outside| with_counter(counter(outside));
    insta::assert_snapshot!(with(82), @r"
    Packets dropped on lab-1 (Linux 6.18.44) in 10.0 s
    kfree_skb showed no drop, and the kernel's counters show drops outside kfree_skb.
    ledger: 0 hits = 0 accounted + 0 overflow + 0 filtered; nothing lost of the drops in kfree_skb
    outside kfree_skb: 82 TcpExtListenDrops in netns web: SYNs that a listener refused; droptrace explain TcpExtListenDrops
    ");
    assert!(with(0).contains("No packet was dropped.\n") && !with(0).contains("outside kfree_skb:"));
    let undecided = with_counter(ReconciledCounter { explained: 0, ..counter(0) });
    assert!(undecided.contains("the kernel's counters may show drops outside kfree_skb.\n"), "{undecided}");
}

#[test]
fn a_recording_is_shown_as_one() {
    let recorded_to =
        |recorded, totals| shown(StatOptions { recorded: Some(recorded), ..PLAIN(100) }, &[report(totals, vec![])]);
    let recorded = |totals| recorded_to(Recorded::ToLastDrop, totals);
    let head = "Packets dropped on lab-1 (Linux 6.18.44) in 10.0 s, from the start of the recording to its last drop\n";
    assert!(recorded(totals()).starts_with(head), "{}", recorded(totals()));
    assert!(recorded(vec![]).contains("\nThe recording has no drops.\n"), "{}", recorded(vec![]));
    let whole = recorded_to(Recorded::Whole, totals());
    assert!(whole.starts_with("Packets dropped on lab-1 (Linux 6.18.44) in 10.0 s\n"), "{whole}");
}

#[test]
fn rate_of_a_moment_is_unknown() {
    let moment = StatReport { duration: Duration::from_millis(2), ..report(totals(), vec![]) };
    let text = shown(PLAIN(100), &[moment]);
    let row = text.lines().nth(2).unwrap();
    assert!(row.split_whitespace().nth(1) == Some("-"), "{text}");
    let sum = text.lines().find(|line| line.contains("total, ")).unwrap();
    assert!(sum.split_whitespace().nth(1) == Some("-"), "{text}");
}

#[test]
fn gaps_are_repeated_only_at_the_end() {
    let at = |gap: &str, is_final| {
        let found = Reconciliation { counters: vec![], namespaces: 1, gaps: vec![gap.into()], readings: 2 };
        StatReport { outside: Some(found), is_final, ..report(vec![], vec![]) }
    };
    let reports =
        [at("a fell", false), at("a fell", false), at("b fell", false), at("b fell", false), at("b fell", true)];
    let text = shown(PLAIN(100), &reports);
    assert_eq!((text.matches("a fell").count(), text.matches("b fell").count()), (1, 2), "{text}");
}

#[test]
fn rows_beyond_the_top_are_summed_up() {
    let top = |top| shown(StatOptions { top, ..PLAIN(100) }, &[report(totals(), vec![])]);
    let two = top(Some(2));
    let lines: Vec<_> = two.lines().collect();
    assert!(lines[2].contains("SOCKET_RCVBUFF") && lines[3].contains("NETFILTER_DROP"), "{two}");
    assert_eq!(lines[4], "… and 4 more rows with 1,020 packets");
    assert!(lines[5].starts_with("1,005,231  100,523") && lines[5].ends_with("  total, 6 rows"), "{two}");
    assert!(!top(Some(0)).contains("more row"));
    assert!(!top(None).contains("more row"));
    assert!(top(Some(5)).contains("… and 1 more row with 2 packets\n"));
}

fn grown(mut report: StatReport, by: u64) -> StatReport {
    report.duration += Duration::from_secs(1);
    let grown = &mut report.drops[3];
    grown.packets += by;
    ebpf(&mut report).hits += by;
    ebpf(&mut report).accounted += by;
    report
}

#[test]
fn rates_are_those_of_the_interval_and_of_the_whole_run_at_the_end() {
    let first = StatReport { is_final: false, ..report(totals(), vec![]) };
    let second = grown(first.clone(), 250);
    let last = StatReport { is_final: true, ..second.clone() };
    let text = shown(StatOptions { sort: Sort::Rate, ..PLAIN(100) }, &[first, second, last]);
    insta::assert_snapshot!("intervals", text);
}

#[test]
fn a_live_table_is_drawn_over_and_fits_the_terminal() {
    for (height, snapshot) in [(24, "live_24"), (14, "live_14"), (6, "live_6")] {
        let options =
            StatOptions { live: true, size: Box::new(move || Size { width: 80, height: Some(height) }), ..PLAIN(80) };
        let running = StatReport {
            is_final: false,
            ..report(totals_of_two_namespaces(), {
                let mut reasons = overflow();
                reasons.extend(overflow());
                reasons
            })
        };
        let frames = shown(options, &[running.clone(), grown(running, 1)]);
        let (first, second) = frames.split_at(frames.rfind("\x1b[H").unwrap());
        assert!(first.starts_with(&"\n".repeat(height - 1)), "{first:?}");
        assert!(rows_taken(second, 80) < height, "{second}");
        insta::assert_snapshot!(snapshot, second.replace('\x1b', "ESC"));
    }
}

/// Rows that a frame takes on a terminal, with its escapes for clearing.
fn rows_taken(frame: &str, width: usize) -> usize {
    let visible = frame.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
    visible.lines().map(|line| line.chars().count().div_ceil(width).max(1)).sum()
}

#[test]
fn the_last_table_of_a_live_run_is_whole() {
    let size = || Size { width: 80, height: Some(10) };
    let options = StatOptions { live: true, size: Box::new(size), ..PLAIN(80) };
    let text = shown(options, &[report(totals(), overflow())]);
    assert!(!text.contains("more row"), "{text}");
}

#[test]
fn orders() {
    let reasons = |sort| {
        let text = shown(StatOptions { sort, ..PLAIN(300) }, &[report(totals(), vec![])]);
        let rows = text.lines().skip(2).take(6);
        rows.map(|row| row.split_whitespace().nth(4).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let packets = [
        "SOCKET_RCVBUFF",
        "NETFILTER_DROP",
        "openvswitch:OVS_DROP_EXPLICIT_WITH_ERROR",
        "NO_SOCKET",
        "NOT_SPECIFIED",
        "UNHANDLED_PROTO",
    ];
    for sort in [Sort::Packets, Sort::Bytes, Sort::Rate, Sort::Last] {
        assert_eq!(reasons(sort), packets, "{sort:?}");
    }
    let [rcvbuff, netfilter, ovs, no_socket, unspecified, unhandled] = packets;
    assert_eq!(reasons(Sort::Reason), [netfilter, unspecified, no_socket, rcvbuff, unhandled, ovs]);
    assert_eq!(reasons(Sort::Symbol), [unhandled, netfilter, ovs, no_socket, rcvbuff, unspecified]);
}

#[test]
fn colors_mark_the_heading_and_what_is_lost() {
    let mut lossy = report(vec![], vec![]);
    ebpf(&mut lossy).missed = 12;
    let text = shown(StatOptions { color: true, ..PLAIN(100) }, &[report(totals(), vec![]), lossy]);
    let line = |number: usize| text.lines().nth(number).unwrap();
    assert!(line(1).starts_with("\x1b[1m  PACKETS") && line(1).ends_with("\x1b[0m"), "{}", line(1));
    assert!(line(2).starts_with("1,000,000"), "some: {}", line(2));
    assert!(line(3).starts_with("\x1b[2m    4,211") && line(3).ends_with("\x1b[0m"), "often: {}", line(3));
    assert!(line(9).starts_with("\x1b[2mno room for") && line(10).starts_with("ledger"), "{text}");
    assert!(line(14).starts_with("\x1b[1;31mledger"), "{}", line(14));
}

#[test]
fn grouped_tables_have_the_columns_of_their_dimensions() {
    for by in ["netns", "reason,protocol", "site"] {
        let dimensions: Dimensions = by.parse().unwrap();
        let grouped = report(group_by(&totals_of_two_namespaces(), &dimensions), overflow());
        let text = shown(StatOptions { by: Some(dimensions), ..PLAIN(80) }, &[grouped]);
        assert!(widest(&without_ledger(&text)) <= 80, "{text}");
        insta::assert_snapshot!(format!("table_by_{}", by.replace(',', "_")), text);
    }
}

#[test]
fn row_of_a_flow_has_its_least_and_its_greatest_number() {
    let flow = |is_others| Some(Flow { source_port: Some(53), is_others, ..Flow::default() }.into());
    let mut totals = totals();
    totals.truncate(3);
    for (total, (is_others, more)) in totals.iter_mut().zip([(false, 150), (false, 0), (true, 150)]) {
        total.key = NamedKey { flow: flow(is_others), ..key() }.into();
        (total.packets, total.more) = (1_200, more);
    }
    let by: Dimensions = "reason,sport".parse().unwrap();
    let text = shown(StatOptions { by: Some(by), ..PLAIN(100) }, &[report(totals, vec![])]);
    let numbers: Vec<_> = text.lines().skip(2).take(4).map(|row| row.split_whitespace().next().unwrap()).collect();
    assert_eq!(numbers, ["1,200..1,350", "1,200", "1,200", "3,600"], "{text}");
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let evil = NamedKey { interface: Some("\x1b[2Jevil".into()), netns_name: Some("\x1b]0;x\x07".into()), ..key() };
    let mut totals = totals_of_two_namespaces();
    totals[0].key = Arc::new(evil);
    let text = shown(PLAIN(140), &[report(totals, vec![])]);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
}

#[test]
fn netlink_messages_are_not_shown_as_packets() {
    let symbol = Symbol { name: "netlink_attachskb".into(), offset: 0x1d, module: None };
    let location = Location { address: 1, symbol: Some(symbol), trap_group: None }.into();
    let mut totals = totals();
    totals[0].key =
        NamedKey { kind: crate::domain::event::Kind::Netlink, interface: None, ifindex: 0, location, ..key() }.into();
    let packets = Grouped(totals[0].packets).to_string();
    let own = StatReport { own_netlink_drops: Some(12), ..report(totals, vec![]) };
    let rows: u64 = own.drops[1..].iter().map(|total| total.packets).sum();
    let sum = format!("total, {} rows", own.drops.len() - 1);
    let text = shown(PLAIN(100), std::slice::from_ref(&own));
    let total = text.lines().find(|line| line.contains("total, ")).unwrap();
    assert!(total.trim_start().starts_with(&Grouped(rows).to_string()) && total.ends_with(&sum), "{text}");
    assert!(!text.contains("netlink_attachskb"), "{text}");
    assert!(text.contains(&format!("not in the table: {packets} netlink messages")), "{text}");
    assert!(text.contains("own: 12 netlink messages for droptrace itself"), "{text}");

    let only = StatReport { drops: own.drops[..1].to_vec(), ..own };
    let text = shown(PLAIN(100), &[only]);
    assert!(text.contains("No packet was dropped.\n") && !text.contains("total, "), "{text}");
}

#[test]
fn compare_table() {
    let mut out = Vec::new();
    CompareText::new(&mut out, false).report(&comparison()).unwrap();
    insta::assert_snapshot!("compare", String::from_utf8(out).unwrap());
}

#[test]
fn seen_by_is_shown_where_both_sources_run() {
    let mut totals = totals();
    totals.truncate(3);
    totals[0].seen_by = &Origin::ALL;
    totals[2].seen_by = &[Origin::NetDm];
    let mut both = report(totals, vec![]);
    both.sources.push(net_dm_source());
    insta::assert_snapshot!("both_sources", shown(PLAIN(120), &[both]));
}
