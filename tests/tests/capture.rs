//! Packet captures: tshark and tcpdump read them, and find each dropped packet with its interface and comment.

use std::fs::File;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use tests::case::drained;
use tests::droptrace::{Droptrace, command};
use tests::folder::Folder;
use tests::frame::{tagged, udp4, udp6};
use tests::kernel::{self, Known};
use tests::trials::{self, Unable, trial_as_root};
use tests::wire::Wire;

/// Datagrams to a closed port, over IPv6, and in a VLAN that the firewall refuses.
const PLAIN: usize = 3;
const SIX: usize = 4;
const TAGGED: usize = 2;
const VLAN: u16 = 5;

fn main() -> ExitCode {
    trials::run_one_by_one(vec![
        trial_as_root("a_capture_has_each_packet", a_capture_has_each_packet),
        trial_as_root("a_capture_of_a_recording_is_the_same", a_capture_of_a_recording_is_the_same),
        trial_as_root("packets_without_a_link_header_are_bare_ip", packets_without_a_link_header_are_bare_ip),
    ])
}

/// The stage, and its frames.
struct Stage {
    wire: Wire,
    netns: String,
    frames: [(usize, Vec<u8>); 3],
}

impl Stage {
    fn new() -> Result<Self> {
        let wire = Wire::with_ipv6()?;
        wire.refuse_vlan(VLAN)?;
        let tagged = tagged(udp4(9)?, VLAN);
        let netns = wire.host.inum().to_string();
        Ok(Self { wire, netns, frames: [(PLAIN, udp4(9)?), (SIX, udp6(9)?), (TAGGED, tagged)] })
    }

    fn send(&self) -> Result<()> {
        self.frames.iter().try_for_each(|(times, frame)| self.wire.repeat(*times as u64, frame))?;
        drained()
    }

    /// What tshark must find: the length of the frame, the VLAN, the port, and the beginning of the comment.
    fn expected(&self) -> Result<Vec<[String; 4]>> {
        let has_reasons = kernel::reason("NO_SOCKET")? != Known::NoReasons;
        let comment = |reason: &str| if has_reasons { format!("{reason} at ") } else { String::new() };
        let rows = self.frames.iter().zip([("NO_SOCKET", ""), ("NO_SOCKET", ""), ("NETFILTER_DROP", "5")]);
        let row = |((times, frame), (reason, vlan)): (&(usize, Vec<u8>), (&str, &str))| {
            let row = [frame.len().to_string(), vlan.to_owned(), "9".to_owned(), comment(reason)];
            vec![row; *times]
        };
        Ok(rows.flat_map(row).collect())
    }

    /// The rows that tshark finds in a capture on the host's interface.
    fn found(&self, capture: &str) -> Result<Vec<[String; 4]>> {
        let fields = ["frame.len", "vlan.id", "udp.dstport", "frame.comment", "frame.interface_name"];
        let rows = tshark(capture, &fields)?;
        let own = format!("host0@{}", self.netns);
        Ok(rows
            .into_iter()
            .filter(|row| row[4] == own)
            .map(|[len, vlan, port, text, _]| [len, vlan, port, text])
            .collect())
    }

    /// Fails unless a capture has the packets that were sent, and no others on the host's interface.
    fn check(&self, capture: &str) -> Result<()> {
        let (found, expected) = (self.found(capture)?, self.expected()?);
        let agree = |(found, wanted): (&[String; 4], &[String; 4])| {
            found[..3] == wanted[..3] && found[3].starts_with(&wanted[3]) && found[3].contains(" at ")
        };
        let is_right = found.len() == expected.len() && found.iter().zip(&expected).all(agree);
        ensure!(is_right, "{capture}: {found:#?}, not {expected:#?}");
        Ok(())
    }
}

/// The fields of each packet, as tshark reads them.
fn tshark<const N: usize>(capture: &str, fields: &[&str; N]) -> Result<Vec<[String; N]>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", capture, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().map_err(|error| Unable(format!("cannot start tshark: {error}")))?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let row =
        |line: &str| -> Option<[String; N]> { line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().ok() };
    String::from_utf8(output.stdout)?.lines().map(|line| row(line).context("another number of fields")).collect()
}

