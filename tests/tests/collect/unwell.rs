//! Hosts that fail, hang, flood and lie, and an operator who gives up.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use tests::droptrace::{Droptrace, fleet_command};
use tests::fleet::World;
use tests::folder::Folder;
use tests::openssh::Network;
use tests::trials::{trial, trial_as_root};
use tests::{eventually, pace};

use super::hosts::{collect, invented, spawn};
use super::{document, failed};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("hosts_that_fail_do_not_stop_the_others", hosts_that_fail_do_not_stop_the_others),
        trial_as_root("no_program_outlives_a_collection", no_program_outlives_a_collection),
        trial("wrong_hosts_are_reported", wrong_hosts_are_reported),
    ]
}

/// A host with what is wrong with it: its name, its program, and the words that report it.
const UNWELL: [(&str, &str, &str); 8] = [
    ("angry", "printf 'first\\nsecond\\n\\033[2Jno \\033]0;title\\007\\n' >&2; exit 7", "second; \u{fffd}[2Jno"),
    ("cut", "head -c 1000 snapshot.json", "the snapshot is truncated: it ends after 1000 bytes"),
    ("flood", "exec cat /dev/zero", "it sent more than 1 MiB; see --max-size"),
    ("garbage", "printf '{\"host\": \"../../evil\\\\u001b[2J\"}'", "the file is not a snapshot, or it is damaged"),
    ("greeting", "echo Welcome; exec cat snapshot.json", "text that begins with \"Welcome\""),
    ("hanging", "echo waiting >&2; exec sleep 10000", "; its last words: waiting"),
    ("noisy", "exec cat /dev/zero >&2", "it sent more than 1 MiB; see --max-size"),
    ("silent", "exit 0", "it sent nothing"),
];

/// A name that no program of this machine has.
const PROGRAM: &str = "droptrace-here";

const WELL: &str = "exec cat snapshot.json";

fn unwell() -> impl Iterator<Item = (&'static str, &'static str)> {
    UNWELL.into_iter().map(|(name, script, _)| (name, script))
}

/// `--timeout` and `--max-size` of `collect`; hosts that are down, or have no droptrace, as well.
fn hosts_that_fail_do_not_stop_the_others() -> Result<()> {
    let (network, world, folder) = (Network::new()?, World::new(300, 40, 7)?, Folder::new("unwell")?);
    let mut hosts = Vec::new();
    for (number, (name, script)) in (1..).zip([("web-1", WELL), ("web-2", WELL)].into_iter().chain(unwell())) {
        let host = invented(&network, number, name, &world)?;
        host.program(PROGRAM, script)?;
        hosts.push(host);
    }
    let missing = network.host(40, "missing")?;
    // The operator's own end of a cable, where no sshd is.
    network.call("down", Ipv4Addr::new(10, 8, 1, 1))?;
    let names: Vec<_> = UNWELL.iter().map(|(name, ..)| *name).chain(["web-1", "missing", "down", "web-2"]).collect();
    let (out, timeout) = (folder.path("out"), format!("{}ms", pace::scaled(Duration::from_secs(8)).as_millis()));
    let options =
        ["--timeout", &timeout, "--duration", "100ms", "--max-size", "1", "--out", &out, "--droptrace", PROGRAM];
    let finished = collect(&network, &[&names[..], &options].concat())?;
    let collected = document(&finished, 4)?;
    ensure!(collected["input"]["read"] == 2 && collected["fleet"]["hosts"] == 2, "{:#}", collected["input"]);
    let others = [
        ("missing", "droptrace-here: not found (exit status 127)"),
        ("down", "ssh: connect to host 10.8.1.1 port 22: Connection refused (exit status 255)"),
    ];
    let expected: Vec<_> = UNWELL.iter().map(|(name, _, why)| (*name, *why)).chain(others).collect();
    let refused = collected["input"]["refused"].as_array().context("no host is refused")?;
    ensure!(refused.len() == expected.len(), "{refused:#?}");
    for (name, why) in expected {
        let of_host = refused.iter().find(|refused| refused["file"] == name).with_context(|| format!("no {name}"))?;
        ensure!(of_host["why"].as_str().is_some_and(|text| text.contains(why)), "{of_host} instead of {why}");
        ensure!(finished.stderr.contains(why), "stderr lacks {why:?}: {}", finished.stderr);
    }
    let all = [&finished.stdout, &finished.stderr].map(String::as_str).concat();
    ensure!(!all.contains(['\x1b', '\x07']), "{all:?}");
    // The folder has what can be read, and the two that look like snapshots.
    let mut files: Vec<_> = fs::read_dir(&out)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files == ["cut.json", "garbage.json", "web-1.json", "web-2.json"], "{files:?}");
    drop(missing);
    Ok(())
}

