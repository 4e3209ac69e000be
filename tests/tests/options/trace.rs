//! The options that select the drops of `trace`, and the facts that it shows of them.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, command};
use tests::trials::trial_as_root;
use tests::wire::udp;

use super::capture::Host;
use super::last;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_run_ends_after_so_many", a_run_ends_after_so_many),
        trial_as_root("records_have_bounds", records_have_bounds),
        trial_as_root("a_recording_is_another_form", a_recording_is_another_form),
        trial_as_root("bytes_of_packets_are_cut", bytes_of_packets_are_cut),
        trial_as_root("the_ring_has_a_size", the_ring_has_a_size),
        trial_as_root("owners_are_left_out", owners_are_left_out),
        trial_as_root("times_are_those_of_the_host", times_are_those_of_the_host),
    ]
}

fn flood(host: &Host, count: usize) -> Result<()> {
    let socket = udp(&host.netns, (Ipv4Addr::LOCALHOST, 0).into())?;
    for _ in 0..count {
        // The kernel reports the refusal by the next call.
        _ = socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
    }
    drained()
}

/// A field of the ledger of records, after so many drops.
fn records(host: &Host, arguments: &[&str], field: &str) -> Result<u64> {
    let droptrace = Droptrace::start(&[&["trace", "--format", "json", "--netns", &host.inum], arguments].concat())?;
    flood(host, 2_000)?;
    let ledger = last(&droptrace.finish()?.stdout)?;
    Ok(ledger["sources"][0]["ledger"]["events"][field].as_u64().unwrap_or_default())
}

/// `--local-time` of `trace`.
fn times_are_those_of_the_host() -> Result<()> {
    let of = |arguments: &[&str]| -> Result<String> {
        let mut trace = command(&[&["trace", "--duration", "100ms"], arguments].concat())?;
        Ok(Droptrace::spawn(trace.env("TZ", "<+05>-5"))?.wait()?.stdout)
    };
    let (local, utc) = (of(&["--local-time"])?, of(&[])?);
    ensure!(local.contains("; times are UTC+05:00\n") && utc.contains("; times are UTC\n"), "{local} {utc}");
    Ok(())
}

/// `--count` of `trace`.
fn a_run_ends_after_so_many() -> Result<()> {
    let host = Host::new()?;
    let mut trace =
        Droptrace::spawn(&mut command(&["trace", "--format", "json", "--netns", &host.inum, "--count", "2"])?)?;
    trace.await_attached()?;
    host.drops()?;
    let lines = trace.wait()?.stdout.matches("droptrace.drop.v1").count();
    ensure!(lines == 2, "{lines} drops");
    Ok(())
}

/// `--all` and `--rate` of `trace`.
fn records_have_bounds() -> Result<()> {
    let host = Host::new()?;
    let (usual, all) = (records(&host, &[], "suppressed")?, records(&host, &["--all"], "suppressed")?);
    let many = records(&host, &["--rate", "1000000"], "suppressed")?;
    ensure!(usual > 0 && all == 0 && many == 0, "{usual}, {all} with --all, {many} with a high rate");
    Ok(())
}

/// `--raw` of `trace`.
fn a_recording_is_another_form() -> Result<()> {
    let host = Host::new()?;
    let lines = host.own(&["trace", "--raw"])?.stdout;
    let first: Value = serde_json::from_str(lines.lines().next().unwrap_or_default())?;
    ensure!(first["schema"] == "droptrace.raw.v1" && lines.matches("raw.v1").count() == 13, "{lines}");
    Ok(())
}

/// `--snaplen` of `trace`.
fn bytes_of_packets_are_cut() -> Result<()> {
    let host = Host::new()?;
    let decoded = |snaplen| -> Result<usize> {
        let lines = host.own(&["trace", "--all", "--format", "json", "--snaplen", snaplen])?.stdout;
        Ok(lines.lines().filter(|line| line.contains(r#""destination":"127.0.0.1:9""#)).count())
    };
    let (none, enough) = (decoded("0")?, decoded("128")?);
    ensure!((none, enough) == (0, 12), "{none} without bytes, {enough} with them");
    Ok(())
}

/// `--ring-size` of `trace`: no program reads the ring while so many drops come.
fn the_ring_has_a_size() -> Result<()> {
    let host = Host::new()?;
    let full = |size| -> Result<u64> {
        let arguments = ["trace", "--all", "--format", "json", "--netns", &host.inum, "--ring-size", size];
        let droptrace = Droptrace::start(&arguments)?;
        droptrace.signal(Signal::STOP)?;
        flood(&host, 500)?;
        droptrace.signal(Signal::CONT)?;
        let ledger = last(&droptrace.finish()?.stdout)?;
        Ok(ledger["sources"][0]["ledger"]["events"]["ring_full"].as_u64().unwrap_or_default())
    };
    let (small, large) = (full(&tests::a_page())?, full("8M")?);
    ensure!(small > 0 && large == 0, "{small} in a small one, {large} in a large one");
    Ok(())
}

/// `--no-owners` of `trace`. A packet that a firewall drops on its way out belongs to its sender on each kernel.
fn owners_are_left_out() -> Result<()> {
    let host = Host::new()?;
    host.netns.commands(
        "nft add table inet cases
         nft add chain inet cases output { type filter hook output priority 0 ; }
         nft add rule inet cases output drop",
    )?;
    let lines = |arguments: &[&str], end| -> Result<usize> {
        let droptrace = Droptrace::start(&[&["trace", "--all", "--netns", &host.inum], arguments].concat())?;
        flood(&host, 5)?;
        Ok(droptrace.finish()?.stdout.lines().filter(|line| line.contains(end)).count())
    };
    let (named, without) = (lines(&[], " len 37, owner ")?, lines(&["--no-owners"], ", owner ")?);
    ensure!((named, without) == (5, 0), "{named} named, {without} without owners");
    Ok(())
}
