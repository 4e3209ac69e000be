//! Owners that droptrace cannot see: no wrong name, and a word on what is missing.

use std::net::UdpSocket;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tests::cgroup::ControlGroup;
use tests::droptrace::{Droptrace, Stat, copy_for_all, piped};
use tests::netns::Netns;
use tests::owned::{DATAGRAMS, udp_of};
use tests::trace::Trace;
use tests::trials::{Unable, trial_as_root};

use super::owners::{behind_a_firewall, refused};
use super::processes::{name, whose};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("processes_of_others_are_unknown", || are_unknown(&[], &["the open files of", "CAP_SYS_PTRACE"])),
        trial_as_root("hidden_processes_are_unknown", || are_unknown(&HIDING, &["hidepid"])),
        trial_as_root("a_group_among_ten_thousand_has_its_name", a_group_among_ten_thousand_has_its_name),
    ]
}

/// Runs a program that sees its own processes only. The folder `/proc` of all others stays as it is.
const HIDING: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount -t proc -o hidepid=2 proc /proc && exec \"$0\" \"$@\""];
/// Runs a program without a limit of locked memory, of which the maps are a part before Linux 5.11.
const UNLIMITED: [&str; 3] = ["sh", "-c", "ulimit -l unlimited 2>/dev/null; exec \"$0\" \"$@\""];
/// Runs a program as a user with no capabilities but those of the BPF program. The path is whole, because the shell of the
/// emulated machines has a lesser command of this name.
const NOBODY: [&str; 7] = [
    "/usr/bin/setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+bpf,+perfmon,+syslog",
    "--ambient-caps=-all,+bpf,+perfmon,+syslog",
    "--bounding-set=-all,+bpf,+perfmon,+syslog",
];

/// `trace`, run as nobody within `around`, knows the sender's role and control group, but not its process, and says why.
fn are_unknown(around: &[&str], said: &[&str]) -> Result<()> {
    let able = Command::new(NOBODY[0]).args(&NOBODY[1..]).arg("true").stderr(Stdio::null()).status();
    ensure!(able.is_ok_and(|status| status.success()), Unable("setpriv cannot grant CAP_BPF".to_owned()));
    let (group, host, folder) = (ControlGroup::new()?, behind_a_firewall()?, copy_for_all()?);
    let sender = udp_of(&group, &host)?;
    let copy = folder.path("droptrace");
    let words = [around, &UNLIMITED, &NOBODY, &[&copy, "trace", "--all", "--format", "json"]].concat();
    let (program, arguments) = words.split_first().context("nothing to run")?;
    let mut droptrace = Droptrace::spawn(piped(Command::new(program).args(arguments)))?;
    droptrace.await_attached()?;
    refused(&sender)?;
    let finished = droptrace.finish()?;
    let mut drops = Trace::parse(&finished.stdout)?.drops;
    drops.retain(|drop| drop["netns"] == host.inum());
    let expected = json!(["owner", null, name(&group)?]);
    let other = drops.iter().map(whose).find(|whose| *whose != expected);
    ensure!(drops.len() as u64 == DATAGRAMS && other.is_none(), "{other:?} in {} drops", drops.len());
    for words in said {
        ensure!(finished.stderr.contains(words), "{words:?} is missing: {}", finished.stderr);
    }
    Ok(())
}

/// The groups that send, among many that do not.
fn a_group_among_ten_thousand_has_its_name() -> Result<()> {
    const SENDERS: usize = 50;
    let idle = (0..10_000 - SENDERS).map(|_| ControlGroup::new()).collect::<Result<Vec<_>>>()?;
    let host = behind_a_firewall()?;
    let senders = (0..SENDERS).map(|_| sender(&host)).collect::<Result<Vec<_>>>()?;
    let inum = host.inum().to_string();
    let stat = Stat::during(&["--by", "cgroup", "--top", "0", "--netns", &inum], || {
        senders.iter().try_for_each(|(_, socket)| refused(socket))
    })?;
    drop(idle);
    let rows = stat.0["drops"].as_array().context("no drops")?;
    for (group, _) in &senders {
        let name = name(group)?;
        let is_own = |row: &&Value| row["cgroup"].as_str().and_then(|path| path.rsplit('/').next()) == Some(name);
        let packets: Vec<_> = rows.iter().filter(is_own).map(|row| row["packets"].as_u64()).collect();
        ensure!(packets == [Some(DATAGRAMS)], "{packets:?} packets of {name}");
    }
    let attributed = stat.0["attribution"]["attributed"].as_u64();
    ensure!(attributed == Some(SENDERS as u64 * DATAGRAMS), "{attributed:?} packets have an owner");
    Ok(())
}

fn sender(host: &Netns) -> Result<(ControlGroup, UdpSocket)> {
    let group = ControlGroup::new()?;
    let socket = udp_of(&group, host)?;
    Ok((group, socket))
}
