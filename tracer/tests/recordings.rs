//! Recordings from real kernels, replayed by the real binary.
//!
//! `both-6.12` was made by `droptrace trace --source both --raw` on Linux 6.12.95, while tests provoked 20 drops by
//! nftables, 20 by failed and 20 by full neighbours, and threw away what their queues held.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const BOTH: &str = "both-6.12.jsonl.zst";

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(name)
}

fn replayed(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_droptrace"));
    command.arg("replay").args(arguments).env_remove("COLUMNS");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end before it has read all.
    _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_drop_is_shown_once_with_its_backends() {
    let output = replayed(&[recording(BOTH).to_str().unwrap(), "--format", "json"], &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (ledger, drops) = lines.split_last().unwrap();
    let of = |reason: &str, seen_by: &[&str]| {
        drops.iter().filter(|drop| drop["reason"] == reason && drop["seen_by"] == serde_json::json!(seen_by)).count()
    };
    assert_eq!(drops.len(), 66);
    assert_eq!(of("NETFILTER_DROP", &["ebpf", "net_dm"]), 20);
    assert_eq!(of("NEIGH_FAILED", &["ebpf"]) + of("NEIGH_QUEUEFULL", &["ebpf"]), 40, "without a MAC header");
    let union = &ledger["union"];
    assert_eq!((&union["unique"], &union["duplicates"], &union["pending"]), (&66.into(), &25.into(), &0.into()));
    assert_eq!(union["ebpf"]["alone"]["no_mac_header"], 41);
    assert_eq!(ledger["sources"][0]["ledger"]["hits"], 66);
}

/// The drops that a filter leaves, and the last line.
fn filtered(arguments: &[&str]) -> (Vec<Value>, Value) {
    let output = replayed(&[&[recording(BOTH).to_str().unwrap(), "--format", "json"], arguments].concat(), &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let mut lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    (lines, last)
}

#[test]
fn filter_leaves_drops_that_match() {
    let (all, _) = filtered(&[]);
    let by_reason = all.iter().filter(|drop| drop["reason"] == "NETFILTER_DROP").count();
    let (drops, last) = filtered(&["reason", "NETFILTER_*"]);
    assert!(by_reason > 0 && drops.len() == by_reason && drops.iter().all(|drop| drop["reason"] == "NETFILTER_DROP"));
    let of = |last: &Value, source: usize, field: &str| last["sources"][source]["ledger"][field].as_u64().unwrap();
    assert_eq!((of(&last, 0, "accounted"), of(&last, 0, "filtered")), (20, 46), "{last}");
    assert_eq!(of(&last, 0, "hits"), 66);
    assert_eq!(of(&last, 1, "accounted") + of(&last, 1, "filtered"), of(&last, 1, "drops"));
    // Both halves of a condition are all drops.
    for condition in ["udp", "usual", "site nf_*", "len > 100", "iface lo", "reason NEIGH_FAILED and not tcp"] {
        let (some, rest) = (filtered(&[condition]).0, filtered(&["--filter", &format!("not ({condition})")]).0);
        assert_eq!(some.len() + rest.len(), all.len(), "{condition}");
    }
    assert!(!filtered(&["udp"]).0.is_empty() && !filtered(&["not", "udp"]).0.is_empty());
}

#[test]
fn filter_asks_nothing_that_only_the_recorded_host_knows() {
    let output = replayed(&[recording(BOTH).to_str().unwrap(), "netns", "pid:1"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a recording has neither processes nor files"), "{output:?}");
}

/// The recording of the BPF program alone, whose sampler held back the first 30 records.
fn thinned() -> Vec<u8> {
    let plain = zstd::decode_all(&fs::read(recording(BOTH)).unwrap()[..]).unwrap();
    let mut lines: Vec<Value> = text(&plain).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut left_out = 0;
    lines.retain(|line| {
        let is_record = line["source"] == "ebpf";
        left_out += u32::from(is_record);
        line["source"] != "net_dm" && !(is_record && left_out <= 30)
    });
    let sources = lines.last_mut().unwrap()["sources"].as_array_mut().unwrap();
    sources.truncate(1);
    let events = &mut sources[0]["ledger"]["events"];
    (events["suppressed"], events["submitted"], events["delivered"]) = (30.into(), 36.into(), 36.into());
    lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n").into_bytes()
}

#[test]
fn drops_without_a_record_are_not_lost_and_not_decided() {
    let all = replayed(&["-", "--stat"], &thinned());
    assert!(all.status.success() && all.stderr.is_empty(), "{all:?}");
    let records = "records: 66 offered = 36 submitted + 30 suppressed (counted, not shown; --all shows every drop)";
    assert!(text(&all.stdout).contains(records) && !text(&all.stdout).contains("could not decide"), "{all:?}");
    for condition in ["udp", "not udp", "reason *"] {
        let some = replayed(&["-", "--stat", condition], &thinned());
        let undecided = "; 30 of the drops have no record, so the filter could not decide on them\n";
        assert!(text(&some.stdout).contains(undecided) && text(&some.stdout).contains(records), "{some:?}");
        let lines = replayed(&["-", "--format", "json", condition], &thinned());
        let last: Value = serde_json::from_str(text(&lines.stdout).lines().last().unwrap()).unwrap();
        let ledger = &last["sources"][0]["ledger"];
        let of = |field: &str| ledger[field].as_u64().unwrap();
        assert_eq!((of("unrecorded"), of("accounted") + of("filtered")), (30, 66), "{condition}: {ledger}");
    }
    let whole = filtered(&["udp"]).1;
    assert_eq!(whole["sources"][0]["ledger"]["unrecorded"], 0);
}

#[test]
fn recording_is_shown_as_a_table() {
    let output = replayed(&[recording(BOTH).to_str().unwrap(), "--stat"], &[]);
    assert!(output.status.success(), "{output:?}");
    insta::assert_snapshot!(text(&output.stdout));
}

/// `tracer/fuzz/seeds/blocks/stacks` is the start of a recording in blocks, with three drops.
#[test]
fn call_stacks_of_a_recording_are_folded() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/blocks/stacks");
    let folded = |words: &[&str]| replayed(&[&[file.to_str().unwrap(), "--format", "folded"], words].concat(), &[]);
    insta::assert_snapshot!(text(&folded(&[]).stdout));
    let of_a_filter = folded(&["not", "udp"]);
    assert!(of_a_filter.stdout.is_empty(), "{of_a_filter:?}");
    assert!(text(&of_a_filter.stderr).contains("does not agree with its ledger"), "no drop matches: {of_a_filter:?}");
}

#[cfg(feature = "html")]
#[test]
fn call_stacks_of_a_recording_are_drawn() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/blocks/stacks");
    let picture = replayed(&[file.to_str().unwrap(), "--format", "svg"], &[]);
    let picture = text(&picture.stdout);
    assert!(picture.contains("<svg") && picture.contains("the drops of a recording"), "{picture}");
    assert!(picture.contains("__udp4_lib_rcv"), "{picture}");
}

#[test]
fn recording_without_call_stacks_is_no_flame_graph() {
    let output = replayed(&[recording(BOTH).to_str().unwrap(), "--format", "folded"], &[]);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        "droptrace: no drop of the recording has a call stack: `droptrace trace --stack -o FILE.dtr` records them\n"
    );
    let output = replayed(&[recording(BOTH).to_str().unwrap(), "--format", "folded", "--stat"], &[]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("'--stat' shows a table"), "{output:?}");
}

/// Drops that both backends reported, when the kernel program's records are read five seconds after all alerts, and what came before
/// `settled` was read by then.
fn joined_when_read_late(settled: u64) -> Value {
    let plain = zstd::decode_all(&fs::read(recording(BOTH)).unwrap()[..]).unwrap();
    let lines: Vec<Value> = text(&plain).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut late, mut lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["source"] == "ebpf");
    for line in &mut late {
        line["received_ns"] = (line["received_ns"].as_u64().unwrap() + 5_000_000_000).into();
        line["watermark_ns"] = settled.into();
    }
    let end = lines.pop().unwrap();
    let lines: Vec<_> = lines.into_iter().chain(late).chain([end]).map(|line| line.to_string()).collect();
    let output = replayed(&["-", "--format", "json"], lines.join("\n").as_bytes());
    let ledger = text(&output.stdout).lines().last().unwrap();
    serde_json::from_str::<Value>(ledger).unwrap()["union"]["duplicates"].clone()
}

#[test]
fn drop_waits_until_the_other_backend_was_read() {
    assert_eq!(joined_when_read_late(0), 25);
    assert_eq!(joined_when_read_late(u64::MAX), 0);
}

/// Every other record has no bytes, by which it could be joined with a report of the drop monitor: it need not wait for one.
#[test]
fn drops_of_one_source_keep_their_order() {
    let mut lines: Vec<Value> = text(&thinned()).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (at, line) in lines.iter_mut().filter(|line| line["source"] == "ebpf").enumerate() {
        if at % 2 == 1 {
            (line["start"], line["bytes"]) = (Value::Null, "".into());
        }
    }
    let recorded: Vec<_> =
        lines.iter().filter(|line| line["source"] == "ebpf").map(|line| line["timestamp"].clone()).collect();
    let replayed = |both_sources: bool| {
        let mut lines = lines.clone();
        lines[0]["both_sources"] = both_sources.into();
        let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
        let output = replayed(&["-", "--format", "json"], lines.join("\n").as_bytes());
        let shown = text(&output.stdout).lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        shown
            .filter(|line| line["schema"] == "droptrace.drop.v1")
            .map(|line| line["timestamp"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(replayed(false), recorded);
    assert_ne!(replayed(true), recorded, "what has no bytes does not wait");
}

#[test]
fn recording_is_read_from_stdin_compressed_or_not() {
    let compressed = fs::read(recording(BOTH)).unwrap();
    let plain = zstd::decode_all(&compressed[..]).unwrap();
    let expected = replayed(&[recording(BOTH).to_str().unwrap()], &[]).stdout;
    assert_eq!(replayed(&["-"], &compressed).stdout, expected);
    assert_eq!(replayed(&["-"], &plain).stdout, expected);
}

#[test]
fn truncated_recording_is_shown_as_far_as_it_can_be_read() {
    let plain = zstd::decode_all(&fs::read(recording(BOTH)).unwrap()[..]).unwrap();
    let at = plain.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(20).unwrap().0;
    // Between two lines, and within one.
    for (end, complaint) in [(at + 1, "it ends without the ledger"), (at - 9, "1 lines could not be decoded")] {
        let output = replayed(&["-", "--format", "json"], &plain[..end]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(complaint), "{}", text(&output.stderr));
        assert!(text(&output.stdout).lines().count() > 5);
    }
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(&plain[..=at]).unwrap();
    encoder.flush().unwrap();
    encoder.write_all(&plain[at + 1..]).unwrap();
    let mut cut = encoder.get_ref().clone();
    cut.extend_from_slice(&encoder.finish().unwrap()[cut.len()..][..20]);
    let output = replayed(&["-"], &cut);
    assert_eq!(output.status.code(), Some(1));
    let complaint = "droptrace: the recording cannot be read beyond line 21: it is truncated or damaged: ";
    assert!(text(&output.stderr).starts_with(complaint), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("NETFILTER_DROP"));
}

#[test]
fn other_files_are_an_error() {
    let output = replayed(&["/dev/null"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "droptrace: this is not a recording: it is empty; `droptrace trace -o FILE.dtr` makes one\n"
    );
    let output = replayed(&["/nowhere/at/all"], &[]);
    assert_eq!(
        text(&output.stderr),
        "droptrace: cannot open /nowhere/at/all: No such file or directory (os error 2)\n"
    );
}
