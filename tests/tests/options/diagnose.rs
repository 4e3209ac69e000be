//! The queries and the output of `droptrace-fleet diagnose`, with an engine that knows 40 agents.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::collector::{Collector, Request};
use tests::droptrace::{Droptrace, Finished, fleet_command};
use tests::engine::{self, END, HOSTS, field};
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

fn answered(request: &Request) -> Vec<u8> {
    engine::answered(request, true)
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

/// `--by`, `--false-discoveries`, `--min-times`, `--min-host-packets`, `--growth`, `--min-packets`, `--min-hosts` and
/// `--storm-rate` of `diagnose`.
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
    differ("outlier", &["--false-discoveries", "1e-307"], &["--false-discoveries", "0.5"])?;
    differ("outlier", &["--min-times", "1e15"], &["--min-times", "1"])?;
    differ("grown", &["--growth", "1e9"], &["--growth", "2"])?;
    differ("outlier", &["--min-host-packets", "1e15"], &["--min-host-packets", "1"])?;
    differ("outlier", &["--min-hosts", "1000"], &["--min-hosts", "3"])?;
    differ("storm", &["--storm-rate", "1e12"], &["--storm-rate", "100"])?;
    differ("group", &["--by", "rack", "--min-packets", "1e15"], &["--by", "rack", "--min-packets", "1"])?;
    differ("group", &["--by", "nothing"], &["--by", "rack"])
}

/// `--baseline` of `diagnose`.
fn the_time_before_is_looked_at_or_not() -> Result<()> {
    let (without, with) = (document(&["--baseline", "0"])?, document(&["--baseline", "2d"])?);
    ensure!(without["baseline"].is_null() && with["baseline"]["hosts"] == HOSTS, "{}", with["baseline"]);
    Ok(())
}
