//! The start and the end of the agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use tests::agent::Agent;
use tests::droptrace::{Droptrace, command};
use tests::folder::Folder;
use tests::storm::{REASON, Storm};
use tests::trials::{trial, trial_as_root};
use tests::{eventually, kernel};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_port_that_is_taken_is_named", a_port_that_is_taken_is_named),
        trial("names_in_the_filter_of_a_file_are_checked", names_in_the_filter_of_a_file_are_checked),
        trial("unencrypted_public_address_needs_an_option", unencrypted_public_address_needs_an_option),
        trial_as_root("it_ends_in_order_while_it_is_scraped", it_ends_in_order_while_it_is_scraped),
        trial_as_root("answers_on_their_way_are_finished", answers_on_their_way_are_finished),
        trial_as_root("after_a_kill_the_next_one_starts_from_nothing", after_a_kill_the_next_one_starts_from_nothing),
        trial_as_root("capabilities_are_given_up", capabilities_are_given_up),
    ]
}

fn refused(arguments: &[&str], words: &[&str]) -> Result<()> {
    let finished = Droptrace::spawn(&mut command(&[&["agent"], arguments].concat())?)?.wait()?;
    ensure!(finished.status.code() == Some(1), "{}: {}", finished.status, finished.stderr);
    let missing = words.iter().find(|word| !finished.stderr.contains(*word));
    ensure!(missing.is_none(), "it does not say {missing:?}: {}", finished.stderr);
    Ok(())
}

fn a_port_that_is_taken_is_named() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    refused(&["--listen", &address], &[&address, "in use"])
}

fn names_in_the_filter_of_a_file_are_checked() -> Result<()> {
    let folder = Folder::new("agent-filter")?;
    let file = folder.write("agent.toml", b"filter = \"udp and reason SOCKET_RCVBUF\"\n")?;
    refused(&["--config", &file], &["--config", "invalid filter", "unknown drop reason", "SOCKET_RCVBUFF"])?;
    let doubtful = folder.write("doubtful.toml", b"filter = \"reason socket_rcvbuf or iface nosuch0\"\n")?;
    // Ends at once, after the filter was read.
    let words = ["only a trap of a driver can match", "SOCKET_RCVBUFF", "no interface nosuch0 exists now", "in use"];
    let taken = TcpListener::bind("127.0.0.1:0")?;
    refused(&["--config", &doubtful, "--listen", &taken.local_addr()?.to_string()], &words)
}

fn unencrypted_public_address_needs_an_option() -> Result<()> {
    refused(&["--listen", "0.0.0.0:0"], &["--web-config", "--listen-insecure"])?;
    refused(&["--listen", "[::]:0"], &["--web-config", "--listen-insecure"])?;
    let agent = Agent::start(&["--listen", "0.0.0.0:0", "--listen-insecure"])?;
    ensure!(agent.address.ip().is_unspecified(), "{} is another address", agent.address);
    agent.scrape()?;
    agent.finish().map(drop)
}

fn it_ends_in_order_while_it_is_scraped() -> Result<()> {
    for delay in (0..50).step_by(10) {
        let agent = Agent::start(&[])?;
        let address = agent.address;
        let (is_over, answers) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            let scrapes = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { continue };
                    // An answer that arrives is whole.
                    let whole = match stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") {
                        Ok(()) => whole_answer(&mut stream)?,
                        Err(_) => 0,
                    };
                    answers.fetch_add(whole, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
            let answered = eventually("an answer", || Ok(answers.load(Ordering::Relaxed) > 0 || scrapes.is_finished()));
            // The signal comes at another moment of the scrape each time.
            thread::sleep(Duration::from_millis(delay));
            let finished = agent.finish();
            is_over.store(true, Ordering::Relaxed);
            scrapes.join().map_err(|_| anyhow!("the scraping thread panicked"))??;
            answered.and(finished.map(drop))
        })?;
    }
    Ok(())
}

/// Number of answers, 0 or 1.
fn whole_answer(stream: &mut std::net::TcpStream) -> Result<u32> {
    let mut text = String::new();
    if stream.read_to_string(&mut text).is_err() || text.is_empty() {
        return Ok(0);
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
    let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
    ensure!(body.len().to_string() == length, "{} bytes of {length}", body.len());
    Ok(1)
}

fn answers_on_their_way_are_finished() -> Result<()> {
    let agent = Agent::start(&[])?;
    let mut waiting = agent.connect()?;
    waiting.write_all(b"GET /metrics HTTP/1.1\r\nHo")?;
    let mut asked = agent.connect()?;
    asked.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    asked.read_exact(&mut [0; 12])?;
    agent.finish()?;
    let mut rest = String::new();
    asked.read_to_string(&mut rest)?;
    ensure!(rest.contains("process_start_time_seconds"), "the answer is cut: {rest}");
    Ok(())
}

fn after_a_kill_the_next_one_starts_from_nothing() -> Result<()> {
    let storm = Storm::new()?;
    let inum = storm.host.inum().to_string();
    let agent = Agent::start(&["--netns", &inum])?;
    storm.send(2_000)?;
    let before = agent.settled()?;
    let address = agent.address.to_string();
    agent.droptrace.signal(Signal::KILL)?;
    agent.droptrace.wait()?;
    storm.send(2_000)?;
    let dropped = storm.dropped()?;
    let again = ["agent", "--listen", &address, "--interval", "20ms", "--netns", &inum];
    let agent = Agent::spawn(&mut command(&again)?)?;
    storm.send(1_000)?;
    let (counted, dropped) = (agent.settled()?, storm.dropped()? - dropped);
    // Drops beside those of the storm happen while the namespace is set up.
    let reason = kernel::reason(REASON)?.shown().unwrap_or_default();
    let drops = counted.sum("droptrace_dropped_packets_total", &[("reason", reason)]);
    ensure!(dropped > 0 && drops == dropped, "it counts {drops}, the kernel {dropped}");
    let [then, now] = [&before, &counted].map(|scrape| scrape.one("process_start_time_seconds"));
    ensure!(now?.value > then?.value, "the start time did not change");
    agent.finish()?;
    Ok(())
}

/// `CAP_BPF` (39) and `CAP_SYSLOG` (34) remain.
fn capabilities_are_given_up() -> Result<()> {
    let agent = Agent::start(&["--source", "ebpf"])?;
    let status = fs::read_to_string(format!("/proc/{}/status", agent.droptrace.pid()))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        line.with_context(|| format!("no {name}"))
    };
    for name in ["CapPrm:", "CapEff:"] {
        ensure!(u64::from_str_radix(field(name)?, 16)? == 1 << 39 | 1 << 34, "{name} {}", field(name)?);
    }
    ensure!(field("NoNewPrivs:")? == "1", "it may gain capabilities");
    Ok(())
}
