use std::collections::HashSet;
use std::fs;

use super::*;
use crate::testing::skipped;

/// First words of commands that explanations may have.
const TOOLS: [&str; 22] = [
    "ausearch",
    "bpftool",
    "bridge",
    "cat",
    "conntrack",
    "dmesg",
    "droptrace",
    "ethtool",
    "free",
    "ip",
    "iptables-save",
    "journalctl",
    "lnstat",
    "nft",
    "nstat",
    "ovs-appctl",
    "ovs-ofctl",
    "ss",
    "sysctl",
    "tc",
    "tcpdump",
    "grep",
];

/// Counters of an interface, named as in `/sys/class/net/*/statistics` or `ip -s -s link`.
const OF_INTERFACES: [&str; 7] =
    ["rx_dropped", "rx_errors", "rx_frame_errors", "rx_nohandler", "rx_otherhost_dropped", "tx_dropped", "tx_errors"];

/// Core reasons of Linux 7.3.4, in the order of its BTF.
const NEWER_KERNEL: &str = include_str!("fixtures/core-7.3");

fn built_in() -> Explanations {
    Explanations::built_in().unwrap()
}

fn text(explanations: &Explanations, name: &str, width: usize) -> String {
    let (name, explanation) = explanations.get(name).unwrap();
    let mut out = Vec::new();
    write_text(&mut out, name, explanation, width).unwrap();
    String::from_utf8(out).unwrap()
}

fn unexplained(names: impl Iterator<Item = String>) -> Vec<String> {
    let explanations = built_in();
    names.filter(|name| explanations.get(name).is_none_or(|(_, found)| found.subsystem != "core")).collect()
}

#[test]
fn every_core_reason_of_a_newer_kernel_has_an_explanation() {
    assert_eq!(NEWER_KERNEL.lines().count(), 124);
    assert_eq!(unexplained(NEWER_KERNEL.lines().map(str::to_owned)), [""; 0]);
}

#[test]
fn every_explanation_is_complete() {
    for (name, explanation) in built_in().iter() {
        let Explanation { subsystem, meaning, because, counters, unverified, causes, next, .. } = explanation;
        assert_eq!(canonical(name), name);
        assert!(["core", "openvswitch", "qdisc", "xdp"].contains(&subsystem.as_str()), "{name}: {subsystem}");
        assert!(!causes.is_empty() && !next.is_empty(), "{name}");
        for sentence in [meaning, because].into_iter().chain(causes) {
            assert!(sentence.ends_with('.') && sentence.contains(char::is_alphabetic), "{name}: {sentence:?}");
        }
        for line in [meaning, because].into_iter().chain(causes).chain(next).chain(counters).chain(unverified) {
            assert!(line.trim() == line && !line.contains(['\n', '\t']) && !line.contains("  "), "{name}: {line:?}");
        }
    }
}

#[test]
fn commands_begin_with_a_known_tool() {
    for (name, explanation) in built_in().iter() {
        for command in explanation.next.iter().flat_map(|command| command.split(" | ")) {
            let tool = command.split(' ').next().unwrap_or_default();
            assert!(TOOLS.contains(&tool), "{name}: {command}");
        }
    }
}

/// Reads the counters as `nstat` names them, the first word of a line and the names after it, and as `lnstat` names
/// those of neighbours.
fn counters_of_the_running_kernel() -> HashSet<String> {
    let mut known = HashSet::new();
    for file in ["/proc/net/snmp", "/proc/net/netstat"] {
        let table = fs::read_to_string(file).unwrap_or_default();
        for line in table.lines() {
            let mut words = line.split_whitespace();
            let prefix = words.next().unwrap_or_default().trim_end_matches(':');
            known.extend(words.map(|name| format!("{prefix}{name}")));
        }
    }
    let table = fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
    known.extend(table.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned));
    let table = fs::read_to_string("/proc/net/stat/arp_cache").unwrap_or_default();
    known.extend(table.lines().take(1).flat_map(str::split_whitespace).map(str::to_owned));
    known
}

#[test]
fn counters_have_the_names_of_the_running_kernel() {
    let known = counters_of_the_running_kernel();
    // The newest counter in an explanation, and IPv6, which a kernel may lack.
    if !known.contains("TcpExtBeyondWindow") || !known.contains("Ip6InDiscards") {
        skipped("counters_have_the_names_of_the_running_kernel", "it lacks some of them");
        return;
    }
    for (name, explanation) in built_in().iter() {
        for counter in explanation.counters.iter().chain(&explanation.unverified) {
            let elsewhere = OF_INTERFACES.contains(&counter.as_str()) || counter.starts_with("Xfrm");
            assert!(elsewhere || known.contains(counter), "{name}: {counter}");
        }
    }
}

