//! `droptrace-fleet watch`: the lives of findings, with an engine that is well or not as the test wants, and Alertmanager.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, channel};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::collector::{Collector, Request};
use tests::droptrace::{Droptrace, Finished, fleet_command};
use tests::engine::{answered, field};
use tests::folder::Folder;
use tests::prometheus::Alertmanager;
use tests::trials::{self, trial, trial_as_root};
use tests::{eventually, patience};

fn main() -> ExitCode {
    trials::run(vec![
        trial("a_finding_that_comes_and_goes_stays_open", a_finding_that_comes_and_goes_stays_open),
        trial_as_root("alertmanager_has_what_is_open", alertmanager_has_what_is_open),
        trial("alertmanager_that_fails_is_asked_again", alertmanager_that_fails_is_asked_again),
        trial("closings_that_were_not_sent_survive_a_restart", closings_that_were_not_sent_survive_a_restart),
        trial("a_round_that_fails_changes_nothing", a_round_that_fails_changes_nothing),
        trial("an_engine_is_watched_as_wanted", an_engine_is_watched_as_wanted),
        trial("bounds_count_for_a_watch_too", bounds_count_for_a_watch_too),
    ])
}

/// As long as the range: the engine has the same counts of both time spans.
const BASELINE: [&str; 2] = ["--baseline", "1h"];

/// An engine whose fleet has faults, or not.
struct Fleet {
    engine: Collector,
    is_faulty: Arc<AtomicBool>,
}

impl Fleet {
    fn new() -> Result<Self> {
        let is_faulty = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&is_faulty);
        let engine = Collector::start(move |request| answered(request, flag.load(Ordering::Relaxed)))?;
        Ok(Self { engine, is_faulty })
    }

    fn spawn(&self, options: &[&str]) -> Result<Droptrace> {
        let url = self.engine.url();
        Droptrace::spawn(&mut fleet_command(&[&["watch", "--prometheus", &url], options].concat())?)
    }

    /// One round of a fleet with faults or without, with this state. Returns the lines of the round.
    fn round(&self, is_faulty: bool, options: &[&str]) -> Result<Vec<Value>> {
        self.is_faulty.store(is_faulty, Ordering::Relaxed);
        let finished = self.spawn(&[&["--rounds", "1"], options].concat())?.wait()?;
        ensure!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        let lines = lines(&finished)?;
        let is_open = lines.iter().any(|line| line["phase"] != "closed");
        ensure!(finished.status.code() == Some(if is_open { 3 } else { 0 }), "{finished:?}");
        Ok(lines)
    }
}

