//! Usual drops are hidden and counted, commands are counted while they run, and counts make a run fail.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Signal;
use serde_json::Value;
use tests::case::drained;
use tests::cgroup::{self, ControlGroup};
use tests::droptrace::{Droptrace, Finished, command};
use tests::eventually;
use tests::folder::Folder;
use tests::netns::Netns;
use tests::tcp::listener_with;
use tests::trials::{self, trial_as_root};
use tests::wire::udp;
use tests::witness::Witness;

/// Datagrams to a port without a socket (`NO_SOCKET`, which healthy hosts often have).
const REFUSED: u64 = 12;

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("shown_and_hidden_drops_are_all_drops", shown_and_hidden_drops_are_all_drops),
        trial_as_root("single_drops_are_hidden_and_counted", single_drops_are_hidden_and_counted),
        trial_as_root("recorded_drops_are_hidden_and_counted", recorded_drops_are_hidden_and_counted),
        trial_as_root("values_are_separated_by_commas", values_are_separated_by_commas),
        trial_as_root("a_command_is_counted_from_its_first_drop_on", a_command_is_counted_from_its_first_drop_on),
        trial_as_root("the_status_of_the_command_is_passed_on", the_status_of_the_command_is_passed_on),
        trial_as_root("signals_go_to_the_command", signals_go_to_the_command),
        trial_as_root("the_end_of_the_duration_ends_the_command", the_end_of_the_duration_ends_the_command),
        trial_as_root("a_condition_on_counts_fails_the_run", a_condition_on_counts_fails_the_run),
        trial_as_root("losses_outside_fail_the_run", losses_outside_fail_the_run),
        trial_as_root("conditions_know_owners", conditions_know_owners),
        trial_as_root("a_waiting_command_dies_with_droptrace", a_waiting_command_dies_with_droptrace),
    ])
}

/// A namespace in which some drops are usual and some are not.
struct Scene {
    host: Netns,
    inum: String,
}

/// The kernel's own counts.
struct Counted {
    refused: u64,
    overflowed: u64,
}

impl Scene {
    fn new() -> Result<Self> {
        let host = Netns::new()?;
        host.command("ip link set lo up")?;
        let inum = host.inum().to_string();
        Ok(Self { host, inum })
    }

    /// Provokes refused datagrams, and others that overflow the buffer of a socket without a reader.
    fn drops(&self) -> Result<Counted> {
        let before = self.counted()?;
        let sender = udp(&self.host, (Ipv4Addr::LOCALHOST, 0).into())?;
        let receiver = udp(&self.host, (Ipv4Addr::LOCALHOST, 0).into())?;
        set_socket_recv_buffer_size(&receiver, 1)?;
        for _ in 0..REFUSED {
            // The kernel reports the refusal by the next call.
            _ = sender.send_to(b"refused", (Ipv4Addr::LOCALHOST, 9));
        }
        for _ in 0..40 {
            _ = sender.send_to(&[0; 1000], receiver.local_addr()?);
        }
        drained()?;
        // What is unread when the socket is closed would be dropped, too.
        receiver.set_nonblocking(true)?;
        while receiver.recv(&mut [0; 1]).is_ok() {}
        let after = self.counted()?;
        Ok(Counted { refused: after.refused - before.refused, overflowed: after.overflowed - before.overflowed })
    }

    fn counted(&self) -> Result<Counted> {
        let read = |name| Witness::Snmp("Udp", name).read(&self.host);
        Ok(Counted { refused: read("NoPorts")?, overflowed: read("RcvbufErrors")? })
    }

    /// The results of a run on this namespace while the drops happen, and the drops.
    fn shown(&self, arguments: &[&str]) -> Result<(Finished, Counted)> {
        let droptrace = Droptrace::start(&[arguments, &["--netns", &self.inum]].concat())?;
        let counted = self.drops()?;
        Ok((droptrace.finish()?, counted))
    }

    /// A shell in the namespace.
    fn shell(&self, script: &str) -> Vec<String> {
        ["nsenter", &format!("--net={}", self.host.path()), "bash", "-c", script].map(str::to_owned).into()
    }

    /// Runs droptrace with a command in the namespace, to its end. The results are on stderr.
    fn during(&self, options: &[&str], words: &[String]) -> Result<Finished> {
        let words = words.iter().map(String::as_str);
        let line: Vec<&str> = ["stat", "--netns", &self.inum].into_iter().chain(options.iter().copied()).collect();
        let line: Vec<&str> = line.into_iter().chain(["--"]).chain(words).collect();
        Droptrace::spawn(&mut command(&line)?)?.wait()
    }
}

