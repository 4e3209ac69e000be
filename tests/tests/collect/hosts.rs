//! Hosts that answer.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::droptrace::{Droptrace, Finished, binary, fleet_command};
use tests::eventually;
use tests::fleet::{Day, World};
use tests::folder::Folder;
use tests::openssh::{Host, Network};
use tests::trials::trial_as_root;
use tests::wire::udp;

use super::{document, failed};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("report_is_that_of_the_same_snapshots", report_is_that_of_the_same_snapshots),
        trial_as_root("drops_of_real_hosts_are_counted_exactly", drops_of_real_hosts_are_counted_exactly),
        trial_as_root("hosts_are_called_as_asked", hosts_are_called_as_asked),
    ]
}

/// Runs `collect` at the operator's.
pub(super) fn collect(network: &Network, options: &[&str]) -> Result<Finished> {
    spawn(network, options)?.wait()
}

pub(super) fn spawn(network: &Network, options: &[&str]) -> Result<Droptrace> {
    let configuration = network.configuration();
    let line = [&["collect", "--ssh-config", &configuration, "--format", "json"], options].concat();
    network.operator.run(|| Droptrace::spawn(&mut fleet_command(&line)?))
}

/// A host whose droptrace sends this host of an invented fleet.
pub(super) fn invented(network: &Network, number: u8, name: &str, world: &World) -> Result<Host> {
    let host = network.host(number, name)?;
    let snapshot = (0..).find_map(|at| world.snapshot(usize::from(number) + 100 * at, Day::Now));
    let mut bytes = Vec::new();
    droptrace_base::snapshot::write(&mut bytes, &snapshot.expect("some host is not silent"))?;
    fs::write(host.path("snapshot.json"), bytes)?;
    host.program("droptrace", &format!("exec cat {}", host.path("snapshot.json").display()))?;
    Ok(host)
}

/// `--out`, `--baseline`, `--parallel` and `--hosts` of `collect`.
fn report_is_that_of_the_same_snapshots() -> Result<()> {
    let (network, world, folder) = (Network::new()?, World::new(300, 40, 7)?, Folder::new("collect")?);
    let hosts = (1..=4).map(|number| invented(&network, number, &format!("web-{number}"), &world));
    let _hosts = hosts.collect::<Result<Vec<_>>>()?;
    let list = folder.write("hosts", "# the rack\nweb-2\n\nweb-3   # a comment\nweb-4 root\n")?;
    let before = folder.path("before");
    world.write(before.as_ref(), Day::Before, ".zst")?;
    let out = folder.path("out");
    let options = ["web-1", "--hosts", &list, "--parallel", "2", "--out", &out, "--baseline", &before];
    let finished = collect(&network, &options)?;
    let collected = document(&finished, 3)?;
    ensure!(finished.stderr.is_empty(), "{}", finished.stderr);
    ensure!(collected["input"]["from"] == "hosts" && collected["input"]["read"] == 4, "{}", collected["input"]);
    let line = ["merge", &out, "--baseline", &before, "--format", "json"];
    let mut merged = document(&Droptrace::spawn(&mut fleet_command(&line)?)?.wait()?, 3)?;
    merged["input"]["from"] = "hosts".into();
    ensure!(collected == merged, "{collected:#} instead of {merged:#}");
    let mut files: Vec<_> = fs::read_dir(&out)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files == ["root@web-4.json", "web-1.json", "web-2.json", "web-3.json"], "{files:?}");
    // A second run must not mix with the first one.
    failed(&collect(&network, &options)?, 1, &["is not empty: name a new one for each run"])
}