/// `--write` of `trace`, to a file and to stdout, and a capture by the name of its file, compressed.
fn a_capture_has_each_packet() -> Result<()> {
    let (stage, folder) = (Stage::new()?, Folder::new("captures")?);
    let [file, by_name] = ["drops.pcapng", "named.pcapng.zst"].map(|name| folder.path(name));
    let piped = folder.path("piped");
    let to_file = Droptrace::start(&["trace", "--all", "--netns", &stage.netns, "--write", &file])?;
    let named = Droptrace::start(&["trace", "--all", "--netns", &stage.netns, "-o", &by_name])?;
    let mut to_stdout = command(&["trace", "--all", "--netns", &stage.netns, "-w", "-"])?;
    let mut to_stdout = Droptrace::spawn(to_stdout.stdout(File::create(&piped)?))?;
    to_stdout.await_attached()?;
    stage.send()?;
    for run in [to_file, named, to_stdout] {
        let finished = run.finish()?;
        ensure!(finished.stdout.is_empty(), "{}", finished.stdout);
    }
    [&file, &by_name, &piped].into_iter().try_for_each(|capture| stage.check(capture))?;
    // tcpdump wants one type of link.
    let output = Command::new("tcpdump").args(["-nr", &file, "udp port 9 and ip6"]).output();
    let output = output.map_err(|error| Unable(format!("cannot start tcpdump: {error}")))?;
    let lines = String::from_utf8(output.stdout)?.lines().count();
    ensure!(lines == SIX, "tcpdump shows {lines} packets: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// `--write` of `replay`.
fn a_capture_of_a_recording_is_the_same() -> Result<()> {
    let (stage, folder) = (Stage::new()?, Folder::new("replayed-captures")?);
    let recordings = ["drops.dtr", "drops.jsonl"].map(|name| folder.path(name));
    let [blocks, lines] = &recordings;
    let runs = [
        Droptrace::start(&["trace", "--all", "--netns", &stage.netns, "-o", blocks])?,
        Droptrace::start(&["trace", "--raw", "--netns", &stage.netns, "-o", lines])?,
    ];
    stage.send()?;
    for run in runs {
        run.finish()?;
    }
    for recording in &recordings {
        let capture = format!("{recording}.pcapng");
        let replayed = Droptrace::spawn(&mut command(&["replay", recording, "--write", &capture])?)?.wait()?;
        ensure!(replayed.status.success() && replayed.stderr.is_empty(), "{}", replayed.stderr);
        stage.check(&capture)?;
    }
    Ok(())
}

/// A packet that this host sends has no link header yet where the firewall refuses it.
fn packets_without_a_link_header_are_bare_ip() -> Result<()> {
    let (wire, folder) = (Wire::new()?, Folder::new("bare-captures")?);
    wire.host.probe(
        "nft add table ip t
         nft 'add chain ip t c { type filter hook output priority 0; policy accept; }'
         nft add rule ip t c udp dport 7 drop",
    )?;
    let (netns, file) = (wire.host.inum().to_string(), folder.path("drops.pcapng"));
    let droptrace = Droptrace::start(&["trace", "--all", "--netns", &netns, "-w", &file])?;
    let socket = wire.udp(1000)?;
    for _ in 0..PLAIN {
        _ = socket.send_to(b"droptrace", ("10.0.0.1", 7));
    }
    drained()?;
    droptrace.finish()?;
    let rows = tshark(&file, &["udp.dstport", "ip.dst", "frame.protocols", "frame.comment"])?;
    let own: Vec<_> = rows.iter().filter(|row| row[0] == "7" && row[1] == "10.0.0.1").collect();
    let is_bare = |row: &&[String; 4]| row[2].starts_with("raw:ip:udp") && row[3].contains(" at ");
    ensure!(own.len() == PLAIN && own.iter().all(is_bare), "not {PLAIN} packets of bare IP: {rows:#?}");
    Ok(())
}