fn json(text: &str) -> Result<Value> {
    let line = text.lines().rfind(|line| line.starts_with('{')).context("no JSON")?;
    Ok(serde_json::from_str(line)?)
}

fn sum(rows: &Value) -> u64 {
    rows.as_array().into_iter().flatten().filter_map(|row| row["packets"].as_u64()).sum()
}

/// `--unusual` and `--hide` of `stat`: with the hidden ones, the rows are the drops that the kernel's own counters show.
fn shown_and_hidden_drops_are_all_drops() -> Result<()> {
    let scene = Scene::new()?;
    for (options, hides) in [(&["--unusual"][..], "usual"), (&["--hide", "reason NO_SOCKET"], "expression")] {
        let (found, counted) = scene.shown(&[&["stat", "--format", "json"], options].concat())?;
        let document = json(&found.stdout)?;
        ensure!(counted.refused == REFUSED && counted.overflowed > 0, "the scene");
        ensure!(sum(&document["drops"]) == counted.overflowed, "{document}");
        ensure!(sum(&document["hidden"]) == counted.refused, "{document}");
        ensure!(document["hidden"][0]["by"] == hides && document["hidden"][0]["rows"] == 1, "{document}");
        let accounted = document["sources"][0]["ledger"]["accounted"].as_u64();
        ensure!(accounted == Some(counted.refused + counted.overflowed), "{document}");
        ensure!(document["drops"][0]["usual"] == "sometimes", "{document}");
    }
    let (text, _) = scene.shown(&["stat", "--unusual"])?;
    let hidden = format!("hidden: 1 row, {REFUSED} drops (usual)");
    ensure!(text.stdout.contains(&hidden) && text.stdout.contains("  some   SOCKET_RCVBUFF"), "{}", text.stdout);
    ensure!(!text.stdout.contains("NO_SOCKET"), "{}", text.stdout);
    Ok(())
}

/// `--unusual` and `--hide` of `trace`.
fn single_drops_are_hidden_and_counted() -> Result<()> {
    let scene = Scene::new()?;
    for options in [&["--unusual"][..], &["--hide", "reason NO_SOCKET"]] {
        let (found, counted) = scene.shown(&[&["trace", "--all", "--format", "json"], options].concat())?;
        let shown = found.stdout.lines().filter(|line| line.contains("droptrace.drop.v1")).count() as u64;
        let ledger = json(&found.stdout)?;
        ensure!(shown == counted.overflowed && sum(&ledger["hidden"]) == counted.refused, "{shown}: {ledger}");
    }
    Ok(())
}

/// `--unusual` and `--hide` of `replay`.
fn recorded_drops_are_hidden_and_counted() -> Result<()> {
    let (scene, folder) = (Scene::new()?, Folder::new("recorded")?);
    let path = folder.path("drops.dtr");
    let (_, counted) = scene.shown(&["trace", "--all", "-o", &path])?;
    for options in [&["--unusual"][..], &["--hide", "reason NO_SOCKET"]] {
        let replayed = |form: &[&str]| -> Result<Value> {
            let line = [&["replay", &path, "--format", "json"], form, options].concat();
            json(&Droptrace::spawn(&mut command(&line)?)?.wait()?.stdout)
        };
        let table = replayed(&["--stat"])?;
        ensure!(sum(&table["drops"]) == counted.overflowed && sum(&table["hidden"]) == counted.refused, "{table}");
        let ledger = replayed(&[])?;
        ensure!(sum(&ledger["hidden"]) == counted.refused, "{ledger}");
    }
    Ok(())
}

/// `--csv` of `stat`.
fn values_are_separated_by_commas() -> Result<()> {
    let scene = Scene::new()?;
    let (found, counted) = scene.shown(&["stat", "--csv"])?;
    let rows: Vec<Vec<&str>> = found.stdout.split_terminator("\r\n").map(|row| row.split(',').collect()).collect();
    let at = |name| rows[0].iter().position(|column| *column == name).with_context(|| format!("no column {name}"));
    let (row, packets, reason) = (at("row")?, at("packets")?, at("reason")?);
    let of = |name| rows.iter().find(|cells| cells[reason] == name).map(|cells| cells[packets].to_owned());
    ensure!(of("NO_SOCKET") == Some(counted.refused.to_string()), "{}", found.stdout);
    ensure!(of("SOCKET_RCVBUFF") == Some(counted.overflowed.to_string()), "{}", found.stdout);
    let lost = rows.iter().find(|cells| cells[row] == "lost_by_ebpf").context("no losses")?;
    ensure!(lost[packets] == "0" && rows.iter().all(|cells| cells.len() == rows[0].len()), "{}", found.stdout);
    Ok(())
}

