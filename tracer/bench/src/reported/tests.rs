use super::*;

fn here() -> HashSet<u64> {
    HashSet::from([0xffff_ffff_8204_5927])
}

fn read_here(target: Target, stdout: &str) -> Result<Reported> {
    read(target, stdout, "", Some(&here()))
}

#[test]
fn bpftrace_rows_count_at_the_drop_sites_of_the_load() {
    let text = "Attaching 1 probe...\n\n\n@[2, 0xffffffff820c879a]: 5\n@[6, 0xffffffff82045927]: 400\n\
                @[7, 18446744071595907367]: 20\n";
    assert_eq!(read_here(Target::Bpftrace, text).unwrap().seen, 420);
    assert_eq!(read(Target::Bpftrace, text, "", None).unwrap().seen, 425);
    assert_eq!(read_here(Target::Bpftrace, "").unwrap().seen, 0);
    assert!(read_here(Target::Bpftrace, "@[6, nonsense]: 4\n").is_err());
    let owners = "@[6, 0xffffffff82045927, 1]: 40\n@[6, 0xffffffff82045927, 812]: 2\n@[2, 0xffffffff820c879a, 0]: 9\n";
    assert_eq!(read_here(Target::BpftraceOwners, owners).unwrap().seen, 42);
}

#[test]
fn bpftrace_flows_count_on_loopback() {
    let [here, there, away] = [[127, 0, 0, 1], [127, 1, 62, 127], [10, 0, 0, 1]].map(u32::from_ne_bytes);
    let text = format!(
        "@[{here}, 33427, {there}, 12679, 17]: 40\n@[{here}, 0, {here}, 0, 17]: 2\n@[{here}, 1, {away}, 2, 6]: 9\n"
    );
    assert_eq!(read_here(Target::BpftraceFlows, &text).unwrap().seen, 42);
    assert!(read_here(Target::BpftraceFlows, "@[6, 0xffffffff82045927]: 4\n").is_err());
}

#[test]
fn perf_reports_samples() {
    let text =
        "\nAggregated stats:\n           TOTAL events:      40399\n            SAMPLE events:      40000  (99.0%)\n";
    assert_eq!(read_here(Target::Perf, text).unwrap().seen, 40_000);
    assert_eq!(read_here(Target::Perf, "TOTAL events: 3\n").unwrap().seen, 0);
    assert!(read_here(Target::Perf, "").is_err());
    let lossy = text.replace("SAMPLE", "LOST events: 3\n  SAMPLE");
    let account = read_here(Target::Perf, &lossy).unwrap().account(40_100).unwrap();
    assert_eq!(account.lost, [(WITHOUT_A_NUMBER.to_owned(), 100)]);
}

#[test]
fn dropwatch_reports_drop_sites_or_packets() {
    let text = "Initializing null lookup method\n12 drops at udp_queue_rcv_one_skb+1a7 (0xffffffff82045927) [software]\n\
                3 drops at other+1 (0xffffffff82045928) [software]\n\
                30 drops at location 0xffffffff82045927 [software]\n";
    assert_eq!(read_here(Target::DropwatchSummary, text).unwrap().seen, 42);
    assert!(read_here(Target::DropwatchSummary, "3 drops at nowhere\n").is_err());
    let text = "drop at: f+1 (0xffffffff82045927)\norigin: software\ndrop at: f+1 (0xffffffff82045927)\n";
    assert_eq!(read_here(Target::DropwatchPacket, text).unwrap().seen, 2);
}

const STAT: &str = r#"{"schema":"droptrace.stat.v1","sources":[{"source":"ebpf","mode":"tp_btf","ledger":
    {"hits":120,"accounted":90,"overflow":10,"filtered":20,"lost":0,"missed":0,"unknown_netns":0,"events":null}}],"drops":[]}"#;