/// The programs that a process started.
fn children(pid: u32) -> Result<Vec<String>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(list.split_whitespace().map(str::to_owned));
    }
    Ok(children)
}

/// Whether this process is there, and runs ssh.
fn is_ssh(pid: &String) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ssh")
}

fn no_program_outlives_a_collection() -> Result<()> {
    let (network, world, folder) = (Network::new()?, World::new(300, 5, 7)?, Folder::new("signals")?);
    let _well = invented(&network, 1, "web-1", &world)?;
    let hanging = network.host(2, "web-2")?;
    hanging.program("droptrace", "touch \"$HOME/started\"; exec sleep 10000")?;
    let started = hanging.path("started");
    let signals = [("int", Signal::INT), ("term", Signal::TERM), ("hup", Signal::HUP), ("kill", Signal::KILL)];
    for (name, signal) in signals {
        let out = folder.path(name);
        let running = spawn(&network, &["web-1", "web-2", "--duration", "1h", "--out", &out])?;
        eventually("the hanging host", || Ok(started.exists()))?;
        eventually("the other host", || {
            Ok(fs::read(folder.join(name).join("web-1.json")).is_ok_and(|bytes| bytes.ends_with(b"}\n")))
        })?;
        let mut ssh = Vec::new();
        eventually("one ssh", || {
            ssh = children(running.pid())?.into_iter().filter(is_ssh).collect();
            Ok(ssh.len() == 1)
        })?;
        running.signal(signal)?;
        let finished = running.wait()?;
        eventually("the end of ssh", || Ok(!ssh.iter().any(is_ssh)))?;
        ensure!(finished.stdout.is_empty(), "{}", finished.stdout);
        if signal != Signal::KILL {
            let words = format!("interrupted; 1 snapshots are in {out}, of which `droptrace-fleet merge {out}`");
            failed(&finished, 1, &["web-2: interrupted", &words])?;
            ensure!(!folder.join(name).join("web-2.json").exists(), "half a snapshot is left");
        }
        fs::remove_file(&started)?;
    }
    Ok(())
}

fn wrong_hosts_are_reported() -> Result<()> {
    let folder = Folder::new("wrong")?;
    let run = |options: &[&str]| Droptrace::spawn(&mut fleet_command(&[&["collect"], options].concat())?)?.wait();
    failed(&run(&[])?, 2, &["HOST"])?;
    failed(&run(&["a b"])?, 2, &["a b is not a host: write NAME, USER@NAME or NAME:PORT"])?;
    failed(&run(&["x@-oProxyCommand=id"])?, 2, &["for an option"])?;
    failed(&run(&["a", "--kubectl"])?, 2, &["cannot be used with"])?;
    let list = folder.write("hosts", "web-1\n-oProxyCommand=touch${IFS}x\n")?;
    failed(&run(&["--hosts", &list])?, 1, &["hosts, line 2: ", "for an option"])?;
    failed(&run(&["--hosts", "/dev/zero"])?, 1, &["cannot read the hosts of /dev/zero", "not a regular file"])?;
    let empty = folder.write("none", "# nobody\n")?;
    failed(&run(&["--hosts", &empty])?, 1, &["names no host"])?;
    failed(&run(&["a", "--out", &list])?, 1, &["cannot use the folder"])
}
