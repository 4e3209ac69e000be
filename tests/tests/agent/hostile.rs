//! Clients that mean no good, or do not know better.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::agent::{Agent, Scrape};
use tests::eventually;
use tests::trials::{Unable, trial_as_root};

/// Connections that do nothing.
const IDLE: usize = 1_000;
/// Connections that the agent holds at a time.
const HELD: u64 = 32;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_thousand_idle_connections", a_thousand_idle_connections),
        trial_as_root("readers_that_do_not_read", readers_that_do_not_read),
        trial_as_root("requests_that_do_not_end", requests_that_do_not_end),
        trial_as_root("huge_requests", huge_requests),
    ]
}

fn refused(scrape: &Scrape, cause: &str) -> u64 {
    scrape.sum("droptrace_http_refused_total", &[("cause", cause)])
}

fn until_refused(agent: &Agent, cause: &str, times: u64) -> Result<()> {
    eventually(&format!("{times} refused as {cause}"), || Ok(refused(&agent.scrape()?, cause) >= times))
}

/// The system has to let this process open so many files.
fn may_open(files: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < files) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum });
        raised.map_err(|error| Unable(format!("cannot open {files} files: {error}")))?;
    }
    Ok(())
}

fn a_thousand_idle_connections() -> Result<()> {
    may_open(IDLE as u64 + 500)?;
    let agent = Agent::start(&[])?;
    let idle = (0..IDLE).map(|_| agent.connect()).collect::<Result<Vec<TcpStream>>>()?;
    agent.settled()?.check_sum()?;
    until_refused(&agent, "idle", IDLE as u64 - HELD)?;
    drop(idle);
    let scrape = agent.settled()?;
    ensure!(refused(&scrape, "connections") == 0, "it turned scrapes away");
    agent.finish()?;
    Ok(())
}

fn readers_that_do_not_read() -> Result<()> {
    let agent = Agent::start(&[])?;
    let mut readers = vec![];
    for _ in 0..100 {
        let mut reader = agent.connect()?;
        reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        readers.push(reader);
        agent.scrape()?;
    }
    drop(readers);
    agent.settled()?.check_sum()?;
    agent.finish()?;
    Ok(())
}

/// It takes a few seconds until one is cut.
fn requests_that_do_not_end() -> Result<()> {
    let agent = Agent::start(&[])?;
    let mut slow = agent.connect()?;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: ")?;
    until_refused(&agent, "slow", 1)?;
    let mut answer = String::new();
    // It may be reset.
    _ = slow.read_to_string(&mut answer);
    ensure!(!answer.contains("200 OK"), "{answer}");
    agent.finish()?;
    Ok(())
}

fn huge_requests() -> Result<()> {
    let agent = Agent::start(&[])?;
    let filler = "x".repeat(4 << 20);
    for (times, request) in (1..).zip([
        format!("GET /{filler} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {filler}\r\n\r\n"),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: y\r\n".repeat(1 << 17)),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{filler}", filler.len()),
    ]) {
        let mut stream = agent.connect()?;
        // Cut in the middle, as it should be.
        _ = stream.write_all(request.as_bytes());
        let mut answer = vec![];
        _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).context("no text")?;
        ensure!(!answer.contains("200 OK"), "{answer}");
        until_refused(&agent, "too_large", times)?;
    }
    let memory = agent.scrape()?.sum("process_resident_memory_bytes", &[]);
    ensure!(memory < 64 << 20, "{memory} bytes after huge requests");
    agent.finish()?;
    Ok(())
}
