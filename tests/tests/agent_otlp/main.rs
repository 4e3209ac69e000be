//! What `droptrace agent` pushes by OTLP: to a Prometheus that scrapes it too, and to endpoints of other manners.

mod receiver;

use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use receiver::{Receiver, free_address, get};
use rustix::process::Signal;
use tests::collector::{Collector, TAKEN};
use tests::droptrace::{Droptrace, binary};
use tests::eventually;
use tests::kernel;
use tests::netns::Netns;
use tests::storm::{REASON, Storm};
use tests::trials::{self, trial, trial_as_root};

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("prometheus_shows_what_it_scrapes", prometheus_shows_what_it_scrapes),
        trial_as_root("drops_arrive_as_logs", drops_arrive_as_logs),
        trial_as_root("endpoints_that_do_not_answer_delay_nothing", endpoints_that_do_not_answer_delay_nothing),
        trial("what_cannot_be_pushed_to_is_refused", what_cannot_be_pushed_to_is_refused),
    ])
}

/// A storm in a namespace with a name.
fn storm(name: &str) -> Result<(Storm, String)> {
    let netns = format!("droptrace-{name}-{}", std::process::id());
    Ok((Storm::within(Netns::named(&netns)?)?, netns))
}

fn prometheus_shows_what_it_scrapes() -> Result<()> {
    let address = free_address()?;
    let prometheus = Receiver::start(&address)?;
    let (storm, netns) = storm("pushed")?;
    let otlp = prometheus.otlp();
    let agent = Droptrace::start(&[
        "agent",
        "--listen",
        &address,
        "--interval",
        "200ms",
        "--otlp",
        &otlp,
        "--otlp-interval",
        "1s",
        "--otlp-instance",
        "pushed",
    ])?;
    storm.send(20_000)?;
    let dropped = storm.dropped()?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default().to_owned();
    let of_storm = format!("netns=\"{netns}\",reason=\"{reason}\"");
    let sum = |labels: &str| prometheus.value(&format!("sum(droptrace_drops_total{{{labels},{of_storm}}})"));
    eventually("the pushed sum", || Ok(sum("instance=\"pushed\"")? == Some(dropped.to_string())))?;
    eventually("the scraped sum", || Ok(sum("job=\"scraped\"")? == Some(dropped.to_string())))?;
    let names = |labels| prometheus.names(&format!("{{__name__=~\"(droptrace|process)_.+\",{labels}}}"));
    let (scraped, pushed) = (names("job=\"scraped\"")?, names("instance=\"pushed\"")?);
    ensure!(scraped == pushed && scraped.len() > 10, "scraped: {scraped:?}, pushed: {pushed:?}");
    let taken = "droptrace_otlp_exports_total{signal=\"metrics\",result=\"ok\",instance=\"pushed\"}";
    ensure!(prometheus.value(taken)?.is_some_and(|pushes| pushes != "0"), "no push is counted");
    agent.finish()?;
    Ok(())
}

fn drops_arrive_as_logs() -> Result<()> {
    let collector = Collector::start(|_| TAKEN.to_vec())?;
    let (storm, netns) = storm("logged")?;
    let address = free_address()?;
    let agent = Droptrace::start(&[
        "agent",
        "--listen",
        &address,
        "--interval",
        "200ms",
        "--otlp-logs",
        &collector.url(),
        "--otlp-logs-rate",
        "100000",
    ])?;
    storm.send(200)?;
    let dropped = usize::try_from(storm.dropped()?)?;
    ensure!(dropped > 0, "nothing was dropped");
    let mut records = vec![];
    while records.len() < dropped {
        let request = collector.next().with_context(|| format!("{} of {dropped} arrived", records.len()))?;
        let request = ExportLogsServiceRequest::decode(&*request.body)?;
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let all = scopes.flat_map(|scope| scope.log_records);
        records.extend(all.filter(|record| text(record, "netns_name") == Some(&netns)));
    }
    ensure!(records.len() == dropped, "{} arrived of {dropped}", records.len());
    for record in &records {
        ensure!(text(record, "transport") == Some("udp") && text(record, "address").is_none(), "{record:?}");
    }
    eventually("the count of pushes", || {
        let shown = get(&format!("http://{address}/metrics"))?;
        let counts = |line: &str| line.starts_with("droptrace_otlp_exports_total{") && line.contains("\"logs\"");
        Ok(shown.lines().any(|line| counts(line) && line.contains("\"ok\"") && !line.ends_with(" 0")))
    })?;
    let shown = get(&format!("http://{address}/metrics"))?;
    ensure!(shown.contains("droptrace_otlp_lost_total{signal=\"logs\"} 0"), "{shown}");
    agent.finish()?;
    Ok(())
}

fn text<'r>(record: &'r LogRecord, name: &str) -> Option<&'r str> {
    let attribute = record.attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn endpoints_that_do_not_answer_delay_nothing() -> Result<()> {
    let (hold, wait) = channel::<()>();
    let silent = Collector::start(move |_| {
        // Until the test ends.
        let _ = wait.recv();
        vec![]
    })?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (storm, netns) = storm("unheard")?;
    let address = free_address()?;
    let (otlp, logs) = (format!("http://{closed}"), silent.url());
    let agent = Droptrace::start(&[
        "agent",
        "--listen",
        &address,
        "--interval",
        "100ms",
        "--otlp",
        &otlp,
        "--otlp-interval",
        "1s",
        "--otlp-logs",
        &logs,
    ])?;
    storm.send(20_000)?;
    let dropped = storm.dropped()?;
    let ours = |line: &&str| line.starts_with("droptrace_drops_total") && line.contains(&netns);
    eventually("a failed push, and the drops", || {
        let shown = get(&format!("http://{address}/metrics"))?;
        let is_failed = |line: &str| {
            line.starts_with("droptrace_otlp_exports_total") && line.contains("\"failed\"") && !line.ends_with(" 0")
        };
        let drops: u64 =
            shown.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        Ok(shown.lines().any(is_failed) && drops == dropped)
    })?;
    agent.signal(Signal::TERM)?;
    let finished = agent.wait()?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    let complaints = finished.stderr.lines().filter(|line| line.contains("cannot push metrics")).count();
    ensure!(complaints == 1, "{}", finished.stderr);
    drop(hold);
    Ok(())
}

fn what_cannot_be_pushed_to_is_refused() -> Result<()> {
    let said = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = Command::new(binary()?).arg("agent").args(arguments).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, stderr) = said(&["--otlp", "lab:4317"])?;
    ensure!(code == Some(2) && stderr.contains("http://HOST"), "{code:?} {stderr}");
    let (code, stderr) = said(&["--otlp", "http://me:secret@lab"])?;
    ensure!(code == Some(2) && stderr.contains("headers file"), "{code:?} {stderr}");
    let (code, stderr) = said(&["--otlp", "http://127.0.0.1:1", "--otlp-headers-file", "/nonexistent/headers"])?;
    ensure!(code == Some(1) && stderr.contains("/nonexistent/headers"), "{code:?} {stderr}");
    Ok(())
}
