use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::domain::dedupe::Moment;
use crate::domain::event::{DropEvent, NamedKey, Origin, PacketStart, Timestamp};
use crate::domain::facts::{Facts, Role, Socket};
use crate::domain::owner::Process;
use crate::domain::report::StatReport;
use crate::render::rank::Sort;
use crate::sink::samples::{
    NEW_YEAR, comparison, host, key, location, net_dm_source, overflow, owned_key, reason, report, tcp_packet, totals,
    trace_sources, udp_packet,
};
use crate::sink::{CompareSink, DropSink, RunEnd, StatSink};

fn stat(report: &StatReport) -> String {
    let mut out = Vec::new();
    StatJson::new(&mut out, Sort::Packets, crate::dimension::Dimensions::usual()).report(report).unwrap();
    String::from_utf8(out).unwrap()
}

fn event<'a>(key: &'a Arc<NamedKey>, bytes: &'a [u8]) -> DropEvent<'a> {
    DropEvent {
        stack: &[],
        process: None,
        facts: Facts::default(),
        timestamp: Timestamp(NEW_YEAR.0 + 7),
        key,
        seen_by: &[Origin::Ebpf],
        length: 90,
        start: PacketStart::Mac,
        bytes,
    }
}

fn drop_line(event: &DropEvent<'_>) -> String {
    let mut out = Vec::new();
    TraceJson::new(&mut out).event(event).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_report_is_one_line_in_the_order_of_the_schema() {
    let text = stat(&report(totals(), overflow()));
    assert_eq!(text.matches('\n').count(), 1);
    let pretty = text.replace("},", "},\n").replace("[{", "[\n{");
    insta::assert_snapshot!("stat", pretty);
    let parsed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parsed["drops"].as_array().unwrap().len(), 6);
}

#[test]
fn unknown_values_are_null() {
    let parsed: Value = serde_json::from_str(&stat(&report(totals(), vec![]))).unwrap();
    for field in ["symbol", "offset", "module", "protocol", "interface", "ifindex"] {
        assert_eq!(parsed["drops"][4][field], Value::Null, "{field}");
    }
    let no_reason = Arc::new(NamedKey { reason: reason(tracer_common::REASON_ABSENT, "", "?"), ..key() });
    let parsed: Value = serde_json::from_str(&drop_line(&event(&no_reason, &[]))).unwrap();
    assert_eq!((&parsed["reason"], &parsed["subsystem"]), (&Value::Null, &Value::Null));
}

#[test]
fn number_of_a_raw_or_ping_socket_is_no_port() {
    let key = Arc::new(key());
    let port = |number: u16, bytes: &[u8]| {
        let socket = Socket {
            role: Role::Owner,
            cookie: None,
            inode: None,
            uid: None,
            port: Some(number),
            receive_buffer: None,
            receive_queued: None,
        };
        let facts = Facts { socket: Some(socket), ..Facts::default() };
        let parsed: Value = serde_json::from_str(&drop_line(&DropEvent { facts, ..event(&key, bytes) })).unwrap();
        parsed["socket"]["port"].as_u64()
    };
    let udp = udp_packet();
    // A UDP packet from port 53 to 4444: translation of addresses may give the socket another port.
    assert_eq!([53, 4444, 999].map(|number| port(number, &udp)), [Some(53), Some(4444), Some(999)]);
    assert_eq!([17, 255].map(|number| port(number, &udp)), [None, None], "raw sockets of UDP, and of any protocol");
    let mut icmp = udp.clone();
    icmp[14 + 9] = 1;
    assert_eq!([1, 4321].map(|number| port(number, &icmp)), [None, None], "a raw socket, and one of pings");
    assert_eq!(port(1, &[]), Some(1), "nothing is known of the packet");
}

