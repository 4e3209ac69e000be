//! Each option of each command has a test that fails when the option is ignored. This list says which; one that is missing
//! in it, or whose test is not there, fails here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};
use droptrace_fleet::cli::args::Cli as FleetCli;
use tracer::cli::args::Cli;

/// Options of a command, where their test is within `tests/tests`, and its function, which names the options.
struct Proof {
    command: &'static str,
    options: &'static [&'static str],
    file: &'static str,
    test: &'static str,
}

const fn proof(
    command: &'static str,
    options: &'static [&'static str],
    file: &'static str,
    test: &'static str,
) -> Proof {
    Proof { command, options, file, test }
}

const EVERYWHERE: &str = "options/everywhere.rs";
const TOP: &str = "top.rs";
const CAPTURE: &str = "options/capture.rs";
const TRACE: &str = "options/trace.rs";
const RECONCILE: &str = "reconcile/main.rs";
const RULE: &str = "rule/main.rs";
const COMPARE: &str = "options/compare.rs";
const QUIET: &str = "quiet.rs";
const AGENT: &str = "options/agent.rs";
const SPANS: &str = "history/reads.rs";
const SUMS: &str = "history/sums.rs";
const MERGE: &str = "options/fleet.rs";
const WATCH: &str = "fleet_watch.rs";
const COLLECT: &str = "collect/hosts.rs";
const PODS: &str = "collect/kubectl.rs";
const DIAGNOSE: &str = "options/diagnose.rs";

const SHOWN: &[&str] = &["--format", "--output", "--html", "--color", "--top", "--named"];
#[rustfmt::skip]
const BOUNDS: &[&str] = &[
    "--by", "--false-discoveries", "--min-times", "--min-host-packets", "--growth", "--min-packets", "--min-hosts",
    "--storm-rate",
];