#[test]
fn name_is_found_in_each_spelling() {
    let explanations = built_in();
    for asked in [
        "SOCKET_RCVBUFF",
        "socket_rcvbuff",
        "SKB_DROP_REASON_SOCKET_RCVBUFF",
        "skb_drop_reason_Socket_Rcvbuff",
        " core:SOCKET_RCVBUFF ",
    ] {
        assert_eq!(explanations.get(asked).map(|(name, _)| name), Some("SOCKET_RCVBUFF"), "{asked}");
    }
    assert_eq!(explanations.get("openvswitch:OVS_DROP_METER").unwrap().1.subsystem, "openvswitch");
    for (asked, expected) in [
        ("xdp:XDP_ABORTED", "XDP_ABORTED"),
        ("XDP_TX failed", "XDP_TX FAILED"),
        ("xdp:invalid action 99", "INVALID ACTION"),
        ("xdp:redirect failed: ENETDOWN (target is down)", "REDIRECT FAILED"),
        ("redirect failed", "REDIRECT FAILED"),
    ] {
        assert_eq!(explanations.get(asked).map(|(name, _)| name), Some(expected), "{asked}");
    }
    for asked in ["", ":", "SKB_DROP_REASON_", "SOCKET", "SOCKET_RCVBUFF: 1", "ſocket"] {
        assert!(explanations.get(asked).is_none(), "{asked}");
    }
}

#[test]
fn similar_names_are_offered() {
    let explanations = built_in();
    assert_eq!(explanations.nearest("NETFILTER_DORP")[0], "NETFILTER_DROP");
    assert_eq!(explanations.nearest("rcvbuf"), ["SOCKET_RCVBUFF"]);
    assert_eq!(explanations.nearest("neigh").len(), OFFERED);
    for far in ["", "x", "xyzzy"] {
        assert_eq!(explanations.nearest(far), [""; 0], "{far}");
    }
}

#[test]
fn unknown_field_is_an_error() {
    let good = "[X]\nmeaning = 'a'\nusual = 'never'\nbecause = 'b'\ncounters = []\ncauses = []\nnext = []\n";
    let parse = |text: &str| toml::from_str::<BTreeMap<String, Explanation>>(text);
    assert_eq!(parse(good).unwrap()["X"].subsystem, "core");
    assert!(parse(&format!("{good}also = 'c'\n")).is_err());
    assert!(parse(&good.replace("never", "seldom")).is_err());
    assert!(parse(&format!("{good}{good}")).is_err());
}

#[test]
fn a_reason_that_has_counters() {
    insta::assert_snapshot!(text(&built_in(), "SOCKET_RCVBUFF", 80));
}

#[test]
fn a_subsystem_reason_on_a_narrow_terminal() {
    insta::assert_snapshot!(text(&built_in(), "OVS_DROP_EXPLICIT_WITH_ERROR", 10));
}

#[test]
fn lines_fit_the_width_except_commands() {
    let explanations = built_in();
    for (name, explanation) in explanations.iter() {
        for line in text(&explanations, name, 60)
            .lines()
            .filter(|line| !explanation.next.iter().any(|next| line.trim() == next))
        {
            assert!(line.chars().count() <= 60, "{name}: {line}");
        }
    }
}

#[test]
fn the_list_has_one_line_for_each_within_the_width() {
    let mut out = Vec::new();
    write_list(&mut out, &built_in(), 100).unwrap();
    let list = String::from_utf8(out).unwrap();
    assert_eq!(list.lines().count(), built_in().iter().count());
    assert!(list.lines().all(|line| line.chars().count() <= 100));
    assert!(list.contains("\nTCP_CSUM                      The TCP checksum is wrong\n"), "{list}");
}

#[test]
fn json_has_all_fields() {
    let mut out = Vec::new();
    write_all_json(&mut out, &built_in()).unwrap();
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), built_in().iter().count());
    let drop = lines.iter().find(|line| line["reason"] == "TCP_CSUM").unwrap();
    assert_eq!((&drop["schema"], &drop["subsystem"]), (&"droptrace.explain.v1".into(), &"core".into()));
    assert_eq!((&drop["usual"], &drop["counters"][0]), (&"never".into(), &"TcpInCsumErrors".into()));
    let fields = ["meaning", "because", "causes", "next"];
    assert!(fields.iter().all(|field| !drop[field].is_null()), "{drop}");
}