#[test]
fn droptrace_s_counts_have_to_be_exact() {
    let reported = read_here(Target::Stat, STAT).unwrap();
    let account = reported.clone().account(100).unwrap();
    assert_eq!((account.accounted, account.lost.len(), account.foreign), (100, 0, 0));
    for wrong in [99, 101] {
        let error = reported.clone().account(wrong).unwrap_err().to_string();
        assert!(error.contains("does not add up"), "{error}");
    }
    let off = STAT.replace(r#""hits":120"#, r#""hits":121"#);
    assert!(read_here(Target::Stat, &off).unwrap_err().to_string().contains("does not add up"));
}

#[test]
fn rows_owners_and_flows_have_all_counted_drops() {
    let rows = r#""drops":[{"packets":70},{"packets":20}],"not_packets":[],"overflow":[{"packets":10}]"#;
    let parts = r#""attribution":{"attributed":60,"unknown":20,"no_socket":10,"no_room":10,"resident":5},
                   "flows":{"by_flow":75,"others":15,"no_flow":0,"no_room":10}"#;
    let text = STAT.replace(r#""drops":[]"#, &format!("{rows},{parts}"));
    assert_eq!(read_here(Target::StatFlows, &text).unwrap().account(100).unwrap().accounted, 100);
    for (field, what) in [(r#""packets":70"#, "rows"), (r#""attributed":60"#, "owners"), (r#""by_flow":75"#, "flows")] {
        let wrong = text.replace(field, &format!("{field}1"));
        let error = read_here(Target::StatFlows, &wrong).unwrap_err().to_string();
        assert!(error.starts_with(&format!("its {what} do not add up")), "{error}");
    }
}

#[test]
fn records_are_shown_held_back_or_lost() {
    let text = STAT.replace(
        r#""events":null"#,
        r#""events":{"offered":100,"submitted":63,"suppressed":30,"ring_full":7,"delivered":60,"undecodable":1,"pending":2}"#,
    );
    let account = read_here(Target::Trace, &text).unwrap().account(100).unwrap();
    assert_eq!((account.accounted, account.held_back), (90, 30));
    let lost = [("ring_full", 7), ("undecodable", 1), ("pending", 2)].map(|(cause, drops)| (cause.to_owned(), drops));
    assert_eq!(account.lost, lost);
}

#[test]
fn both_sources_make_one_account() {
    let rows =
        r#""drops":[{"address":"0xffffffff82045927","packets":80},{"address":"0xffffffff82045928","packets":9}]"#;
    let text = STAT.replace(r#""drops":[]"#, rows);
    let reported = read_here(Target::Both, &text).unwrap();
    assert_eq!(reported.clone().account(80).unwrap().accounted, 80);
    assert_eq!(reported.clone().account(70).unwrap().foreign, 10);
    assert!(reported.account(81).unwrap_err().to_string().contains("short"));
    let one = STAT.replace("ebpf", "net_dm");
    assert!(read_here(Target::Both, &one).unwrap_err().to_string().contains("one source"));
}

#[test]
fn drop_monitor_reports_foreign_drops_and_may_be_short_only_in_summary_mode() {
    let text = |lost: &str| {
        format!(
            r#"{{"sources":[{{"source":"net_dm","ledger":{{"accounted":80,"lost":{lost},"tail_drops":15,"socket_drops":0,
            "undecodable":0}}}}],"drops":[{{"address":"0xffffffff82045927","packets":80}},
            {{"address":"0xffffffff82045928","packets":9}}]}}"#
        )
    };
    let reported = |lost| read_here(Target::NetDmPacket, &text(lost)).unwrap();
    assert_eq!(reported("15").account(70).unwrap().foreign, 10);
    let account = reported("15").account(95).unwrap();
    assert_eq!((account.accounted, account.lost), (80, vec![("tail_drops".to_owned(), 15)]));
    assert!(reported("15").account(96).unwrap_err().to_string().contains("short"));
    let lost = reported("null").account(100).unwrap().lost;
    assert_eq!(lost, [("tail_drops".to_owned(), 15), (WITHOUT_A_WORD.to_owned(), 5)]);
}
