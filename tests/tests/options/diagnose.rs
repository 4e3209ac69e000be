//! The queries and the output of `droptrace-fleet diagnose`, with an engine that knows 40 agents.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::collector::{Collector, Request};
use tests::droptrace::{Droptrace, Finished, fleet_command};
use tests::folder::Folder;
use tests::trials::trial;

use super::fleet::results_are_shown_as_asked;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("an_engine_is_asked_as_wanted", an_engine_is_asked_as_wanted),
        trial("an_engine_is_asked_by_whom", an_engine_is_asked_by_whom),
        trial("an_answer_has_a_bound", an_answer_has_a_bound),
        trial("answers_are_shown_as_asked", answers_are_shown_as_asked),
        trial("bounds_count_for_answers_too", bounds_count_for_answers_too),
        trial("the_time_before_is_looked_at_or_not", the_time_before_is_looked_at_or_not),
    ]
}

const HOSTS: u32 = 40;
/// The end of the range.
const END: &str = "1000000000";

/// A form's field.
fn field(request: &Request, name: &str) -> String {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let value = body.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    let (mut text, value) = (String::new(), value.unwrap_or_default().replace('+', " "));
    let mut parts = value.split('%');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        text.push(u8::from_str_radix(digits, 16).map_or('?', char::from));
        text.push_str(rest);
    }
    text
}