fn a_command_is_counted_from_its_first_drop_on() -> Result<()> {
    let scene = Scene::new()?;
    let words = scene.shell("echo to stdout; for i in 1 2 3; do echo x > /dev/udp/127.0.0.1/9; done");
    for _ in 0..5 {
        let found = scene.during(&["--format", "json"], &words)?;
        ensure!(found.stdout == "to stdout\n" && found.status.success(), "{found:?}");
        ensure!(sum(&json(&found.stderr)?["drops"]) == 3, "{found:?}");
    }
    let folder = Folder::new("command")?;
    let path = folder.path("out.json");
    let found = scene.during(&["--format", "json", "-o", &path], &words)?;
    ensure!(!found.stderr.contains('{') && sum(&json(&std::fs::read_to_string(path)?)?["drops"]) == 3, "{found:?}");
    Ok(())
}

fn the_status_of_the_command_is_passed_on() -> Result<()> {
    let scene = Scene::new()?;
    for (script, status) in [("true", 0), ("exit 37", 37), ("kill -KILL $$", 137)] {
        let found = scene.during(&[], &scene.shell(script))?;
        ensure!(found.status.code() == Some(status), "{script}: {found:?}");
        ensure!(found.stderr.contains("No packet was dropped"), "{script}: {found:?}");
    }
    for (program, status) in [("/nonexistent/command", 127), ("/etc/passwd", 126)] {
        let found = scene.during(&[], &[program.to_owned()])?;
        ensure!(found.status.code() == Some(status), "{program}: {found:?}");
        ensure!(found.stderr.contains(&format!("cannot run {program}: ")), "{found:?}");
        ensure!(!found.stderr.contains("Packets dropped"), "{found:?}");
    }
    Ok(())
}

fn signals_go_to_the_command() -> Result<()> {
    let scene = Scene::new()?;
    let script =
        "trap 'echo x > /dev/udp/127.0.0.1/9; exit 5' INT TERM HUP; echo ready >&2; while :; do sleep 0.05; done";
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let words = scene.shell(script);
        let line: Vec<_> = ["stat", "--netns", &scene.inum, "--format", "json", "--"]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .collect();
        // In the foreground of a terminal, Ctrl-C would reach the command without droptrace.
        let mut droptrace = Droptrace::spawn(command(&line)?.process_group(0))?;
        droptrace.await_said("ready")?;
        droptrace.signal(signal)?;
        let found = droptrace.wait()?;
        ensure!(found.status.code() == Some(5) && found.status.signal().is_none(), "{signal:?}: {found:?}");
        ensure!(sum(&json(&found.stderr)?["drops"]) == 1, "{signal:?}: {found:?}");
    }
    Ok(())
}

fn the_end_of_the_duration_ends_the_command() -> Result<()> {
    let scene = Scene::new()?;
    let found = scene.during(&["--duration", "300ms"], &scene.shell("exec sleep 600"))?;
    ensure!(found.status.code() == Some(143) && found.stderr.contains("Packets dropped"), "{found:?}");
    Ok(())
}

