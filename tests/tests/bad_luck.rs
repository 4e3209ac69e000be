//! Bad files, signals and readers: droptrace reports the error, destroys nothing, and never hangs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, mknodat};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Signal;
use serde_json::Value;
use tests::agent::Agent;
use tests::case::drained;
use tests::droptrace::{Droptrace, Finished, Stat, command, fleet_command};
use tests::eventually;
use tests::folder::Folder;
use tests::frame::ethernet;
use tests::packet::{ALL_PROTOCOLS, PacketSocket};
use tests::trials::{self, trial, trial_as_root};
use tests::wire::Wire;

fn main() -> ExitCode {
    trials::run([files(), agents(), sniffers()].into_iter().flatten().collect())
}

fn run(command: &mut Command) -> Result<Finished> {
    Droptrace::spawn(command)?.wait()
}

const RECORDING: &str = r#"{"schema":"droptrace.raw.v1","host":"h","kernel":"k","started_at":"2026-11-26T10:00:00Z","captured":128,"home_netns":1}
{"schema":"droptrace.ledger.v1","sources":[],"union":null}
"#;

/// A snapshot without drops; `details` is part of the ledger of its source.
fn snapshot(host: &str, details: &str) -> String {
    format!(
        r#"{{"schema":"droptrace.snapshot.v1","version":"0","host":"{host}","kernel":"k","build_id":null,"started_at":"2026-11-26T10:00:00Z","duration_ns":1,"interfaces":[],"backend":{{"source":"ebpf","mode":"tp_btf"}},"unavailable":[],"sources":[{{"source":"ebpf","mode":"tp_btf","ledger":{{"accounted":0,"overflow":0,"filtered":0,"lost":0,"events":{details}}}}}],"drops":[],"overflow":[]}}"#
    )
}

fn files() -> Vec<Trial> {
    vec![
        trial("a_recording_is_not_overwritten_by_its_replay", || {
            let folder = Folder::new("replay")?;
            let file = folder.write("recording", RECORDING)?;
            untouched(&file, &mut command(&["replay", &file, "--output", &file])?)
        }),
        trial("a_snapshot_is_not_overwritten_by_its_merge", || {
            let folder = Folder::new("merge")?;
            let file = folder.write("s.json", snapshot("h", "null"))?;
            fs::hard_link(&file, folder.path("other-name"))?;
            untouched(&file, &mut fleet_command(&["merge", &file, "--output", &folder.path("other-name")])?)?;
            untouched(&file, &mut fleet_command(&["merge", &file, "--html", &file])?)
        }),
        trial("results_and_page_are_two_files", || {
            let folder = Folder::new("page")?;
            let (file, out) = (folder.write("s.json", snapshot("h", "null"))?, folder.write("out", "kept")?);
            untouched(&out, &mut fleet_command(&["merge", &file, "--output", &out, "--html", &out])?)?;
            untouched(&out, &mut fleet_command(&["merge", &file, "--output", &out, "--html", &file])?)?;
            let on_stdout = fleet_command(&["merge", &file, "--html", "-"])?;
            let finished = run(&mut { on_stdout })?;
            ensure!(!finished.status.success() && finished.stdout.is_empty(), "{finished:?}");
            let nowhere = ["merge", &file, "--output", "/dev/null", "--html", "/dev/null"];
            ensure!(run(&mut fleet_command(&nowhere)?)?.status.success(), "/dev/null cannot be destroyed");
            Ok(())
        }),
        trial("settings_are_not_written_over", || {
            let folder = Folder::new("settings")?;
            let file = folder.write("http.toml", "")?;
            let engine = "http://127.0.0.1:9";
            untouched(
                &file,
                &mut fleet_command(&["diagnose", "--prometheus", engine, "--http-config", &file, "--output", &file])?,
            )
        }),
        trial("a_bomb_among_snapshots", a_bomb_among_snapshots),
        trial("names_without_end_in_a_recording", names_without_end),
        trial("names_that_turn_text_around", names_that_turn_text_around),
        trial("machines_of_one_name", machines_of_one_name),
        trial("a_recording_with_lines_missing_or_doubled", lines_missing_or_doubled),
    ]
}

/// The command is refused, and the file stays as it was.
fn untouched(file: &str, command: &mut Command) -> Result<()> {
    let before = fs::read(file)?;
    let finished = run(command)?;
    ensure!(!finished.status.success() && finished.stderr.contains("are the same file"), "{finished:?}");
    ensure!(fs::read(file)? == before, "{file} was changed");
    Ok(())
}