/// Labels and values of the series that answer a query.
fn series(request: &Request) -> Vec<(String, f64)> {
    let query = field(request, "query");
    let is_recent = field(request, "time").starts_with(END);
    let each = |labels: &str, value: &dyn Fn(u32) -> f64| -> Vec<_> {
        (0..HOSTS).map(|host| (format!(r#""job":"d","instance":"h{host}"{labels}"#), value(host))).collect()
    };
    if query.starts_with("droptrace_host_info") {
        let rack = |host: u32| if host < 20 { "one" } else { "other" };
        let mut all = each("", &|_| 1.0);
        (0..).zip(&mut all).for_each(|(host, series)| _ = write!(series.0, r#","rack":"{}""#, rack(host)));
        return all;
    }
    if query.starts_with("max_over_time(") {
        let least = query.rsplit_once(">= ").and_then(|(_, least)| least.parse::<f64>().ok()).unwrap_or(f64::MAX);
        let storm = (r#""job":"d","instance":"h3","reason":"SOCKET_RCVBUFF","subsystem":"core""#.to_owned(), 6e6);
        return if least <= storm.1 { vec![storm] } else { vec![] };
    }
    let about = |host: u32| f64::from(9_000 + host % 7 * 100);
    let no_socket = |host| if host < 20 { 100.0 * about(host) } else { about(host) };
    let rcvbuff = |host| if host == 7 { 1e6 } else { about(host) };
    let netfilter = |host| if is_recent { 100.0 * about(host) } else { about(host) };
    if query.starts_with("sum by (") && query.contains("last_over_time(droptrace_dropped_packets_total") {
        let of = |reason: &str| format!(r#","reason":"{reason}","subsystem":"core""#);
        let drops = [
            each(&of("NO_SOCKET"), &no_socket),
            each(&of("SOCKET_RCVBUFF"), &rcvbuff),
            each(&of("NETFILTER_DROP"), &netfilter),
        ];
        return drops.concat();
    }
    if query.starts_with("(sum by (job,instance) (droptrace_dropped_packets_total") {
        return each("", &|host| no_socket(host) + rcvbuff(host) + netfilter(host));
    }
    // Agents that run throughout, and agents that were scraped.
    let is_about_agents = query.starts_with("((") || query.starts_with("max by (job,instance) (timestamp(");
    if is_about_agents { each("", &|_| 1.0) } else { vec![] }
}

fn answered(request: &Request) -> Vec<u8> {
    let series: Vec<_> = series(request)
        .into_iter()
        .map(|(labels, value)| format!(r#"{{"metric":{{{labels}}},"value":[1,"{value}"]}}"#))
        .collect();
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","));
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn diagnosed(engine: &Collector, options: &[&str]) -> Result<Finished> {
    let url = engine.url();
    let line = [&["diagnose", "--prometheus", &url], options].concat();
    Droptrace::spawn(&mut fleet_command(&line)?)?.wait()
}

fn shown(options: &[&str]) -> Result<Finished> {
    let finished = diagnosed(&Collector::start(answered)?, &[&["--at", END], options].concat())?;
    ensure!(matches!(finished.status.code(), Some(0 | 3)), "{options:?}: {finished:?}");
    Ok(finished)
}

fn document(options: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&shown(&[options, &["--format", "json"]].concat())?.stdout)?)
}

/// All queries of a run, with their times.
fn asked(options: &[&str]) -> Result<Vec<(String, String)>> {
    let (sender, queries) = std::sync::mpsc::channel();
    let engine = Collector::start(move |request| {
        // The test may have ended.
        _ = sender.send((field(request, "query"), field(request, "time")));
        answered(request)
    })?;
    diagnosed(&engine, options)?;
    drop(engine);
    Ok(queries.try_iter().collect())
}

/// `--range`, `--at`, `--match` and `--identity` of `diagnose`.
fn an_engine_is_asked_as_wanted() -> Result<()> {
    let has = |options: &[&str], words: &str| -> Result<bool> {
        let asked = asked(options)?;
        ensure!(!asked.is_empty(), "nothing was asked");
        Ok(asked.iter().any(|(query, time)| query.contains(words) || time == words))
    };
    for (options, words) in [
        (["--range", "2h"], "[7200s]"),
        (["--at", END], "1000000000.000"),
        (["--match", "cluster=\"a\""], "cluster=\"a\""),
        (["--identity", "host"], "by (host)"),
    ] {
        ensure!(has(&options, words)? && !has(&[], words)?, "{options:?} does not count");
    }
    Ok(())
}

/// `--prometheus`, `--header`, `--http-config`, `--timeout` and `--verbose` of `diagnose`.
fn an_engine_is_asked_by_whom() -> Result<()> {
    let folder = Folder::new("http-config")?;
    let config = folder.write("http.toml", "headers = { X-Tried = \"file\" }\n")?;
    let first = |options: &[&str]| -> Result<Request> {
        let engine = Collector::start(answered)?;
        diagnosed(&engine, options)?;
        engine.next().context("the engine that --prometheus names was not asked")
    };
    let header =
        |options: &[&str]| -> Result<Option<String>> { Ok(first(options)?.header("x-tried").map(str::to_owned)) };
    let reported = [header(&[])?, header(&["--header", "X-Tried: line"])?, header(&["--http-config", &config])?];
    ensure!(reported == [None, Some("line".to_owned()), Some("file".to_owned())], "{reported:?}");
    let times = [field(&first(&[])?, "timeout"), field(&first(&["--timeout", "7s"])?, "timeout")];
    ensure!(times == ["60000ms", "7000ms"], "{times:?}");
    let said = [shown(&[])?.stderr, shown(&["--verbose"])?.stderr].map(|text| text.lines().count());
    ensure!(said[0] < said[1], "{said:?} lines are said");
    Ok(())
}

/// `--max-answer` of `diagnose`.
fn an_answer_has_a_bound() -> Result<()> {
    let long = |_: &Request| {
        let body = format!("{}{{}}", " ".repeat(3 << 20));
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let refused = |most| diagnosed(&Collector::start(long)?, &["--max-answer", most]);
    let (little, much) = (refused("1")?.stderr, refused("10")?.stderr);
    ensure!(little.contains("more than 1048576 bytes") && !much.contains("more than"), "{little} {much}");
    Ok(())
}

/// `--format`, `--output`, `--html`, `--color`, `--top` and `--named` of `diagnose`.
fn answers_are_shown_as_asked() -> Result<()> {
    results_are_shown_as_asked(shown, document)?;
    let (usual, top) = (shown(&[])?.stdout, shown(&["--top", "1"])?.stdout);
    ensure!(top.contains("2 more reasons") && !usual.contains("more reasons"), "{top}");
    Ok(())
}

/// `--by`, `--deviations`, `--growth`, `--min-packets`, `--min-hosts` and `--storm-rate` of `diagnose`.
fn bounds_count_for_answers_too() -> Result<()> {
    let differ = |kind: &str, less: &[&str], more: &[&str]| -> Result<()> {
        let count = |options: &[&str]| -> Result<usize> {
            let document = document(options)?;
            let findings = document["findings"].as_array().context("no findings")?;
            Ok(findings.iter().filter(|finding| finding["kind"] == kind).count())
        };
        let (few, many) = (count(less)?, count(more)?);
        ensure!(few < many, "{few} of {kind} with {less:?}, {many} with {more:?}");
        Ok(())
    };
    differ("outlier", &["--deviations", "1000"], &["--deviations", "2"])?;
    differ("grown", &["--growth", "1e9"], &["--growth", "2"])?;
    differ("outlier", &["--min-packets", "1e15"], &["--min-packets", "1"])?;
    differ("outlier", &["--min-hosts", "1000"], &["--min-hosts", "3"])?;
    differ("storm", &["--storm-rate", "1e12"], &["--storm-rate", "100"])?;
    differ("group", &["--by", "nothing"], &["--by", "rack"])
}

/// `--baseline` of `diagnose`.
fn the_time_before_is_looked_at_or_not() -> Result<()> {
    let (without, with) = (document(&["--baseline", "0"])?, document(&["--baseline", "2d"])?);
    ensure!(without["baseline"].is_null() && with["baseline"]["hosts"] == HOSTS, "{}", with["baseline"]);
    Ok(())
}