/// `--fail-if` of `stat`.
fn a_condition_on_counts_fails_the_run() -> Result<()> {
    let scene = Scene::new()?;
    let three = scene.shell("for i in 1 2 3; do echo x > /dev/udp/127.0.0.1/9; done");
    for (condition, status) in [
        ("total > 2", 4),
        ("total > 3", 0),
        ("unusual > 0", 0),
        ("reason NO_SOCKET == 3", 4),
        ("'reason NO_SOCKET and not netns self' >= 3", 4),
        ("lost > 0", 0),
        ("total < 3", 0),
    ] {
        let found = scene.during(&["--fail-if", condition], &three)?;
        ensure!(found.status.code() == Some(status), "{condition}: {found:?}");
        let has_rows = found.stderr.contains("drops counted") && found.stderr.contains("  3 NO_SOCKET");
        ensure!(has_rows == (status == 4), "{condition}: {found:?}");
    }
    let failed = scene.during(&["--fail-if", "total > 0"], &scene.shell("echo x > /dev/udp/127.0.0.1/9; exit 9"))?;
    ensure!(failed.status.code() == Some(9), "the command's own failure comes first: {failed:?}");
    ensure!(failed.stderr.contains("--fail-if total > 0: true: 1 drop counted"), "{failed:?}");
    // Hidden drops count, too.
    let hidden = scene.during(&["--unusual", "--fail-if", "total > 2"], &three)?;
    ensure!(hidden.status.code() == Some(4) && hidden.stderr.contains("hidden: 1 row, 3 drops"), "{hidden:?}");
    let (room, total) = (["--map-entries", "1", "--max-rows", "1"], ["--fail-if", "reason TCP_CSUM > 0"]);
    let crowded =
        scene.shell("for p in 1 2; do echo x > /dev/udp/127.0.0.1/9; exec 3<>/dev/tcp/127.0.0.1/$p; done; true");
    let found = scene.during(&[&room[..], &total].concat(), &crowded)?;
    ensure!(found.status.code() == Some(4) && found.stderr.contains("cannot be ruled out"), "{found:?}");
    Ok(())
}

/// `--fail-if 'outside > 0'` of `stat`: SYNs that a listening socket refuses are in no drop.
fn losses_outside_fail_the_run() -> Result<()> {
    let scene = Scene::new()?;
    let listener = listener_with(&scene.host, 1, |_| Ok(()))?;
    let port = listener.local_addr()?.port();
    let connect = |clients: u32| {
        let client = format!("timeout 0.5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; exec sleep 9'");
        scene.shell(&format!("for i in $(seq {clients}); do {client} & done; wait; true"))
    };
    let few = scene.during(&["--fail-if", "outside > 0"], &connect(1))?;
    ensure!(few.status.success() && !few.stderr.contains("--fail-if"), "{few:?}");
    let many = scene.during(&["--fail-if", "outside > 0"], &connect(8))?;
    ensure!(many.status.code() == Some(4) && many.stderr.contains("--fail-if outside > 0: true: "), "{many:?}");
    let unknown = scene.during(&["--no-counters", "--fail-if", "outside > 99999"], &connect(1))?;
    ensure!(unknown.status.code() == Some(4) && unknown.stderr.contains("counters were not read"), "{unknown:?}");
    Ok(())
}

/// `--fail-if` and `--hide` of `stat` with a control group, which no column shows.
fn conditions_know_owners() -> Result<()> {
    let scene = Scene::new()?;
    let group = ControlGroup::new()?;
    let name = group.run(cgroup::of_this_thread)?.context("the group has no name")?;
    let overflow = || group.run(|| Ok(scene.drops()?.overflowed));
    let start = |options: &[&str]| Droptrace::start(&[&["stat", "--netns", &scene.inum], options].concat());
    let (of_group, of_other) = (format!("cgroup {name}"), format!("cgroup {name}.other > 0"));
    for (condition, status) in [(format!("{of_group} > 0"), 4), (of_other, 0)] {
        let droptrace = start(&["--fail-if", &condition])?;
        ensure!(overflow()? > 0, "the scene");
        droptrace.signal(Signal::INT)?;
        let found = droptrace.wait()?;
        ensure!(found.status.code() == Some(status), "{condition}: {found:?}");
    }
    let droptrace = start(&["--format", "json", "--hide", &of_group])?;
    let hidden = overflow()?;
    let document = json(&droptrace.finish()?.stdout)?;
    ensure!(sum(&document["hidden"]) == hidden, "{hidden}: {document}");
    Ok(())
}

/// droptrace that is killed before it counts leaves no process that waits for it.
fn a_waiting_command_dies_with_droptrace() -> Result<()> {
    let scene = Scene::new()?;
    let words = scene.shell("exec sleep 600");
    let words = words.iter().map(String::as_str);
    let line: Vec<&str> = ["stat", "--netns", &scene.inum, "--"].into_iter().chain(words).collect();
    let droptrace = Droptrace::spawn(&mut command(&line)?)?;
    let pid = droptrace.pid();
    let mut waiting = String::new();
    eventually("the waiting command", || {
        waiting = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(!waiting.is_empty())
    })?;
    droptrace.signal(Signal::KILL)?;
    droptrace.wait()?;
    let command = Path::new("/proc").join(waiting.trim());
    eventually("the end of the waiting command", || Ok(!command.exists()))
}
