//! Pushes of `droptrace agent` by OTLP: to engines that scrape the agent too, and to other endpoints.

mod logs;
mod receiver;
mod tls;

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use receiver::{Receiver, free_address};
use tests::agent::Agent;
use tests::collector::Collector;
use tests::droptrace::command;
use tests::eventually;
use tests::kernel;
use tests::netns::Netns;
use tests::storm::{REASON, Storm};
use tests::trials::{self, trial, trial_as_root};

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("prometheus_shows_what_it_scrapes", || shows_what_it_scrapes("p", Receiver::prometheus)),
        trial_as_root("victoria_metrics_shows_what_it_scrapes", || {
            shows_what_it_scrapes("v", |target| Receiver::victoria_metrics(target, false))
        }),
        trial_as_root("victoria_metrics_shows_the_same_with_names_of_prometheus", || {
            shows_what_it_scrapes("n", |target| Receiver::victoria_metrics(target, true))
        }),
        trial_as_root("drops_arrive_as_logs", logs::drops_arrive),
        trial_as_root("trusts_whom_the_system_trusts", tls::trusts_whom_the_system_trusts),
        trial_as_root("endpoints_that_do_not_answer_delay_nothing", endpoints_that_do_not_answer_delay_nothing),
        trial("invalid_push_urls_are_refused", invalid_push_urls_are_refused),
    ])
}

/// A storm in a namespace with a name, by which tests identify its drops.
fn storm(name: &str) -> Result<(Storm, String)> {
    let netns = format!("droptrace-otlp-{name}-{}", std::process::id());
    Ok((Storm::within(Netns::named(&netns)?)?, netns))
}

fn shows_what_it_scrapes(name: &str, start: impl FnOnce(&str) -> Result<Receiver>) -> Result<()> {
    let address = free_address()?;
    let receiver = start(&address)?;
    let (storm, netns) = storm(name)?;
    let agent = Agent::start(&["--listen", &address, "--otlp", &receiver.otlp, "--otlp-interval", "1s"])?;
    storm.send(20_000)?;
    let dropped = storm.dropped()?;
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default().to_owned();
    let sum = |job: &str| {
        receiver.value(&format!("sum(droptrace_dropped_packets_total{{{job},netns=\"{netns}\",reason=\"{reason}\"}})"))
    };
    let (pushed, scraped) = ("job!=\"scraped\"", "job=\"scraped\"");
    eventually("the sum that is pushed", || Ok(sum(pushed)? == Some(dropped)))?;
    eventually("the sum that is scraped", || Ok(sum(scraped)? == Some(dropped)))?;
    let names = |job: &str| receiver.names(&format!("{{__name__=~\"(droptrace|process)_.+\",{job}}}"));
    eventually("the same names", || Ok(names(pushed)? == names(scraped)?))?;
    let names = names(pushed)?;
    ensure!(names.contains("droptrace_dropped_bytes_total") && names.contains("droptrace_host_info"), "{names:?}");
    let taken = "droptrace_otlp_exports_total{signal=\"metrics\",result=\"ok\",job!=\"scraped\"}";
    ensure!(receiver.value(taken)?.is_some_and(|pushes| pushes > 0), "no push is counted");
    agent.finish()?;
    Ok(())
}

fn endpoints_that_do_not_answer_delay_nothing() -> Result<()> {
    let (silent, hold) = Collector::silent()?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (storm, netns) = storm("socket_drops")?;
    let (otlp, logs) = (format!("http://{closed}"), silent.url());
    let agent = Agent::start(&["--otlp", &otlp, "--otlp-interval", "1s", "--otlp-logs", &logs])?;
    storm.send(20_000)?;
    let dropped = storm.dropped()?;
    let failed = [("signal", "metrics"), ("result", "failed")];
    eventually("a failed push, and all drops", || {
        let scrape = agent.scrape()?;
        let drops = scrape.sum("droptrace_dropped_packets_total", &[("netns", &netns)]);
        Ok(scrape.sum("droptrace_otlp_exports_total", &failed) > 0 && drops == dropped)
    })?;
    let stderr = agent.finish()?.stderr;
    let complaints = stderr.lines().filter(|line| line.contains("cannot push metrics")).count();
    ensure!(complaints == 1, "{stderr}");
    drop(hold);
    Ok(())
}

fn invalid_push_urls_are_refused() -> Result<()> {
    let said = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = command(&[&["agent"], arguments].concat())?.output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, stderr) = said(&["--otlp", "lab:4317"])?;
    ensure!(code == Some(2) && stderr.contains("http://HOST"), "{code:?} {stderr}");
    let (code, stderr) = said(&["--otlp", "http://me:secret@lab"])?;
    ensure!(code == Some(2) && stderr.contains("headers file"), "{code:?} {stderr}");
    let address = free_address()?;
    let headers = ["--listen", &address, "--otlp", "http://127.0.0.1:1", "--otlp-headers-file", "/nonexistent/headers"];
    let (code, stderr) = said(&headers)?;
    ensure!(code == Some(1) && stderr.contains("/nonexistent/headers"), "{code:?} {stderr}");
    Ok(())
}