#[rustfmt::skip]
const PROOFS: &[Proof] = &[
    proof("stat", &["--by"], CAPTURE, "rows_are_grouped"),
    proof("stat", &["--sort", "--top"], CAPTURE, "rows_are_sorted_and_bounded"),
    proof("stat", &["--no-counters"], "outside/main.rs", "counters_are_left_out"),
    proof("stat", &["--interval"], CAPTURE, "readings_come_at_an_interval"),
    proof("stat", &["--duration"], CAPTURE, "a_run_has_a_time"),
    proof("stat", &["--format"], EVERYWHERE, "a_form_is_chosen_as_root"),
    proof("stat", &["--unusual", "--hide"], QUIET, "shown_and_hidden_drops_are_all_drops"),
    proof("stat", &["--csv"], QUIET, "values_are_separated_by_commas"),
    proof("stat", &["--fail-if"], QUIET, "a_condition_on_counts_fails_the_run"),
    proof("trace", &["--unusual", "--hide"], QUIET, "single_drops_are_hidden_and_counted"),
    proof("replay", &["--unusual", "--hide"], QUIET, "recorded_drops_are_hidden_and_counted"),
    proof("stat", &["--output"], EVERYWHERE, "results_go_to_a_file_as_root"),
    proof("stat", &["--verbose"], EVERYWHERE, "more_is_said_as_root"),
    proof("stat", &["--netns"], CAPTURE, "other_namespaces_are_left_out"),
    proof("stat", &["--interface"], CAPTURE, "other_interfaces_are_left_out"),
    proof("stat", &["--filter"], CAPTURE, "other_packets_are_left_out"),
    proof("stat", &["--color"], CAPTURE, "tables_have_colours"),
    proof("stat", &["--source"], CAPTURE, "a_source_is_chosen"),
    proof("stat", &["--net-dm-mode"], "net_dm.rs", "under_load"),
    proof("stat", &["--mode"], CAPTURE, "a_way_to_attach_is_chosen"),
    proof("stat", &["--map-entries"], CAPTURE, "keys_in_the_kernel_are_bounded"),
    proof("stat", &["--max-rows"], CAPTURE, "rows_in_memory_are_bounded"),
    proof("trace", &["--count"], TRACE, "a_run_ends_after_so_many"),
    proof("trace", &["--all", "--rate"], TRACE, "records_have_bounds"),
    proof("trace", &["--raw"], TRACE, "a_recording_is_another_form"),
    proof("trace", &["--snaplen"], TRACE, "bytes_of_packets_are_cut"),
    proof("trace", &["--ring-size"], TRACE, "the_ring_has_a_size"),
    proof("trace", &["--no-counters"], "outside/main.rs", "counters_are_left_out"),
    proof("trace", &["--local-time"], TRACE, "times_are_those_of_the_host"),
    proof("trace", &["--no-owners"], TRACE, "owners_are_left_out"),
    proof("stat", &["--explain"], "explain/faults.rs", "usual_drops_come_last"),
    proof("trace", &["--explain"], "explain/faults.rs", "trace_explains_what_it_shows"),
    proof("stat", &["--stack"], "truth/stacks.rs", "a_sample_has_stacks_and_all_are_counted"),
    proof("stat", &["--retransmits"], "retransmits.rs", "totals"),
    proof("trace", &["--retransmits"], "retransmits.rs", "during"),
    proof("trace", &["--stack"], "truth/stacks.rs", "a_stack_leads_from_the_site_to_the_sender"),
    proof("trace", &["--write"], "capture.rs", "a_capture_has_each_packet"),
    proof("trace", &["--duration"], CAPTURE, "a_run_has_a_time"),
    proof("trace", &["--format"], EVERYWHERE, "a_form_is_chosen_as_root"),
    proof("trace", &["--output"], EVERYWHERE, "results_go_to_a_file_as_root"),
    proof("trace", &["--verbose"], EVERYWHERE, "more_is_said_as_root"),
    proof("trace", &["--netns"], CAPTURE, "other_namespaces_are_left_out"),
    proof("trace", &["--interface"], CAPTURE, "other_interfaces_are_left_out"),
    proof("trace", &["--filter"], CAPTURE, "other_packets_are_left_out"),
    proof("trace", &["--color"], CAPTURE, "tables_have_colours"),
    proof("trace", &["--source"], CAPTURE, "a_source_is_chosen"),
    proof("trace", &["--net-dm-mode"], CAPTURE, "alerts_have_modes"),
    proof("trace", &["--mode"], CAPTURE, "a_way_to_attach_is_chosen"),
    proof("trace", &["--map-entries"], CAPTURE, "keys_in_the_kernel_are_bounded"),
    proof("trace", &["--max-rows"], CAPTURE, "rows_in_memory_are_bounded"),
    proof("top", &["--netns", "--interface", "--filter"], TOP, "drops_are_selected"),
    proof("top", &["--interval", "--by", "--duration", "--output", "--color", "--verbose"], TOP, "screen_is_as_asked"),
    proof("top", &["--since", "--until", "--history"], "history/screen.rs", "screen_has_the_counts_of_the_past"),
    proof("top", &["--no-counters"], TOP, "screen_is_as_asked"),
    proof("top", &["--source", "--mode", "--net-dm-mode"], TOP, "backends_are_chosen"),
    proof("top", &["--max-rows"], TOP, "rows_are_bounded"),
    proof("top", &["--map-entries"], TOP, "keys_are_bounded"),
    proof("compare", &["--net-dm-mode"], "both.rs", "summaries_are_explained"),
    proof("replay", &["--stat"], "both.rs", "a_recording_is_replayed_as_it_was"),
    proof("replay", &["--write"], "capture.rs", "a_capture_of_a_recording_is_the_same"),
    proof("replay", &["--format"], EVERYWHERE, "a_form_is_chosen"),
    proof("replay", &["--output"], EVERYWHERE, "results_go_to_a_file"),
    proof("replay", &["--filter"], EVERYWHERE, "recorded_drops_are_filtered"),
    proof("replay", &["--color"], EVERYWHERE, "colours_are_wanted"),
    proof("snapshot", &["--duration"], CAPTURE, "a_run_has_a_time"),
    proof("snapshot", &["--output"], EVERYWHERE, "results_go_to_a_file_as_root"),
    proof("snapshot", &["--verbose"], EVERYWHERE, "more_is_said_as_root"),
    proof("snapshot", &["--owners"], "snapshot.rs", "rows_have_owners"),
    proof("snapshot", &["--source"], CAPTURE, "a_source_is_chosen"),
    proof("snapshot", &["--filter"], "snapshot.rs", "drops_that_do_not_match_are_left_out"),
    proof("snapshot", &["--no-counters"], "outside/lasting.rs", "snapshot_has_losses_outside"),
    proof("snapshot", &["--map-entries"], CAPTURE, "keys_in_the_kernel_are_bounded"),
    proof("agent", &["--config"], "agent/web.rs", "files_are_reloaded"),
    proof("agent", &["--listen"], "agent/ends.rs", "a_port_that_is_taken_is_named"),
    proof("agent", &["--listen-insecure"], "agent/ends.rs", "unencrypted_public_address_needs_an_option"),
    proof("agent", &["--web-config"], "agent/web.rs", "tls_and_passwords"),
    proof("agent", &["--interval"], AGENT, "totals_are_read_at_an_interval"),
    proof("agent", &["--max-series"], "agent/counts.rs", "overflow_series_keeps_sum_exact"),
    proof("agent", &["--expire-after"], "agent/counts.rs", "series_of_what_is_gone_expire"),
    proof("agent", &["--offset-label"], "agent/counts.rs", "offset_label_is_shown_if_asked_for"),
    proof("agent", &["--owners"], "agent/owners.rs", "receivers_have_owners"),
    proof("agent", &["--source"], AGENT, "an_agent_has_a_source"),
    proof("agent", &["--netns"], AGENT, "an_agent_looks_at_one_namespace"),
    proof("agent", &["--filter"], AGENT, "an_agent_counts_drops_that_match"),
    proof("agent", &["--no-counters"], "outside/lasting.rs", "agent_without_counters_has_no_such_metric"),
    proof("agent", &["--map-entries"], "agent/counts.rs", "keys_without_room_are_counted_by_reason"),
    proof("agent", &["--history"], "history/main.rs", "start"),
    proof("agent", &["--history-size", "--history-age"], SUMS, "files_are_bounded_and_others_are_left_alone"),
    proof("stat", &["--since", "--until", "--history"], SPANS, "time_spans_have_their_intervals"),
    proof("trace", &["--since", "--until", "--history"], SPANS, "single_drops_of_rows_that_are_never_usual_are_kept"),
    proof("agent", &["--otlp", "--otlp-interval"], AGENT, "metrics_are_pushed_at_an_interval"),
    proof("agent", &["--otlp-instance", "--otlp-headers-file"], AGENT, "pushes_have_names_and_headers"),
    proof("agent", &["--otlp-timeout"], AGENT, "a_push_may_take_so_long"),
    proof("agent", &["--otlp-logs", "--otlp-logs-headers-file"], AGENT, "drops_are_pushed_with_headers"),
    proof("agent", &["--otlp-logs-rate"], "agent_otlp/logs.rs", "drops_arrive"),
    proof("agent", &["--verbose"], AGENT, "an_agent_says_more"),
    proof("doctor", &["--repair"], "net_dm.rs", "state_of_a_killed_agent_is_repaired_on_request"),
    proof("doctor", &["--format"], EVERYWHERE, "a_form_is_chosen_as_root"),
    proof("doctor", &["--output"], EVERYWHERE, "results_go_to_a_file_as_root"),
    proof("doctor", &["--verbose"], EVERYWHERE, "more_is_said_as_root"),
    proof("explain", &["--format"], EVERYWHERE, "a_form_is_chosen"),
    proof("explain", &["--output"], EVERYWHERE, "results_go_to_a_file"),
    proof("bench", &["--series", "--only", "--rounds", "--html"], "bench.rs", "figures_add_up"),
    proof("bench", &["--quick", "--drops"], "bench.rs", "bench"),
    proof("bench", &["--format", "--output"], EVERYWHERE, "a_benchmark_is_shown_as_asked"),
    proof("netlink families", &["--format"], EVERYWHERE, "a_form_is_chosen"),
    proof("netlink families", &["--output"], EVERYWHERE, "results_go_to_a_file"),
    proof("netlink families", &["--verbose"], EVERYWHERE, "more_is_said"),
    proof("netlink family", &["--format"], EVERYWHERE, "a_form_is_chosen"),
    proof("netlink family", &["--output"], EVERYWHERE, "results_go_to_a_file"),
    proof("netlink family", &["--verbose"], EVERYWHERE, "more_is_said"),
    proof("netlink listeners", &["--format"], EVERYWHERE, "a_form_is_chosen"),
    proof("netlink listeners", &["--output"], EVERYWHERE, "results_go_to_a_file"),
    proof("netlink listeners", &["--verbose"], EVERYWHERE, "more_is_said"),
    proof("netlink crypto", &["--format", "--output", "--verbose"], EVERYWHERE, "algorithms_are_shown_as_asked"),
    proof("netlink watch", &["--group", "--count", "--format", "--output"], CAPTURE, "a_family_is_watched_as_asked"),
    proof("netlink watch", &["--buffer"], "netlink/watch.rs", "start"),
    proof("netlink watch", &["--duration"], CAPTURE, "a_run_has_a_time"),
    proof("netlink watch", &["--verbose"], EVERYWHERE, "more_is_said_as_root"),
    proof("reconcile", &["--format", "--output", "--color", "--verbose"], RECONCILE, "counters_are_shown_as_asked"),
    proof("reconcile", &["--duration", "--interval"], RECONCILE, "a_run_has_a_time_and_an_interval"),
    proof("reconcile", &["--netns"], RECONCILE, "other_namespaces_are_left_out"),
    proof("rule", &["--duration", "--format", "--output", "--verbose"], RULE, "the_run_has_a_time_and_forms"),
    proof("rule", &["--netns"], RULE, "start"),
    proof("rule", &["--limit"], RULE, "traced_packets_are_bounded"),
    proof("rule", &["--filter"], RULE, "other_packets_are_left_out"),
    proof("compare", &["--format", "--output", "--color", "--verbose"], COMPARE, "a_comparison_is_shown_as_asked"),
    proof("compare", &["--filter"], COMPARE, "a_comparison_has_a_filter"),
    proof("compare", &["--duration"], COMPARE, "a_comparison_has_a_time"),
    proof("compare", &["--mode", "--map-entries", "--ring-size"], COMPARE, "a_comparison_has_bounds"),
    proof("droptrace-fleet merge", SHOWN, MERGE, "a_fleet_is_shown_as_asked"),
    proof("droptrace-fleet merge", BOUNDS, MERGE, "bounds_of_findings_count"),
    proof("droptrace-fleet merge", &["--baseline"], MERGE, "what_is_new_needs_a_baseline"),
    proof("droptrace-fleet collect", SHOWN, PODS, "a_collection_is_shown_as_asked"),
    proof("droptrace-fleet collect", BOUNDS, PODS, "bounds_count_for_collections_too"),
    proof("droptrace-fleet collect", &["--verbose"], PODS, "more_is_said_of_hosts"),
    proof("droptrace-fleet collect", &["--kubectl", "--namespace", "--selector", "--container", "--kubectl-option"], PODS, "pods_are_selected_and_asked"),
    proof("droptrace-fleet collect", &["--ssh-config", "--ssh-option", "--user", "--sudo", "--droptrace"], COLLECT, "hosts_are_called_as_asked"),
    proof("droptrace-fleet collect", &["--hosts", "--out", "--baseline", "--parallel"], COLLECT, "report_is_that_of_the_same_snapshots"),
    proof("droptrace-fleet collect", &["--duration"], COLLECT, "drops_of_real_hosts_are_counted_exactly"),
    proof("droptrace-fleet collect", &["--timeout", "--max-size"], "collect/unwell.rs", "hosts_that_fail_do_not_stop_the_others"),
    proof("droptrace-fleet watch", BOUNDS, WATCH, "bounds_count_for_a_watch_too"),
    proof("droptrace-fleet watch", &["--named"], WATCH, "bounds_count_for_a_watch_too"),
    proof("droptrace-fleet watch", &["--state", "--rounds", "--close-after"], WATCH, "a_finding_that_comes_and_goes_stays_open"),
    proof("droptrace-fleet watch", &["--alertmanager", "--page", "--interval"], WATCH, "alertmanager_has_what_is_open"),
    proof("droptrace-fleet watch", &["--alertmanager-config"], WATCH, "alertmanager_that_fails_is_asked_again"),
    proof("droptrace-fleet watch", &["--prometheus", "--header", "--http-config", "--timeout", "--verbose"], WATCH, "an_engine_is_watched_as_wanted"),
    proof("droptrace-fleet watch", &["--range", "--baseline", "--match", "--identity", "--max-answer"], WATCH, "an_engine_is_watched_as_wanted"),
    proof("droptrace-fleet explain", &["--format", "--output"], MERGE, "reasons_are_explained_as_asked"),
    proof("droptrace-fleet diagnose", SHOWN, DIAGNOSE, "answers_are_shown_as_asked"),
    proof("droptrace-fleet diagnose", BOUNDS, DIAGNOSE, "bounds_count_for_answers_too"),
    proof("droptrace-fleet diagnose", &["--baseline"], DIAGNOSE, "the_time_before_is_looked_at_or_not"),
    proof("droptrace-fleet diagnose", &["--range", "--at", "--match", "--identity"], DIAGNOSE, "an_engine_is_asked_as_wanted"),
    proof("droptrace-fleet diagnose", &["--prometheus", "--header", "--http-config", "--timeout", "--verbose"], DIAGNOSE, "an_engine_is_asked_by_whom"),
    proof("droptrace-fleet diagnose", &["--max-answer"], DIAGNOSE, "an_answer_has_a_bound"),
];