fn lines(finished: &Finished) -> Result<Vec<Value>> {
    finished.stdout.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn ids(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect()
}

/// Whether all findings have these values.
fn all_are(lines: &[Value], phase: &str, absent: u32, returned: u32) -> Result<()> {
    for line in lines {
        let is_so = line["phase"] == phase && line["absent"] == absent && line["returned"] == returned;
        ensure!(is_so, "not {phase}, absent {absent}, returned {returned}: {line}");
    }
    Ok(())
}

/// `--state`, `--rounds` and `--close-after` of `watch`: each round is a process of its own.
fn a_finding_that_comes_and_goes_stays_open() -> Result<()> {
    let (fleet, folder) = (Fleet::new()?, Folder::new("watch")?);
    let state = folder.path("state.json");
    let options = [&BASELINE[..], &["--state", state.as_str(), "--close-after", "3"]].concat();
    let round = |is_faulty| fleet.round(is_faulty, &options);
    let opened = round(true)?;
    all_are(&opened, "opened", 0, 0)?;
    ensure!(!opened.is_empty() && ids(&opened).len() == opened.len(), "{opened:?}");
    for line in &opened {
        ensure!(line["schema"] == "droptrace.finding_life.v1", "{line}");
        let next = line["finding"]["next"].as_array().context("no commands")?;
        ensure!(!next.is_empty() && line["finding"]["title"].is_string(), "{line}");
    }
    let same = |lines: &[Value]| {
        let is_same = lines.iter().zip(&opened).all(|(now, then)| now["opened"] == then["opened"]);
        ensure!(ids(lines) == ids(&opened) && is_same, "{lines:?}");
        Ok(())
    };
    for returned in 1..=2 {
        for absent in 1..=2 {
            let lines = round(false)?;
            same(&lines)?;
            all_are(&lines, "ongoing", absent, returned - 1)?;
        }
        let lines = round(true)?;
        same(&lines)?;
        all_are(&lines, "ongoing", 0, returned)?;
    }
    for (absent, phase) in [(1, "ongoing"), (2, "ongoing"), (3, "closed")] {
        let lines = round(false)?;
        same(&lines)?;
        all_are(&lines, phase, absent, 2)?;
    }
    ensure!(round(false)?.is_empty(), "a finding is left");
    all_are(&round(true)?, "opened", 0, 0)?;
    // Without the file, each process begins anew.
    all_are(&fleet.round(true, &BASELINE)?, "opened", 0, 0)?;
    fs::write(&state, "{\"schema\":")?;
    let damaged = fleet.spawn(&options)?.wait()?;
    failed(&damaged, &["state.json is not a state of droptrace-fleet watch, or it is damaged"])
}

fn failed(finished: &Finished, words: &[&str]) -> Result<()> {
    ensure!(finished.status.code() == Some(1), "{finished:?}");
    for word in words {
        ensure!(finished.stderr.contains(word), "it does not say {word:?}: {}", finished.stderr);
    }
    Ok(())
}

/// `--alertmanager`, `--page` and `--interval` of `watch`, with the real Alertmanager.
fn alertmanager_has_what_is_open() -> Result<()> {
    let (fleet, alertmanager) = (Fleet::new()?, Alertmanager::start()?);
    let page = "http://grafana.example/d/droptrace";
    let options = ["--alertmanager", &alertmanager.url, "--page", page, "--interval", "300ms", "--close-after", "2"];
    let watch = fleet.spawn(&[&BASELINE[..], &options].concat())?;
    let mut alerts = Vec::new();
    eventually("alerts", || {
        alerts = alertmanager.alerts()?;
        Ok(!alerts.is_empty())
    })?;
    for alert in &alerts {
        let (labels, annotations) = (&alert["labels"], &alert["annotations"]);
        ensure!(labels["alertname"] == "DroptraceFinding" && alert["generatorURL"] == page, "{alert}");
        let texts =
            [&labels["finding"], &labels["kind"], &labels["severity"], &annotations["summary"], &annotations["run"]];
        ensure!(texts.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{alert}");
    }
    let open: BTreeSet<_> = alerts.iter().filter_map(|alert| alert["labels"]["finding"].as_str()).collect();
    fleet.is_faulty.store(false, Ordering::Relaxed);
    eventually("the end of all alerts", || Ok(alertmanager.alerts()?.is_empty()))?;
    let closed = |text: &str| {
        Ok(open.iter().all(|id| text.lines().any(|line| line.contains("\"closed\"") && line.contains(id))))
    };
    watch.await_printed("closed findings", closed)
}

/// An Alertmanager that refuses alerts until it is up. `requests` has each with whether it was taken.
struct Receiver {
    collector: Collector,
    is_up: Arc<AtomicBool>,
    requests: mpsc::Receiver<(bool, Request)>,
}

impl Receiver {
    fn new() -> Result<Self> {
        let is_up = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_up);
        let (sender, requests) = channel();
        let refuses = "HTTP/1.1 500 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\nno\x1b[2Jway";
        let takes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let collector = Collector::start(move |request| {
            let is_taken = flag.load(Ordering::Relaxed);
            // The test may have ended.
            _ = sender.send((is_taken, request.clone()));
            if is_taken { takes } else { refuses }.as_bytes().to_vec()
        })?;
        Ok(Self { collector, is_up, requests })
    }

    /// The alerts that were taken since the last call.
    fn taken(&self) -> Result<Vec<Value>> {
        let taken = self.requests.try_iter().filter(|(is_taken, _)| *is_taken);
        taken.map(|(_, request)| Ok(serde_json::from_slice(&request.body)?)).collect()
    }
}

/// `--alertmanager-config` of `watch`.
fn alertmanager_that_fails_is_asked_again() -> Result<()> {
    let (fleet, folder) = (Fleet::new()?, Folder::new("alertmanager")?);
    let config = folder.write("http.toml", "headers = { X-Tried = \"file\" }\n")?;
    let alertmanager = Receiver::new()?;
    let url = alertmanager.collector.url();
    let options =
        ["--alertmanager", &url, "--alertmanager-config", &config, "--interval", "50ms", "--close-after", "1"];
    let mut watch = fleet.spawn(&[&BASELINE[..], &options].concat())?;
    let said = watch.await_said("refuses the findings with HTTP status 500: no\u{fffd}[2Jway")?;
    ensure!(said.ends_with("; the next round sends them again"), "{said}");
    fleet.is_faulty.store(false, Ordering::Relaxed);
    watch.await_printed("closed findings", |text| Ok(text.contains("\"closed\"")))?;
    alertmanager.is_up.store(true, Ordering::Relaxed);
    eventually("what was closed before", || {
        let (is_taken, request) = alertmanager.requests.recv_timeout(patience()).context("no request")?;
        ensure!(request.path == "/api/v2/alerts" && request.header("x-tried") == Some("file"), "{request:?}");
        Ok(is_taken && is_over(&serde_json::from_slice(&request.body)?))
    })?;
    drop(watch);
    // One that does not answer, and one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    for (address, words) in [(silent.local_addr()?.to_string(), "timeout"), ("127.0.0.1:1".to_owned(), "refused")] {
        let url = format!("http://{address}");
        fleet.is_faulty.store(true, Ordering::Relaxed);
        let finished = fleet.spawn(&["--alertmanager", &url, "--timeout", "2s", "--rounds", "1"])?.wait()?;
        ensure!(
            finished.status.code() == Some(3) && finished.stderr.contains("cannot send findings to"),
            "{finished:?}"
        );
        ensure!(finished.stderr.contains(words), "it does not say {words}: {}", finished.stderr);
    }
    Ok(())
}

