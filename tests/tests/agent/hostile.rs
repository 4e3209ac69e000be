//! Hostile and faulty clients.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::agent::{Agent, Scrape};
use tests::trials::{Unable, trial_as_root};
use tests::{eventually, patience};

/// Idle connections.
const IDLE: usize = 1_000;
/// Connections that the agent holds at a time.
const HELD: u64 = 32;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_thousand_idle_connections", a_thousand_idle_connections),
        trial_as_root("readers_that_do_not_read", readers_that_do_not_read),
        trial_as_root("a_flood_from_another_address_keeps_no_scrape_out", a_flood_from_another_address),
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

/// Scrapes while the flood lasts, or more.
const SCRAPES: usize = 200;
/// Connections that the flood holds at a time: more than the agent does.
const FLOODING: usize = 200;

/// The flood sends a request on every second connection, and reads no answer. An answer that the kernel holds is soon
/// finished; a connection without a request is not.
fn a_flood_from_another_address() -> Result<()> {
    may_open(2 * FLOODING as u64 + 500)?;
    let agent = Agent::start(&[])?;
    let address = agent.connect()?.peer_addr()?;
    let (is_over, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (answered, asked) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(address, &is_over, &opened));
        let answered = while_flooded(&agent, &opened);
        is_over.store(true, Ordering::Relaxed);
        flood.join().map_err(|_| anyhow!("the flood panicked"))??;
        answered
    })?;
    ensure!(answered == asked, "{answered} of {asked} scrapes were answered");
    agent.finish().map(drop)
}

/// Number of answered scrapes, and of all scrapes, until the agent refused some of the flood between the first one and
/// the last.
fn while_flooded(agent: &Agent, opened: &AtomicUsize) -> Result<(usize, usize)> {
    eventually("the flood", || Ok(opened.load(Ordering::Relaxed) > FLOODING))?;
    let all_refused = || -> Result<u64> {
        let scrape = agent.scrape()?;
        Ok(["connections", "idle", "slow"].into_iter().map(|cause| refused(&scrape, cause)).sum())
    };
    let before = all_refused()?;
    let (mut answered, mut asked) = (0, 0);
    eventually("refusals of the flood", || {
        asked += 1;
        answered += usize::from(agent.get("/metrics").is_ok_and(|answer| answer.status == 200));
        Ok(asked >= SCRAPES && all_refused()? > before)
    })?;
    Ok((answered, asked))
}

fn flood(address: SocketAddr, is_over: &AtomicBool, opened: &AtomicUsize) -> Result<()> {
    let mut held = VecDeque::new();
    while !is_over.load(Ordering::Relaxed) {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 0))?;
        rustix::net::connect(&socket, &address)?;
        let mut stream = TcpStream::from(socket);
        let end = if opened.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { "\r\n" } else { "" };
        // The connection may be closed already.
        _ = write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n{end}");
        held.push_back(stream);
        if held.len() > FLOODING {
            // No more wait to be accepted than there is room for: beyond that the kernel drops what opens a connection, and
            // it is sent again a second later.
            if let Some(oldest) = held.pop_front() {
                oldest.set_read_timeout(Some(patience()))?;
                // Answered, or closed.
                _ = oldest.peek(&mut [0]);
            }
        }
    }
    Ok(())
}

/// The agent takes a few seconds until it cuts a connection.
fn requests_that_do_not_end() -> Result<()> {
    let agent = Agent::start(&[])?;
    let mut slow = agent.connect()?;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: ")?;
    until_refused(&agent, "slow", 1)?;
    let mut answer = String::new();
    // The connection may be reset.
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
        // The agent cuts the request in the middle, as it should.
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
