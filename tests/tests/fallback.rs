//! When the best capture backend is not available, droptrace uses the next one and reports why.

use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::droptrace::{Droptrace, Finished, binary, copy_for_all, piped};
use tests::netns::Netns;
use tests::trials::{self, trial_as_root};
use tests::wire::udp;

const DROPS: u64 = 20;
const CAPABILITIES: [&str; 3] = ["CAP_BPF", "CAP_PERFMON", "setcap"];

fn main() -> ExitCode {
    trials::run(without_capabilities())
}

fn without_capabilities() -> Vec<Trial> {
    vec![
        trial_as_root("nobody_counts_by_counters", nobody_counts_by_counters),
        trial_as_root("root_without_capabilities_counts_by_counters", || {
            let finished = run(&bare(), &["stat", "--duration", "100ms", "--format", "json"])?;
            ensure!(selected(&finished)? == "counters", "{finished:?}");
            said(&finished, &CAPABILITIES)
        }),
        trial_as_root("the_forced_source_is_refused", || {
            let finished = run(&bare(), &["stat", "--source", "ebpf", "--duration", "1s"])?;
            ensure!(finished.status.code() == Some(1) && finished.stdout.is_empty(), "{finished:?}");
            said(&finished, &CAPABILITIES)
        }),
        trial_as_root("single_drops_are_not_made_of_counters", || {
            let finished = run(&bare(), &["trace", "--duration", "1s"])?;
            ensure!(finished.status.code() == Some(1) && finished.stdout.is_empty(), "{finished:?}");
            said(&finished, &["no single drops", "CAP_BPF", "net_dm packet: "])
        }),
        trial_as_root("counters_are_of_one_namespace", || {
            let finished = run(&bare(), &["stat", "--netns", "1", "--duration", "1s"])?;
            ensure!(finished.status.code() == Some(1), "{finished:?}");
            said(&finished, &["--netns", "of the namespace that droptrace runs in"])
        }),
        trial_as_root("doctor_shows_the_backend_that_is_taken", doctor_shows_the_backend_that_is_taken),
    ]
}

/// Runs as the user nobody, who may not read the folder of the build.
fn nobody_counts_by_counters() -> Result<()> {
    let folder = copy_for_all()?;
    ensure!(counted_as_nobody(&folder.join("droptrace"))? == DROPS, "not as many as were sent");
    Ok(())
}

/// Drops of a namespace, from the kernel's own counters.
fn counted_as_nobody(droptrace: &std::path::Path) -> Result<u64> {
    let host = Netns::new()?;
    host.command("ip link set lo up")?;
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(droptrace).args(["stat", "--format", "json"]);
    let socket = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
    let finished = host.run(|| {
        let mut droptrace = Droptrace::spawn(piped(&mut nobody))?;
        droptrace.await_attached()?;
        for _ in 0..DROPS {
            socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9))?;
        }
        droptrace.finish()
    })?;
    said(&finished, &CAPABILITIES)?;
    let result: Value = serde_json::from_str(&finished.stdout)?;
    let rows = result["drops"].as_array().context("no drops")?;
    let row = rows.iter().find(|row| row["reason"] == "UdpNoPorts").context("no row of UdpNoPorts")?;
    ensure!(row["subsystem"] == "snmp" && row["address"].is_null() && row["netns"] == host.inum(), "{row}");
    row["packets"].as_u64().context("no count")
}

/// The backend that the doctor names is the one that droptrace uses.
fn doctor_shows_the_backend_that_is_taken() -> Result<()> {
    let mode = |finished: &Finished| -> Result<Value> {
        ensure!(finished.status.success(), "{finished:?}");
        Ok(serde_json::from_str::<Value>(&finished.stdout).context("reading the diagnosis")?["selected"].clone())
    };
    let arguments = ["doctor", "--format", "json"];
    let root = run(&[], &arguments)?;
    ensure!(mode(&root)? == "tp_btf", "as root: {root:?}");
    let bare = run(&bare(), &arguments)?;
    ensure!(mode(&bare)? == "procfs", "without capabilities: {bare:?}");
    Ok(())
}

/// Root without capabilities, as in a container.
fn bare() -> [&'static str; 3] {
    ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
}

fn run(prefix: &[&str], arguments: &[&str]) -> Result<Finished> {
    let binary = binary()?;
    let words = prefix.iter().map(AsRef::as_ref).chain([binary.as_os_str()]);
    let mut words = words.chain(arguments.iter().map(AsRef::as_ref));
    let mut command = Command::new(words.next().context("nothing to run")?);
    Droptrace::spawn(piped(command.args(words)))?.wait()
}

/// The source of the only ledger.
fn selected(finished: &Finished) -> Result<Value> {
    ensure!(finished.status.success(), "{finished:?}");
    Ok(serde_json::from_str::<Value>(&finished.stdout)?["sources"][0]["source"].clone())
}

fn said(finished: &Finished, words: &[&str]) -> Result<()> {
    let missing = words.iter().find(|word| !finished.stderr.contains(*word));
    ensure!(missing.is_none(), "it does not say {missing:?}: {}", finished.stderr);
    ensure!(!finished.stderr.contains("panicked"), "it panics: {}", finished.stderr);
    Ok(())
}