fn closings_that_were_not_sent_survive_a_restart() -> Result<()> {
    let (fleet, folder, alertmanager) = (Fleet::new()?, Folder::new("closings")?, Receiver::new()?);
    let (state, url) = (folder.path("state.json"), alertmanager.collector.url());
    let options = [&BASELINE[..], &["--state", &state, "--alertmanager", &url, "--close-after", "1"]].concat();
    let opened = fleet.round(true, &options)?;
    all_are(&fleet.round(false, &options)?, "closed", 1, 0)?;
    ensure!(alertmanager.taken()?.is_empty(), "alerts were taken");
    alertmanager.is_up.store(true, Ordering::Relaxed);
    ensure!(fleet.round(false, &options)?.is_empty(), "a finding is left");
    let taken = alertmanager.taken()?;
    let [alerts] = &taken[..] else { anyhow::bail!("not one request: {taken:?}") };
    let closed = alerts.as_array().context("no alerts")?;
    let closed: BTreeSet<_> = closed.iter().filter_map(|alert| alert["labels"]["finding"].as_str()).collect();
    ensure!(is_over(alerts) && closed == ids(&opened).iter().map(String::as_str).collect(), "{alerts}");
    // They are known by now.
    fleet.round(false, &options)?;
    let again = alertmanager.taken()?;
    ensure!(again.is_empty(), "{again:?}");
    Ok(())
}

/// Whether all alerts of a request are over.
fn is_over(alerts: &Value) -> bool {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let alerts = alerts.as_array().map(Vec::as_slice).unwrap_or_default();
    !alerts.is_empty() && alerts.iter().all(|alert| alert["endsAt"].as_str().is_some_and(|ends| *ends <= *now))
}

fn a_round_that_fails_changes_nothing() -> Result<()> {
    let (fleet, folder) = (Fleet::new()?, Folder::new("rounds")?);
    let state = folder.path("state.json");
    let opened = fleet.round(true, &["--state", &state])?;
    let before = fs::read(&state)?;
    let line =
        ["watch", "--prometheus", "http://127.0.0.1:1", "--state", &state, "--rounds", "2", "--interval", "10ms"];
    let finished = Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?;
    failed(&finished, &["cannot reach http://127.0.0.1:1/", "; the findings stay as they are until the next round"])?;
    ensure!(finished.stdout.is_empty() && fs::read(&state)? == before, "the findings have changed");
    all_are(&fleet.round(true, &["--state", &state])?, "ongoing", 0, 0)?;
    ensure!(!opened.is_empty(), "nothing was found");
    Ok(())
}

/// A part of a request that an option makes.
type Part<'p> = &'p dyn Fn(&Request) -> bool;

