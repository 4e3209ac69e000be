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

fn text(library: &Library, name: &str, values: &Values, width: usize) -> String {
    let mut out = Vec::new();
    write_topic(&mut out, &library.named(name).unwrap(), values, width).unwrap();
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
    for topic in Library::built_in().unwrap().topics() {
        for command in topic.next().into_iter().chain(topic.changes()) {
            for part in command.split(" | ") {
                let bare = part.trim_start_matches(fill::INSIDE).trim_start_matches("timeout 10 ");
                let tool = bare.split(' ').next().unwrap_or_default();
                assert!(TOOLS.contains(&tool), "{}: {command}", topic.name());
            }
        }
    }
}

#[test]
fn commands_to_run_next_change_nothing() {
    const CHANGES: [&str; 9] = ["set", "add", "del", "delete", "flush", "replace", "change", "-w", "rule"];
    for topic in Library::built_in().unwrap().topics() {
        for command in topic.next() {
            let is_shown = command.ends_with("ip rule show");
            assert!(is_shown || !command.split(' ').any(|word| CHANGES.contains(&word)), "{}: {command}", topic.name());
        }
    }
}

#[test]
fn commands_about_the_network_look_into_its_namespace() {
    // Of the whole host: sysctls that other namespaces lack, and names of namespaces.
    let is_of_host = |command: &str| {
        [
            "sysctl net.core.",
            "sysctl vm.",
            "sysctl net.ipv4.tcp_mem",
            "sysctl net.ipv4.udp_mem",
            "sysctl net.ipv4.neigh.",
            "ip netns",
        ]
        .iter()
        .any(|it| command.starts_with(it))
    };
    for topic in Library::built_in().unwrap().topics() {
        for command in topic.next().into_iter().chain(topic.changes()) {
            let tool = command.split(' ').next().unwrap_or_default();
            let looks = ["ss", "ip", "nft", "ethtool", "nstat", "sysctl", "conntrack", "tc", "tcpdump", "bridge"];
            let is_inside = command.starts_with(fill::INSIDE);
            assert!(is_inside || !looks.contains(&tool) || is_of_host(&command), "{}: {command}", topic.name());
        }
    }
}

#[test]
fn each_word_in_capitals_is_known() {
    // Of which no row has a value.
    const WORDS: [&str; 13] = [
        "NETNS",
        "IFACE",
        "SOURCE",
        "DESTINATION",
        "ADDRESS",
        "SPORT",
        "DPORT",
        "PORT",
        "REMOTE",
        "LENGTH",
        "BRIDGE",
        "FLOW",
        "ID",
    ];
    for topic in Library::built_in().unwrap().topics() {
        for command in topic.next().into_iter().chain(topic.changes()) {
            // What these commands name is in capitals itself.
            if ["droptrace explain", "dmesg", "ausearch"].iter().any(|tool| command.starts_with(tool)) {
                continue;
            }
            let words = command.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
            for word in words.filter(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase())) {
                assert!(WORDS.contains(&word), "{}: {word} in {command}", topic.name());
            }
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
    let library = Library::built_in().unwrap();
    insta::assert_snapshot!(text(&library, "SOCKET_RCVBUFF", &Values::default(), 80));
}

#[test]
fn a_row_has_its_values_in_the_commands() {
    let library = Library::built_in().unwrap();
    let values = Values {
        entrance: Entrance::Name("uxsrv".into()),
        netns: Some("uxsrv".into()),
        interface: Some("s0".into()),
        source: "10.71.1.2".parse().ok(),
        destination: "10.71.2.2".parse().ok(),
        destination_port: Some(8125),
        filter: "reason SOCKET_RCVBUFF and netns uxsrv".into(),
        ..Values::default()
    };
    insta::assert_snapshot!(text(&library, "SOCKET_RCVBUFF", &values, 100));
    let topic = library.of_drop(Some("IP_RPFILTER"), Some("ip_rcv_finish_core")).unwrap();
    let mut out = Vec::new();
    write_topic(&mut out, &topic, &values, 100).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn a_subsystem_reason_on_a_narrow_terminal() {
    let library = Library::built_in().unwrap();
    insta::assert_snapshot!(text(&library, "OVS_DROP_EXPLICIT_WITH_ERROR", &Values::default(), 10));
}

#[test]
fn lines_fit_the_width_except_commands() {
    let library = Library::built_in().unwrap();
    for topic in library.topics() {
        let mut out = Vec::new();
        write_topic(&mut out, &topic, &Values::default(), 60).unwrap();
        let commands = [topic.next(), topic.changes()].concat();
        let commands: Vec<_> = commands.into_iter().map(|command| fill(&command, &Values::default()).text).collect();
        for line in String::from_utf8(out)
            .unwrap()
            .lines()
            .filter(|line| !commands.iter().any(|it| line.trim().starts_with(it.as_str())))
        {
            assert!(line.chars().count() <= 60 || !line.trim().contains(' '), "{}: {line}", topic.name());
        }
    }
}

#[test]
fn the_list_has_one_line_for_each_within_the_width() {
    let mut out = Vec::new();
    let library = Library::built_in().unwrap();
    write_list(&mut out, &library, 100).unwrap();
    let list = String::from_utf8(out).unwrap();
    assert_eq!(list.lines().count(), library.topics().count() + 5, "three titles, and two lines between");
    assert!(list.lines().all(|line| line.chars().count() <= 100));
    assert!(list.contains("\nTCP_CSUM                      The TCP checksum is wrong\n"), "{list}");
}

fn json(name: &str, values: &Values) -> serde_json::Value {
    let mut out = Vec::new();
    write_topic_json(&mut out, &Library::built_in().unwrap().named(name).unwrap(), values).unwrap();
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn json_has_all_fields() {
    let drop = json("TCP_CSUM", &Values::default());
    assert_eq!((&drop["schema"], &drop["subsystem"]), (&"droptrace.explain.v1".into(), &"core".into()));
    assert_eq!((&drop["usual"], &drop["counters"][0]), (&"never".into(), &"TcpInCsumErrors".into()));
    let site = json("ip_error", &Values::default());
    assert_eq!((&site["schema"], &site["site"]), (&"droptrace.explain-site.v1".into(), &"ip_error".into()));
    let counter = json("TcpExtListenDrops", &Values { entrance: Entrance::Process(7), ..Values::default() });
    assert_eq!(
        (&counter["schema"], &counter["class"]),
        (&"droptrace.explain-counter.v1".into(), &"not-traceable".into())
    );
    assert_eq!(counter["next"][0], "nsenter -t 7 -n ss -ltnp");
    for document in [drop, site, counter] {
        let fields = ["meaning", "causes", "next", "changes"];
        assert!(fields.iter().all(|field| !document[field].is_null()), "{document}");
    }
}
