//! `agent-cost [SECONDS [OPTION…]]`: what `droptrace agent OPTION…` with all its series in use takes at 100,000 drops a second, and how long
//! its scrapes take.
//!
//! `cargo build --release && cargo run --release --package tests --bin agent-cost -- 60`

use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::agent::{Agent, Scrape};
use tests::droptrace::command;
use tests::frame::ethernet;
use tests::storm::Storm;
use tests::wire::Wire;

const RATE: u64 = 100_000;
/// Datagrams that are sent at once.
const BURST: u64 = 1_000;
/// Protocols without a handler, each of which is a set of labels: more than there are series.
const PROTOCOLS: std::ops::Range<u16> = 0x9000..0x9000 + 600;
const SCRAPES: usize = 200;

fn main() -> Result<()> {
    let seconds = env::args().nth(1).map_or(Ok(60), |text| text.parse()).context("SECONDS is no number")?;
    let (storm, wire) = (Storm::new()?, Wire::new()?);
    let options: Vec<String> = env::args().skip(2).collect();
    let agent = Agent::spawn(command(&["agent", "--listen", "127.0.0.1:0"])?.args(options))?;
    for protocol in PROTOCOLS {
        wire.send(&ethernet(protocol, &[0; 46]))?;
    }
    agent_has_read(&agent)?;
    let (before, dropped, started) = (agent.scrape()?, storm.dropped()?, Instant::now());
    while started.elapsed() < Duration::from_secs(seconds) {
        storm.send(BURST)?;
        let sent = storm.dropped()? - dropped;
        let due = Duration::from_micros(sent * 1_000_000 / RATE);
        sleep(due.saturating_sub(started.elapsed()));
    }
    let (elapsed, dropped) = (started.elapsed().as_secs_f64(), storm.dropped()? - dropped);
    let after = agent.scrape()?;
    let cpu = |scrape: &Scrape| Ok::<_, anyhow::Error>(scrape.one("process_cpu_seconds_total")?.value);
    println!("{:.0} drops a second for {elapsed:.0} s", precise(dropped) / elapsed);
    println!("CPU of the agent: {:.3} % of one", (cpu(&after)? - cpu(&before)?) / elapsed * 100.0);
    let memory = after.sum("process_resident_memory_bytes", &[]);
    println!("resident: {:.1} MB", precise(memory) / 1e6);
    let series = after.sum("droptrace_series", &[]);
    println!(
        "{series} series; reading the totals took {:.1} ms",
        after.one("droptrace_read_duration_seconds")?.value * 1e3
    );
    scrapes(&agent)?;
    agent.finish()?;
    Ok(())
}

/// Waits until the agent has read its counters, which it does every 10 s.
fn agent_has_read(agent: &Agent) -> Result<()> {
    let reads = |scrape: &Scrape| scrape.sum("droptrace_reads_total", &[("result", "ok")]);
    let before = reads(&agent.scrape()?);
    while reads(&agent.scrape()?) < before + 2 {
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn scrapes(agent: &Agent) -> Result<()> {
    let (mut times, mut bytes) = (vec![], 0);
    for _ in 0..SCRAPES {
        let started = Instant::now();
        bytes = agent.get("/metrics")?.body.len();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let (median, most) = (times[SCRAPES / 2], times[SCRAPES - 1]);
    println!("a scrape of {bytes} bytes: {median:.2?}, at most {most:.2?} of {SCRAPES}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn precise(count: u64) -> f64 {
    count as f64
}