/// `--prometheus`, `--header`, `--http-config`, `--timeout`, `--verbose`, `--range`, `--baseline`, `--match`, `--identity` and
/// `--max-answer` of `watch`.
fn an_engine_is_watched_as_wanted() -> Result<()> {
    let folder = Folder::new("http-config")?;
    let config = folder.write("http.toml", "headers = { X-Tried = \"file\" }\n")?;
    let asked = |options: &[&str]| -> Result<(Vec<Request>, Finished)> {
        let (sender, requests) = channel();
        let engine = Collector::start(move |request| {
            // The test may have ended.
            _ = sender.send(request.clone());
            answered(request, true)
        })?;
        let url = engine.url();
        let line = [&["watch", "--prometheus", &url, "--rounds", "1"], options].concat();
        let finished = Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?;
        let requests: Vec<_> = requests.try_iter().collect();
        ensure!(!requests.is_empty(), "the engine that --prometheus names was not asked");
        Ok((requests, finished))
    };
    let has = |options: &[&str], part: Part<'_>| Ok::<_, anyhow::Error>(asked(options)?.0.iter().any(part));
    let query = |words: &'static str| move |request: &Request| field(request, "query").contains(words);
    let parts: [(&[&str], Part<'_>); 7] = [
        (&["--range", "2h"], &query("[7200s]")),
        (&["--baseline", "3h"], &query("[10800s]")),
        (&["--match", "cluster=\"a\""], &query("cluster=\"a\"")),
        (&["--identity", "host"], &query("by (host)")),
        (&["--header", "X-Tried: line"], &|request| request.header("x-tried") == Some("line")),
        (&["--http-config", &config], &|request| request.header("x-tried") == Some("file")),
        (&["--timeout", "7s"], &|request| field(request, "timeout") == "7000ms"),
    ];
    for (options, part) in parts {
        ensure!(has(options, part)? && !has(&[], part)?, "{options:?} does not count");
    }
    let said = [asked(&[])?, asked(&["--verbose"])?].map(|(_, finished)| finished.stderr.lines().count());
    ensure!(said[0] < said[1], "{said:?} lines are said");
    let long = |_: &Request| {
        let body = format!("{}{{}}", " ".repeat(3 << 20));
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let engine = Collector::start(long)?.url();
    let line = ["watch", "--prometheus", &engine, "--rounds", "1", "--max-answer", "1"];
    failed(&Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?, &["more than 1048576 bytes"])
}

/// `--by`, `--false-discoveries`, `--min-times`, `--min-host-packets`, `--growth`, `--min-packets`, `--min-hosts`,
/// `--storm-rate` and `--named` of `watch`.
fn bounds_count_for_a_watch_too() -> Result<()> {
    let fleet = Fleet::new()?;
    let count = |kind: &str, options: &[&str]| -> Result<usize> {
        Ok(fleet.round(true, options)?.iter().filter(|line| line["finding"]["kind"] == kind).count())
    };
    for (kind, less, more) in [
        ("outlier", vec!["--false-discoveries", "1e-307"], vec!["--false-discoveries", "0.5"]),
        ("outlier", vec!["--min-times", "1e15"], vec!["--min-times", "1"]),
        ("grown", vec!["--growth", "1e9"], vec!["--growth", "2"]),
        ("outlier", vec!["--min-host-packets", "1e15"], vec!["--min-host-packets", "1"]),
        ("outlier", vec!["--min-hosts", "1000"], vec!["--min-hosts", "3"]),
        ("storm", vec!["--storm-rate", "1e12"], vec!["--storm-rate", "100"]),
        ("group", vec!["--by", "rack", "--min-packets", "1e15"], vec!["--by", "rack", "--min-packets", "1"]),
        ("group", vec!["--by", "nothing"], vec!["--by", "rack"]),
    ] {
        let (few, many) = (count(kind, &less)?, count(kind, &more)?);
        ensure!(few < many, "{few} of {kind} with {less:?}, {many} with {more:?}");
    }
    let named = |most| -> Result<usize> {
        let lines = fleet.round(true, &["--named", most])?;
        Ok(lines.iter().filter_map(|line| Some(line["finding"]["named"].as_array()?.len())).max().unwrap_or_default())
    };
    let (one, all) = (named("1")?, named("1000")?);
    ensure!(one == 1 && all > 1, "{one} and {all} hosts are named");
    Ok(())
}