/// All options of all commands: `netlink watch`, `--buffer`.
fn options() -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    enter(&Cli::command(), "", &mut all);
    enter(&FleetCli::command(), "droptrace-fleet ", &mut all);
    all
}

fn enter(command: &Command, name: &str, all: &mut BTreeSet<(String, String)>) {
    // Without a command, the options of `droptrace` are those of `stat`.
    let name = if name.is_empty() { "stat " } else { name };
    all.extend(command.get_arguments().filter_map(long).map(|option| (name.trim().to_owned(), option)));
    let prefix = if name == "stat " { "" } else { name };
    for below in command.get_subcommands() {
        enter(below, &format!("{prefix}{} ", below.get_name()), all);
    }
}

fn long(argument: &Arg) -> Option<String> {
    argument.get_long().filter(|name| !["help", "version"].contains(name)).map(|name| format!("--{name}"))
}

#[test]
fn each_option_has_a_test() {
    let proven = PROOFS.iter().flat_map(|proof| proof.options.iter().map(|option| (proof.command, *option)));
    let mut listed = BTreeSet::new();
    for (command, option) in proven {
        assert!(listed.insert((command.to_owned(), option.to_owned())), "{command} {option} is listed twice");
    }
    let all = options();
    let missing: Vec<_> = all.difference(&listed).collect();
    assert!(missing.is_empty(), "no test is listed for {missing:?}");
    let gone: Vec<_> = listed.difference(&all).collect();
    assert!(gone.is_empty(), "there are no such options: {gone:?}");
}

