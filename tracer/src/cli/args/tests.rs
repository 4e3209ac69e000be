use std::num::{NonZeroU32, NonZeroU64};

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;
use crate::backend::TOTALS_BACKENDS;
use crate::command::parse_from;
use crate::render::rank::Sort;
use crate::run::CaptureBackend;
use crate::sink::StatFormat;
use crate::sink::TraceFormat;

fn parse(line: &str) -> Result<Command, clap::Error> {
    parse_from(["droptrace"].into_iter().chain(line.split_whitespace())).and_then(Cli::checked).map(Cli::into_command)
}

fn stat(line: &str) -> StatArgs {
    match parse(line) {
        Ok(Command::Stat(args)) => args.stat,
        other => panic!("{line}: {other:?}"),
    }
}

fn trace(line: &str) -> TraceArgs {
    match parse(line) {
        Ok(Command::Trace(args)) => args,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    let error = parse(line).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{line}");
    error.to_string()
}

#[test]
fn the_name_of_the_file_is_a_recordings_unless_a_form_is_given() {
    let cases = [
        ("trace -o x.dtr", TraceFormat::Dtr),
        ("trace -o x.dtr.zst", TraceFormat::Dtr),
        ("trace -o x --format dtr", TraceFormat::Dtr),
        ("trace -o x.dtr --format text", TraceFormat::Text),
        ("trace -o x.dtr --format json", TraceFormat::Json),
        ("trace -o x.dtr --raw", TraceFormat::Text),
        ("trace -o dtr", TraceFormat::Text),
        ("trace", TraceFormat::Text),
    ];
    for (line, format) in cases {
        assert_eq!(trace(line).format(), format, "{line}");
    }
}

#[test]
fn command_line_definition_is_valid() {
    Cli::command().debug_assert();
}

#[test]
fn stat_is_the_default_command_with_its_options() {
    for line in ["--duration 5s --top 3 --sort rate", "stat --duration 5s --top 3 --sort rate"] {
        let args = stat(line);
        assert_eq!((args.common.duration, args.top), (Some(Duration::from_secs(5)), Some(3)));
        assert_eq!(args.sort, Sort::Rate);
    }
    let defaults = stat("");
    assert_eq!((defaults.interval, defaults.top, defaults.sort), (None, None, Sort::Packets));
    assert_eq!((defaults.common.map_entries, defaults.common.mode), (8192, Mode::Auto));
    assert_eq!((defaults.format, defaults.common.verbose), (StatFormat::Text, 0));
}

#[test]
fn options_before_another_command_are_an_error() {
    assert!(refused("--duration 5s trace").contains("cannot be used with"));
}

#[test]
fn updates_depend_on_the_interval_and_the_output() {
    let second = Updates::Every(Duration::from_secs(1));
    let cases = [
        ("", true, second),
        ("", false, Updates::AtEnd),
        ("--duration 5s", true, Updates::AtEnd),
        ("--duration 5s", false, Updates::AtEnd),
        ("--interval 1s", false, second),
        ("--interval 1s --duration 5s", true, second),
    ];
    for (line, is_terminal, expected) in cases {
        assert_eq!(stat(line).updates(is_terminal), expected, "{line}, terminal: {is_terminal}");
    }
}

#[test]
fn trace_options() {
    let defaults = trace("trace");
    assert_eq!((defaults.snaplen, defaults.ring_size, defaults.count), (128, None, None));
    assert_eq!(defaults.bound().map(NonZeroU32::get), Some(100));
    let args = trace("trace --all -c 7 --snaplen 4096 --ring-size 64K -vv -o drops --mode tp_btf");
    assert_eq!((args.bound(), args.count.map(NonZeroU64::get)), (None, Some(7)));
    assert_eq!((args.snaplen, args.ring_size), (4096, Some(64 << 10)));
    assert_eq!((args.common.verbose, args.common.mode), (2, Mode::TpBtf));
    assert_eq!(args.common.destination.file.output, Some("drops".into()));
}

#[test]
fn snapshots_have_a_default_duration() {
    let snapshot = |line: &str| match parse(line) {
        Ok(Command::Snapshot(args)) => args.common(),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(snapshot("snapshot").duration, Some(Duration::from_secs(10)));
    let common = snapshot("snapshot --duration 1m -o host.json.zst --source net-dm");
    assert_eq!((common.duration, common.source), (Some(Duration::from_mins(1)), Source::NetDm));
    assert_eq!(common.destination.file.output, Some("host.json.zst".into()));
    refused("snapshot --format text");
}

#[test]
fn sources_have_the_names_of_the_options_and_of_the_results() {
    for (name, source) in [
        ("net-dm", Source::NetDm),
        ("net_dm", Source::NetDm),
        ("counters", Source::Plain(CaptureBackend::Totals(TOTALS_BACKENDS[0]))),
    ] {
        assert_eq!(stat(&format!("--source {name}")).common.source, source);
    }
}

#[test]
fn netlink_commands() {
    let Ok(Command::Netlink(args)) = parse("netlink family NET_DM --format json -vv") else { panic!("not understood") };
    assert_eq!(args.command.verbose(), 2);
    let NetlinkCommand::Family(family) = args.command else { panic!("{args:?}") };
    assert_eq!((family.name.as_str(), family.show.results.format), ("NET_DM", Format::Json));
    assert!(matches!(parse("netlink families"), Ok(Command::Netlink(_))));
    let Ok(Command::Netlink(args)) = parse("netlink watch netdev --group a --group b -c 3") else {
        panic!("not understood")
    };
    let NetlinkCommand::Watch(watch) = args.command else { panic!("{args:?}") };
    assert_eq!(
        (watch.group, watch.count.map(NonZeroU64::get), watch.buffer),
        (vec!["a".into(), "b".into()], Some(3), 4 << 20)
    );
    assert!(refused("netlink family").contains("<NAME>"));
    assert!(refused("netlink").contains("families"));
}

#[test]
fn error_of_wrong_usage_names_valid_values() {
    for (line, hint) in [
        ("--duration abc", "such as 10s, 1m30s or 500ms"),
        ("--interval 1us", "the shortest interval is 10ms"),
        ("--map-entries 0", "from 1 to 1048576"),
        ("--map-entries 1048577", "from 1 to 1048576"),
        ("--sort size", "[possible values: packets, bytes, rate, reason, symbol, last]"),
        ("--format yaml", "[possible values: text, json, csv, "),
        ("trace --ring-size 5M", "the next ones are 4M and 8M"),
        ("trace --snaplen 4097", "from 0 to 4096"),
        ("trace --rate 0", "from 1 to 4294967295"),
        ("trace --count 0", "'0' for '--count <N>': write a whole number greater than zero"),
        ("trace --count -2", "'-2' for '--count <N>': write a whole number greater than zero"),
        ("stat --top -1", "'-1' for '--top <N>': write a whole number, or 0 for all"),
        ("netlink watch x --buffer y", "from 1 to 1073741824"),
        ("trace --all --rate 5", "cannot be used with"),
        ("stat --format dtr", "invalid value 'dtr'"),
        ("trace --format dtr --count 3", "'--count' has no effect on a recording"),
        ("trace -o x.dtr.zst --count 3", "'--count' has no effect on a recording"),
        ("trace --raw --rate 5", "cannot be used with"),
        ("trace --raw --color never", "cannot be used with"),
        ("trace --raw --format text", "cannot be used with"),
        ("trace --source net-dm --ring-size 4M", "'--ring-size' has no effect with '--source net-dm'"),
        ("stat --retransmits --source net-dm", "'--retransmits' needs the BPF program"),
        ("trace --retransmits --source both", "'--retransmits' needs the BPF program"),
        ("trace --retransmits -o x.dtr", "'--retransmits' has no effect on a recording"),
        ("trace --retransmits --raw", "cannot be used with"),
        ("trace --source net_dm --rate 5", "the drop monitor reports every drop"),
        ("trace --source both --rate 5", "the drop monitor reports every drop"),
        ("--source net-dm --mode tp_btf", "'--mode' has no effect with '--source net-dm'"),
        ("stat --source ebpf --net-dm-mode packet", "'--net-dm-mode' has no effect with '--source ebpf'"),
        ("trace --source counters --mode tp_btf", "'--mode' has no effect with '--source counters'"),
        ("--mode tp_btf --net-dm-mode packet", "add '--source both'"),
        ("stat --all", "'--all' is an option of 'droptrace trace'"),
        ("--all", "'--all' is an option of 'droptrace trace'"),
        ("trace --by reason", "'--by' is an option of 'droptrace stat'"),
        ("nonsense", "nonsense"),
    ] {
        let text = refused(line);
        assert!(text.contains(hint), "{line}: {text}");
    }
}

#[test]
fn help_teaches() {
    let help = parse("--help").unwrap_err();
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    let text = help.to_string();
    println!("{text}");
    for word in ["Examples:", "Capabilities:", "Exit status:", "--map-entries", "[default: 8192]", "trace"] {
        assert!(text.contains(word), "{word}");
    }
    let short = parse("-h").unwrap_err().to_string();
    println!("{short}");
    assert!(!short.contains("--map-entries") && short.contains("Examples:"));
    let trace = parse("trace --help").unwrap_err().to_string();
    println!("{trace}");
    assert!(trace.contains("--ring-size") && trace.contains("[default: 8M]"));
}

#[test]
fn explain_takes_words_or_none() {
    let explain = |line: &str| match parse(line) {
        Ok(Command::Explain(args)) => args,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(explain("explain").asked, [""; 0]);
    let args = explain("explain socket_rcvbuff --format json");
    assert_eq!((&*args.asked, args.format), (&["socket_rcvbuff".to_owned()][..], Format::Json));
    assert_eq!(explain("explain NO_SOCKET netns web").asked.len(), 3, "a name and conditions");
    refused("explain --duration 1s");
}

#[test]
fn words_behind_options_are_a_filter() {
    let text = |filter: Option<Filter>| filter.map(|filter| filter.text);
    for line in ["stat --filter udp", "--filter udp"] {
        assert_eq!(text(stat(line).common.filter), Some("udp".into()), "{line}");
    }
    assert_eq!(text(stat("stat --top 3 tcp port 80 --sort rate").common.filter), Some("tcp port 80".into()));
    assert_eq!(text(trace("trace -c 3 not ( udp or icmp )").common.filter), Some("not ( udp or icmp )".into()));
    assert_eq!(text(trace("trace -- -1 < len").common.filter), Some("-1 < len".into()));
    let Ok(Command::Replay(replay)) = parse("replay FILE reason NO_SOCKET --stat") else { panic!("not understood") };
    assert_eq!((replay.file, text(replay.filter), replay.stat), ("FILE".into(), Some("reason NO_SOCKET".into()), true));
}

#[test]
fn words_behind_two_dashes_are_a_command() {
    let command = |line: &str| match parse(line) {
        Ok(Command::Stat(args)) => (args.words.words, args.workload),
        other => panic!("{line}: {other:?}"),
    };
    let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (filter, workload) = command("stat --top 3 tcp port 80 -- make -j2 check");
    assert_eq!((filter, workload), (words(&["tcp", "port", "80"]), vec!["make".into(), "-j2".into(), "check".into()]));
    assert_eq!(command("stat -- true").0, words(&[]));
    assert_eq!(command("stat").1, Vec::<std::ffi::OsString>::new());
}

#[test]
fn options_of_other_tools_have_tips() {
    for (line, tip) in [
        ("stat -i eth0", "'droptrace stat iface eth0'"),
        ("trace -n", "leave '-n' out"),
        ("stat --pcap x", "'droptrace trace -w drops.pcapng'"),
        ("stat -w x", "'droptrace trace -w drops.pcapng'"),
        ("stat --reason NO_SOCKET", "'droptrace stat reason NO_SOCKET'"),
        ("trace --pid 1", "'droptrace trace process 1234'"),
        ("trace -p 1", "'droptrace trace process 1234'"),
        ("snapshot --json", "'--format json'"),
        ("tcp port 443", "'droptrace stat tcp port 443'"),
    ] {
        let text = refused(line);
        assert!(text.contains("  tip: ") && text.contains(tip), "{line}: {text}");
    }
    assert!(!refused("stats").contains("a filter comes"));
    assert!(!refused("stat --pit 1").contains("process 1234"));
    assert!(!refused("stat --formt json").contains("'-- "), "a word behind two dashes is a command to run");
}

#[test]
fn hidden_drops_need_rows() {
    for (line, hint) in [
        ("trace --raw --unusual", "'--unusual' has no effect on a recording"),
        ("trace -o x.dtr --hide usual", "'--hide' has no effect on a recording"),
        ("stat --stack --format folded --unusual", "no effect on call stacks"),
        ("stat --hide udp", "rows have no packets"),
        ("stat --csv --format json", "cannot be used with"),
        ("stat --csv --explain", "'--explain' writes text"),
        ("stat --fail-if total", "COUNT > NUMBER"),
    ] {
        assert!(refused(line).contains(hint), "{line}: {}", refused(line));
    }
    assert_eq!(stat("stat --csv").format(), StatFormat::Csv);
}

#[test]
fn filter_without_a_command_is_a_mistyped_command() {
    assert!(refused("stta").contains("'stat'"), "{}", refused("stta"));
    assert!(refused("tcp port 80").contains("unrecognized subcommand 'tcp'"));
}

#[test]
fn error_of_a_filter_is_shown_with_its_position() {
    for line in ["trace --filter prot", "stat prot 53", "replay FILE prot 53"] {
        let text = refused(line);
        assert!(text.contains("unknown word `prot`") && text.contains("\n  ^\n"), "{text}");
        assert!(text.contains("did you mean `port`?"), "{text}");
    }
    assert!(refused("trace --filter tcp udp").contains("cannot be used with"));
}