/// `--duration` of `collect`, and what stands after `--`: both go to `droptrace snapshot`, which counts drops that the test
/// provokes while both hosts count.
fn drops_of_real_hosts_are_counted_exactly() -> Result<()> {
    const DROPS: u64 = 40;
    let network = Network::new()?;
    let hosts = [network.host(1, "web-1")?, network.host(2, "web-2")?];
    for host in &hosts {
        let (said, end) = (host.path("said"), host.path("end"));
        let (program, said, end) = (binary()?.canonicalize()?, said.display(), end.display());
        let program = program.display();
        // The test ends the count, as Ctrl-C does.
        let script = format!(
            "echo \"$@\" > {said}.options\n{program} \"$@\" 2> {said} &\n\
             while [ ! -e {end} ]; do sleep 0.1; done\nkill -TERM $!\nwait $!"
        );
        host.program("droptrace", &script)?;
    }
    let options = ["web-1", "web-2", "--duration", "2h30m", "--", "--filter", "udp dst port 4711", "--source", "ebpf"];
    let running = spawn(&network, &options)?;
    for host in &hosts {
        let said = || fs::read_to_string(host.path("said")).unwrap_or_default();
        eventually("droptrace on the host", || {
            ensure!(!said().contains("cannot"), "{}", said());
            Ok(said().contains("Ctrl-C ends"))
        })?;
        let options = fs::read_to_string(host.path("said.options"))?;
        ensure!(options.trim() == "snapshot --duration 2h30m --filter udp dst port 4711 --source ebpf", "{options}");
    }
    let sender = udp(&hosts[0].netns, (Ipv4Addr::LOCALHOST, 0).into())?;
    for _ in 0..DROPS {
        // The host answers that nobody listens, which the next call reports.
        _ = sender.send_to(b"lost", (Ipv4Addr::LOCALHOST, 4711));
    }
    let sent = DROPS;
    for host in &hosts {
        fs::write(host.path("end"), "")?;
    }
    let finished = running.wait()?;
    let collected: serde_json::Value = serde_json::from_str(&finished.stdout)?;
    // Both hosts have one kernel, so each of them reports each drop.
    ensure!(collected["fleet"]["hosts"] == 2 && collected["fleet"]["packets"] == 2 * sent, "{collected:#}");
    ensure!(collected["input"]["refused"].as_array().is_some_and(Vec::is_empty), "{}", collected["input"]);
    Ok(())
}

/// `--ssh-config`, `--ssh-option`, `--user`, `--sudo` and `--droptrace` of `collect`.
fn hosts_are_called_as_asked() -> Result<()> {
    let (network, world) = (Network::new()?, World::new(300, 5, 7)?);
    let host = invented(&network, 1, "web-1", &world)?;
    let configuration = network.configuration();
    ensure!(matches!(collect(&network, &["web-1"])?.status.code(), Some(0 | 3)), "--ssh-config {configuration}");
    // Whoever logs in, and however the program is called, the last words are ssh's or the host's.
    let nobody = collect(&network, &["web-1", "--user", "nobody"])?;
    failed(&nobody, 1, &["web-1: ", "nobody@10.8.1.2: Permission denied (publickey", "none of the 1 hosts"])?;
    let user = collect(&network, &["root@web-1", "--user", "nobody"])?;
    ensure!(matches!(user.status.code(), Some(0 | 3)), "{}", user.stderr);
    let closed = collect(&network, &["web-1", "--ssh-option", "Port=23"])?;
    failed(&closed, 1, &["web-1: ssh: connect to host 10.8.1.2 port 23: Connection refused (exit status 255)"])?;
    let unknown = collect(&network, &["web-1", "--ssh-option", "UserKnownHostsFile=/dev/null"])?;
    failed(&unknown, 1, &["Host key verification failed."])?;
    host.program("sudo", "[ \"$1 $2\" = '-n --' ] || exit 9\nshift 2\necho \"$@\" > \"$HOME/as\"\nexec \"$@\"")?;
    let sudo = collect(&network, &["web-1", "--sudo", "--droptrace", "droptrace"])?;
    ensure!(matches!(sudo.status.code(), Some(0 | 3)), "{}", sudo.stderr);
    let words = fs::read_to_string(host.path("as"))?;
    ensure!(words == "droptrace snapshot --duration 10s\n", "{words}");
    host.program("it's droptrace", &format!("exec cat {}", host.path("snapshot.json").display()))?;
    let quoted = collect(&network, &["web-1", "--droptrace", "it's droptrace"])?;
    ensure!(matches!(quoted.status.code(), Some(0 | 3)), "{}", quoted.stderr);
    let missing = collect(&network, &["web-1", "--droptrace", "/opt/droptrace"])?;
    failed(&missing, 1, &["/opt/droptrace: not found (exit status 127)"])
}