#[test]
fn each_test_is_there_and_names_its_options() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
    for Proof { command, options, file, test } in PROOFS {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let body = body(&text, test).unwrap_or_else(|| panic!("{file} has no function {test}"));
        for option in *options {
            assert!(names(body, option), "{test} in {file} does not name {option} of {command}");
        }
    }
}

/// A function with the comment above it, to its end.
fn body<'t>(text: &'t str, function: &str) -> Option<&'t str> {
    let start = text.find(&format!("fn {function}("))?;
    let end = text[start..].find("\n}\n")? + start;
    let above = text[..start].rfind("\n}\n").unwrap_or(0);
    Some(&text[above..end])
}

/// Whether an option stands there, and not only a longer one.
fn names(text: &str, option: &str) -> bool {
    text.match_indices(option).any(|(at, _)| {
        let next = text[at + option.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '-')
    })
}

#[test]
fn a_longer_option_is_another_one() {
    assert!(names(r#"["--otlp", &url]"#, "--otlp") && !names(r#"["--otlp-interval"]"#, "--otlp"));
    let text = "fn a() {\n    1\n}\n\n/// It.\nfn b() {\n    2\n}\n";
    assert_eq!(body(text, "b"), Some("\n}\n\n/// It.\nfn b() {\n    2"));
}