/// Megabytes of small objects: `merge` refuses the file, in bounded memory, and reads the good one.
fn a_bomb_among_snapshots() -> Result<()> {
    let folder = Folder::new("bomb")?;
    folder.write("good.json", snapshot("good", "null"))?;
    let objects = format!("[{}0]", r#"{"":0},"#.repeat(10 << 20));
    folder.write("bomb.json", snapshot("bomb", &objects))?;
    let path = folder.as_ref().display().to_string();
    let limited = r#"ulimit -v 1500000; exec "$0" "$@""#;
    let inner = fleet_command(&["merge", &path, "--format", "json"])?;
    let mut command = Command::new("sh");
    command.args(["-c", limited]).arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let finished = run(&mut command)?;
    let report: Value = serde_json::from_str(&finished.stdout).with_context(|| format!("{finished:?}"))?;
    let is_known = finished.stderr.contains("bomb.json") && finished.stderr.contains("not a snapshot");
    ensure!(report["input"]["read"] == 1 && is_known, "{report}, {}", finished.stderr);
    Ok(())
}

fn names_without_end() -> Result<()> {
    let folder = Folder::new("names")?;
    let (start, ledger) = RECORDING.trim_end().split_once('\n').context("two lines")?;
    let long = "x".repeat(1000);
    let line = format!(
        r#"{{"schema":"droptrace.raw.v1","source":"ebpf","timestamp":"2026-11-26T10:00:00Z","received_ns":1,"address":"0x1","ethertype":0,"interface":"{long}","length":0,"bytes":""}}"#
    );
    let file = folder.write("recording", format!("{start}\n{line}\n{ledger}\n"))?;
    let finished = run(&mut command(&["replay", &file])?)?;
    let is_known = finished.stderr.contains("a name is longer than 512 bytes") && finished.stderr.contains("line 2");
    ensure!(finished.status.code() == Some(1) && is_known, "{finished:?}");
    Ok(())
}

/// The lines are compared with the counts of their source.
fn lines_missing_or_doubled() -> Result<()> {
    let folder = Folder::new("thinned")?;
    let (start, _) = RECORDING.split_once('\n').context("two lines")?;
    let drops: Vec<_> = (1..=20)
        .map(|at| {
            format!(
                r#"{{"schema":"droptrace.raw.v1","source":"ebpf","timestamp":"2026-11-26T10:00:00Z","received_ns":{at},"address":"0x1","ethertype":0,"length":0,"bytes":""}}"#
            )
        })
        .collect();
    let ledger = r#"{"schema":"droptrace.ledger.v1","sources":[{"source":"ebpf","mode":"tp_btf","ledger":{"hits":20,"accounted":20,"overflow":0,"filtered":0,"lost":0,"missed":0,"unread":0,"events":{"offered":20,"submitted":20,"suppressed":0,"ring_full":0,"delivered":20,"undecodable":0,"pending":0,"unreadable":0},"qdisc_unmatched":null}}],"union":null}"#;
    let replayed = |lines: &[&str]| {
        let file = folder.write("recording", format!("{start}\n{}\n{ledger}\n", lines.join("\n")))?;
        run(&mut command(&["replay", &file, "--stat", "--format", "json"])?)
    };
    let all: Vec<&str> = drops.iter().map(String::as_str).collect();
    let whole = replayed(&all)?;
    ensure!(whole.status.success(), "{whole:?}");
    for (lines, count) in [(&all[..15], "15"), (&[&all[..], &all[..]].concat(), "40")] {
        let finished = replayed(lines)?;
        let is_known = finished.stderr.contains(&format!("it has {count} events from ebpf, the ledger 20"));
        ensure!(finished.status.code() == Some(1) && is_known, "{finished:?}");
    }
    Ok(())
}

/// Two machines are two hosts, and `merge` reports a machine that occurs twice.
fn machines_of_one_name() -> Result<()> {
    let folder = Folder::new("machines")?;
    let of =
        |machine: &str| snapshot("h", "null").replace(r#""kernel""#, &format!(r#""machine":"{machine}","kernel""#));
    let [one, other, again] =
        [("1.json", "1"), ("2.json", "2"), ("3.json", "1")].map(|(file, id)| folder.write(file, of(id)));
    let (one, other, again) = (one?, other?, again?);
    let merged = |files: &[&String]| -> Result<(Option<i32>, Value)> {
        let names = files.iter().map(|file| file.as_str());
        let finished =
            run(&mut fleet_command(&["merge", "--format", "json"].into_iter().chain(names).collect::<Vec<_>>())?)?;
        Ok((finished.status.code(), serde_json::from_str(&finished.stdout)?))
    };
    let (status, report) = merged(&[&one, &other])?;
    ensure!(status == Some(0) && report["fleet"]["hosts"] == 2 && report["input"]["read"] == 2, "{status:?} {report}");
    let (status, report) = merged(&[&one, &again])?;
    ensure!(report["findings"][0]["kind"] == "duplicate" && status == Some(3), "{status:?} {report}");
    ensure!(report["fleet"]["hosts"] == 1 && report["input"]["read"] == 1, "{report}");
    Ok(())
}

/// A name in JSON that clears the screen, turns the rest of a line around, hides, and starts an escape sequence.
const HOSTILE: &str = r"x\u001b[2J\u202ey\u200bz\u009bw";

/// The name occurs in all text output, as the name of files, hosts, drop sites and interfaces.
fn names_that_turn_text_around() -> Result<()> {
    let folder = Folder::new("names-around")?;
    let row = format!(
        r#""drops":[{{"reason":"{HOSTILE}","subsystem":"{HOSTILE}","symbol":"{HOSTILE}","offset":1,"module":null,"trap_group":null,"protocol":"{HOSTILE}","interface":"{HOSTILE}","class":"{HOSTILE}","netns_name":null,"own_netns":true,"netlink":false,"packets":100000,"bytes":null,"first_seen":"2026-11-26T10:00:00Z","last_seen":"2026-11-26T10:00:00Z"}}]"#
    );
    let text = snapshot(HOSTILE, "null").replace(r#""drops":[]"#, &row);
    let good = folder.write("good.json", text)?;
    let bad = folder.write("bad\u{1b}[2J\u{202e}\n.json", "{")?;
    let page = folder.path("page.html");
    let merged = run(&mut fleet_command(&["merge", &good, &bad, "--html", &page])?)?;
    ensure!(merged.stdout.contains("y\u{fffd}z") && merged.stderr.contains("bad\u{fffd}[2J"), "{merged:?}");
    let (start, ledger) = RECORDING.trim_end().split_once('\n').context("two lines")?;
    let line = format!(
        r#"{{"schema":"droptrace.raw.v1","source":"ebpf","timestamp":"2026-11-26T10:00:00Z","received_ns":1,"reason":"{HOSTILE}","reason_number":3,"subsystem":"core","symbol":"{HOSTILE}","offset":1,"address":"0x1","ethertype":0,"interface":"{HOSTILE}","ifindex":2,"netns_name":"{HOSTILE}","length":0,"bytes":""}}"#
    );
    let start = start.replace(r#""host":"h""#, &format!(r#""host":"{HOSTILE}""#));
    let recording = folder.write("recording\u{202e}", format!("{start}\n{line}\n{{}}\n{ledger}\n"))?;
    let (shown, counted) =
        (run(&mut command(&["replay", &recording])?)?, run(&mut command(&["replay", &recording, "--stat"])?)?);
    ensure!(shown.stdout.contains("y\u{fffd}z") && counted.stdout.contains("y\u{fffd}z"), "{shown:?} {counted:?}");
    let page = fs::read_to_string(page)?;
    ensure!(page.contains("y\u{fffd}z"), "the page has no name");
    let json = ["--format", "json"];
    let documents = [
        run(&mut fleet_command(&[&["merge", good.as_str()][..], &json].concat())?)?.stdout,
        run(&mut command(&[&["replay", recording.as_str()][..], &json].concat())?)?.stdout,
        run(&mut command(&[&["replay", recording.as_str(), "--stat"][..], &json].concat())?)?.stdout,
    ];
    for document in &documents {
        let line = document.lines().next().context("no document")?;
        let hidden = line.contains(r"x\u001b[2J\u202ey\u200bz\u009bw");
        ensure!(hidden && serde_json::from_str::<Value>(line).is_ok(), "{document}");
    }
    let people =
        [&merged.stdout, &merged.stderr, &shown.stdout, &shown.stderr, &counted.stdout, &counted.stderr, &page];
    let all = people.into_iter().chain(&documents);
    for text in all {
        let found = text.chars().find(|c| *c != '\n' && droptrace_base::outside::is_hidden(*c));
        ensure!(found.is_none(), "{found:?} in {text:?}");
    }
    Ok(())
}

fn agents() -> Vec<Trial> {
    vec![
        trial_as_root("a_reload_that_meets_a_fifo", || {
            reload_meets(|path| Ok(mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0)?), "not a regular file")
        }),
        trial_as_root("a_reload_that_meets_a_device", || {
            reload_meets(|path| Ok(std::os::unix::fs::symlink("/dev/zero", path)?), "not a regular file")
        }),
        trial_as_root("a_reload_that_meets_a_huge_file", || {
            reload_meets(|path| Ok(fs::write(path, vec![b'#'; 2 << 20])?), "longer than")
        }),
        trial_as_root("a_web_config_that_is_cut", a_web_config_that_is_cut),
    ]
}

/// The agent goes on serving as before, reports the reason, and ends when asked to.
fn reload_meets(put: impl FnOnce(&Path) -> Result<()>, why: &str) -> Result<()> {
    let folder = Folder::new(&why.replace(' ', "-"))?;
    let file = folder.write("agent.toml", "")?;
    let mut agent = Agent::start(&["--config", &file])?;
    fs::remove_file(&file)?;
    put(Path::new(&file))?;
    agent.droptrace.signal(Signal::HUP)?;
    agent.droptrace.await_said(why)?;
    ensure!(agent.get("/-/healthy")?.status == 200, "it serves no more");
    agent.finish().map(drop)
}

/// The rest of the file must not admit everybody.
fn a_web_config_that_is_cut() -> Result<()> {
    const WHOLE: &str = "basic_auth_users:\n  me: $2y$04$YXHNCTIX1TKbHyLEMPlmh.yOWkL3mQnVxoEkS4FRWm/kpPl2p2cPe\n";
    let folder = Folder::new("web")?;
    let file = folder.write("web.yml", WHOLE)?;
    let mut agent = Agent::start(&["--web-config", &file, "--listen-insecure"])?;
    ensure!(agent.get("/metrics")?.status == 401, "anybody may scrape");
    for cut in ["basic_auth_users:\n", "basic_auth_users: {}\n", "", "{}\n"] {
        fs::File::create(&file)?.write_all(cut.as_bytes())?;
        agent.droptrace.signal(Signal::HUP)?;
        agent.droptrace.await_said("keeping the previous configuration")?;
        ensure!(agent.get("/metrics")?.status == 401, "anybody may scrape after {cut:?}");
    }
    agent.finish().map(drop)
}

/// An `EtherType` that is for experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88b5;

fn sniffers() -> Vec<Trial> {
    vec![trial_as_root("copies_for_a_sniffer_are_no_packets", copies_for_a_sniffer)]
}

/// A sniffer of sent packets misses copies; the packets themselves went on. The kernel does not report that a packet
/// socket was the only receiver, so the packets that it misses are copies as well.
fn copies_for_a_sniffer() -> Result<()> {
    const COUNT: u64 = 20;
    let wire = Wire::new()?;
    let (sniffer, receiver) = (full_socket(&wire, ALL_PROTOCOLS)?, full_socket(&wire, EXPERIMENTAL)?);
    let sender = PacketSocket::bind(&wire.host, "host0", 0)?;
    let (own, others) = (ethernet(EXPERIMENTAL + 1, b"droptrace"), ethernet(EXPERIMENTAL, b"droptrace"));
    eventually("the sniffer to be full", || {
        sender.send(&own)?;
        Ok(sniffer.dropped()? > 0)
    })?;
    eventually("the receiver to be full", || {
        wire.send(&others)?;
        Ok(receiver.dropped()? > 0)
    })?;
    drained()?;
    sniffer.dropped()?;
    receiver.dropped()?;
    let inum = wire.host.inum().to_string();
    let stat = Stat::during(&["--netns", &inum], || {
        (0..COUNT).try_for_each(|_| sender.send(&own))?;
        wire.repeat(COUNT, &others)?;
        drained()
    })?;
    // The sniffer and the receiver share the incoming packets.
    let (copies, missed) = (sniffer.dropped()?, receiver.dropped()?);
    let stat = stat.0;
    let of = |list: &str, kind: &str| -> u64 {
        let rows = stat[list].as_array().into_iter().flatten();
        rows.filter(|row| row["kind"] == kind).filter_map(|row| row["packets"].as_u64()).sum()
    };
    let found = (of("not_packets", "copy"), of("drops", "packet"));
    ensure!((copies, missed) == (2 * COUNT, COUNT) && found == (2 * COUNT, 0), "{copies}, {missed}, {found:?}: {stat}");
    Ok(())
}

/// A packet socket of the host without room in its buffer.
fn full_socket(wire: &Wire, protocol: u16) -> Result<PacketSocket> {
    let socket = PacketSocket::bind(&wire.host, "host0", protocol)?;
    set_socket_recv_buffer_size(&socket, 1)?;
    Ok(socket)
}