#[test]
fn a_drop_is_one_line_in_the_order_of_the_schema() {
    insta::assert_snapshot!(drop_line(&event(&key().into(), &udp_packet())), @r#"{"schema":"droptrace.drop.v1","timestamp":"2026-01-01T00:00:00.000000007Z","seen_by":["ebpf"],"kind":"packet","usual":"sometimes","reason":"SOCKET_RCVBUFF","subsystem":"core","symbol":"udp_queue_rcv_one_skb","offset":423,"module":null,"address":"0xffffffff82045927","trap_group":null,"interface":"lo","ifindex":1,"protocol":"ipv4","netns":4026531833,"netns_name":null,"netns_cookie":null,"pod":null,"container":null,"unit":null,"cgroup":null,"cgroup_id":null,"socket_role":null,"owner_basis":null,"length":90,"source":"10.0.0.1:53","destination":"10.0.0.2:4444","transport":"udp","vlans":[],"to_device":null,"tcp_flags":null,"icmp_type":null,"icmp_code":null,"cpu":null,"mark":null,"queue":null,"device_mtu":null,"route_mtu":null,"gso":null,"socket":null,"process":null,"stack":null,"netfilter_hook":null}"#);
    let tagged = Arc::new(NamedKey {
        protocol: 0x86dd,
        location: location("nf_hook_slow", 0xc5, Some("nf_tables")),
        netns_name: Some("blue".into()),
        ..key()
    });
    insta::assert_snapshot!(drop_line(&event(&tagged, &tcp_packet())), @r#"{"schema":"droptrace.drop.v1","timestamp":"2026-01-01T00:00:00.000000007Z","seen_by":["ebpf"],"kind":"packet","usual":"sometimes","reason":"SOCKET_RCVBUFF","subsystem":"core","symbol":"nf_hook_slow","offset":197,"module":"nf_tables","address":"0xffffffff82045845","trap_group":null,"interface":"lo","ifindex":1,"protocol":"ipv6","netns":4026531833,"netns_name":"blue","netns_cookie":null,"pod":null,"container":null,"unit":null,"cgroup":null,"cgroup_id":null,"socket_role":null,"owner_basis":null,"length":90,"source":"[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:443","destination":"[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:55000","transport":"tcp","vlans":[100],"to_device":null,"tcp_flags":"S.","icmp_type":null,"icmp_code":null,"cpu":null,"mark":null,"queue":null,"device_mtu":null,"route_mtu":null,"gso":null,"socket":null,"process":null,"stack":null,"netfilter_hook":null}"#);
}

#[test]
fn drop_has_its_owner_and_process() {
    let owned = Arc::new(owned_key());
    let process = Arc::new(Process { pid: 1234, comm: Some("nginx".into()) });
    let line = drop_line(&DropEvent { process: Some(&process), ..event(&owned, &udp_packet()) });
    let parsed: Value = serde_json::from_str(&line).unwrap();
    let names = ["socket_role", "pod", "container", "unit", "cgroup", "cgroup_id", "process"].map(|name| &parsed[name]);
    let process = json!({"pid": 1234, "comm": "nginx"});
    let expected = json!(["receiver", "shop/web-7d9f", "nginx", null, "/kubepods/pod1/2", 77, process]);
    assert_eq!(json!(names), expected, "{line}");
}

#[test]
fn hostile_names_stay_within_their_strings() {
    let evil = Arc::new(NamedKey { interface: Some("\"},\n\x1b[2J".into()), ..key() });
    let line = drop_line(&event(&evil, &udp_packet()));
    assert_eq!(line.matches('\n').count(), 1);
    let parsed: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(parsed["interface"], "\"},\n\x1b[2J");
}

#[test]
fn a_trace_ends_with_its_ledger() {
    let mut out = Vec::new();
    let mut sink = TraceJson::new(&mut out);
    sink.start(&host(), NEW_YEAR).unwrap();
    sink.event(&event(&key().into(), &[])).unwrap();
    sink.finish(&RunEnd { sources: &trace_sources(), ..RunEnd::default() }).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 2);
    insta::assert_snapshot!(text.lines().last().unwrap(), @r#"{"schema":"droptrace.ledger.v1","sources":[{"source":"ebpf","mode":"tp_btf","ledger":{"hits":1007,"accounted":1000,"overflow":0,"filtered":7,"lost":0,"missed":0,"nested":0,"unknown_netns":0,"unrecorded":0,"events":{"offered":1000,"submitted":9,"suppressed":989,"ring_full":2,"delivered":8,"undecodable":1,"pending":0,"unreadable":3,"rate":100,"site_rate":1100},"qdisc_unmatched":null},"held_back":[{"reason":"SOCKET_RCVBUFF","subsystem":"core","symbol":"udp_queue_rcv_one_skb","offset":423,"module":null,"records":989}]}],"union":null,"attribution":null,"hidden":[],"retransmissions":null,"outside":null,"duration_ns":null}"#);
}

#[test]
fn each_backend_has_the_fields_of_its_ledger() {
    let mut out = Vec::new();
    TraceJson::new(&mut out).finish(&RunEnd { sources: &[net_dm_source()], ..RunEnd::default() }).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"{"schema":"droptrace.ledger.v1","sources":[{"source":"net_dm","mode":"packet","ledger":{"drops":1000,"accounted":990,"overflow":6,"filtered":4,"lost":123,"tail_drops":20,"socket_drops":100,"received":1003,"delivered":1000,"undecodable":3,"overruns":2,"interruptions":0,"at_limit":0,"device_hints":0,"skipped_attributes":0},"held_back":[]}],"union":null,"attribution":null,"hidden":[],"retransmissions":null,"outside":null,"duration_ns":null}"#);
}

#[test]
fn a_comparison_is_one_line_in_the_order_of_the_schema() {
    let mut out = Vec::new();
    CompareJson::new(&mut out).report(&comparison()).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    insta::assert_snapshot!(
        "compare",
        text.replace("},{\"reason\"", "},\n{\"reason\"").replace("[{\"reason\"", "[\n{\"reason\"")
    );
}

#[test]
fn a_recording_has_the_bytes_of_packets() {
    let mut out = Vec::new();
    let mut sink = RawJson::new(&mut out, RawOptions { captured: 128, home_netns: 7, both_sources: true });
    sink.start(&host(), NEW_YEAR).unwrap();
    sink.reading(Moment(9), Moment(3));
    sink.event(&event(&key().into(), &[0, 1, 0xfe])).unwrap();
    insta::assert_snapshot!("raw", String::from_utf8(out).unwrap());
}
