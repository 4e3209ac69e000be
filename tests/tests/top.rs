//! `droptrace top` on a real terminal: rows with exact counts, keys, and a terminal that is as before.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use tests::case::drained;
use tests::droptrace::Droptrace;
use tests::eventually;
use tests::folder::Folder;
use tests::monitor;
use tests::netns::Netns;
use tests::pty::Terminal;
use tests::trials::{self, trial_as_root};
use tests::wire::udp;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);
const CLEARED: &str = "\x1b[2J";
const XTERM: &str = "xterm-256color";

fn main() -> ExitCode {
    trials::run(vec![
        trial_as_root("row_has_its_exact_count", row_has_its_exact_count),
        trial_as_root("row_is_opened", row_is_opened),
        trial_as_root("rows_are_filtered_and_sizes_change", rows_are_filtered_and_sizes_change),
        trial_as_root("small_screen_takes_few_keys", small_screen_takes_few_keys),
        trial_as_root("terminal_without_arguments_has_the_screen", terminal_without_arguments_has_the_screen),
        trial_as_root("terminal_is_restored_after_each_end", terminal_is_restored_after_each_end),
        trial_as_root("terminal_is_restored_while_suspended", terminal_is_restored_while_suspended),
        trial_as_root("terminal_that_goes_ends_the_run", terminal_that_goes_ends_the_run),
        trial_as_root("without_a_screen_stat_is_shown", without_a_screen_stat_is_shown),
        trial_as_root("drops_are_selected", drops_are_selected),
        trial_as_root("screen_is_as_asked", screen_is_as_asked),
        trial_as_root("backends_are_chosen", backends_are_chosen),
        trial_as_root("rows_are_bounded", rows_are_bounded),
        trial_as_root("keys_are_bounded", keys_are_bounded),
    ])
}

/// A host of its own.
struct Host {
    netns: Netns,
    inum: String,
}

impl Host {
    fn new() -> Result<Self> {
        let netns = Netns::new()?;
        netns.command("ip link set lo up")?;
        let inum = netns.inum().to_string();
        Ok(Self { netns, inum })
    }

    /// Sends 3 packets of UDP and 9 of TCP to ports without a listener.
    fn drops(&self) -> Result<()> {
        let socket = udp(&self.netns, (Ipv4Addr::LOCALHOST, 0).into())?;
        for _ in 0..3 {
            // The kernel reports the refusal by the next call.
            _ = socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
        }
        self.netns.run(|| {
            // Refused, each.
            (0..9).for_each(|_| drop(TcpStream::connect((Ipv4Addr::LOCALHOST, 9))));
            Ok(())
        })?;
        drained()
    }

    /// Starts `top` for this host alone, and waits for its screen.
    fn top(&self, options: &[&str]) -> Result<Terminal> {
        let arguments = [&["top", "--netns", &self.inum, "--interval", "200ms"], options].concat();
        let terminal = Terminal::start(&arguments, SMALL, XTERM)?;
        terminal.await_screen("the screen", |lines| has(lines, "drops "))?;
        Ok(terminal)
    }
}

fn has(lines: &[String], words: &str) -> bool {
    lines.iter().any(|line| line.contains(words))
}

/// The counts of the rows of a function.
fn count(lines: &[String], function: &str) -> Vec<String> {
    let rows = lines.iter().filter(|line| line.contains(function) && line.contains('%'));
    // The trend may be empty, or have blanks.
    rows.filter_map(|line| line.split_whitespace().take_while(|word| !word.contains('%')).last().map(str::to_owned))
        .collect()
}

/// What a program last put on the clipboard of its terminal.
fn clipboard(written: &str) -> Result<String> {
    let (_, last) = written.rsplit_once("\x1b]52;c;").context("nothing was put on the clipboard")?;
    let (text, _) = last.split_once("\x1b\\").context("no end of the clipboard's text")?;
    Ok(String::from_utf8(BASE64_STANDARD.decode(text)?)?)
}

fn quit(terminal: Terminal) -> Result<String> {
    terminal.press("q")?;
    let (finished, last, is_restored) = terminal.end()?;
    ensure!(finished.status.success() && is_restored, "{finished:?} {last}");
    Ok(last)
}

fn row_has_its_exact_count() -> Result<()> {
    let host = Host::new()?;
    let terminal = host.top(&[])?;
    ensure!(terminal.written().contains("\x1b[?1049h"));
    for round in 1..=3_u32 {
        host.drops()?;
        let is_there = |lines: &[String]| {
            count(lines, "tcp_v4_rcv") == [(9 * round).to_string()] && count(lines, "udp") == [(3 * round).to_string()]
        };
        terminal.await_screen("exact counts", is_there)?;
    }
    let lines = terminal.screen()?;
    ensure!(lines[0].contains("tp_btf") && lines[1].starts_with("36 drops"), "{lines:?}");
    ensure!(has(&lines, "36 accounted") && has(&lines, "nothing"), "{lines:?}");
    terminal.await_screen("rows without new drops", |lines| has(lines, "      0 ") && has(lines, "0/s"))?;
    let last = quit(terminal)?;
    ensure!(
        last.contains("Packets dropped on") && last.contains("36 accounted") && last.contains("tcp_v4_rcv"),
        "{last}"
    );
    Ok(())
}

fn row_is_opened() -> Result<()> {
    let host = Host::new()?;
    let resident = host.netns.resident()?;
    let terminal = host.top(&[])?;
    host.drops()?;
    terminal.await_screen("the row", |lines| count(lines, "tcp_v4_rcv") == ["9"])?;
    // By total, the nine packets of TCP are the first row.
    terminal.press("s\r")?;
    terminal.resize(LARGE)?;
    let lines = terminal.await_screen("the page", |lines| has(lines, "NO_SOCKET (core)"))?;
    let command = format!("droptrace trace --netns {} 'reason NO_SOCKET and site tcp_v4_rcv'", host.inum);
    ensure!(has(&lines, &command), "{lines:?}");
    ensure!(has(&lines, "TCP 127.0.0.1:") && has(&lines, "> 127.0.0.1:9 [S]"), "{lines:?}");
    // The commands of the explanation have the values of the row and of its packet.
    let inside = format!("nsenter -t {} -n ss -ltnp sport = :9", resident.pid());
    terminal.press("\x1b[6~")?;
    terminal.await_screen("the commands", |lines| has(lines, &inside))?;
    terminal.press("\x1b")?;
    terminal.await_screen("the rows", |lines| has(lines, "DROPS/S"))?;
    terminal.press("w")?;
    terminal.await_screen("the command for a file", |lines| {
        has(lines, "droptrace trace -w no_socket.pcapng --count 1000")
    })?;
    let clipboard = clipboard(&terminal.written())?;
    ensure!(clipboard.starts_with("droptrace trace -w no_socket.pcapng --count 1000 "), "{clipboard}");
    ensure!(!clipboard.contains('\n'), "{clipboard}");
    terminal.press("?")?;
    terminal.await_screen("the keys", |lines| has(lines, "PgUp PgDn, Home End"))?;
    quit(terminal).map(drop)
}

fn rows_are_filtered_and_sizes_change() -> Result<()> {
    let host = Host::new()?;
    let terminal = host.top(&[])?;
    host.drops()?;
    terminal.await_screen("the rows", |lines| has(lines, "12 drops"))?;
    terminal.press("/site tcp_*\r")?;
    let lines = terminal.await_screen("the filter", |lines| has(lines, "left out by the filter"))?;
    ensure!(count(&lines, "left out") == ["3"] && count(&lines, "udp").is_empty(), "{lines:?}");
    ensure!(count(&lines, "tcp_v4_rcv") == ["9"] && has(&lines, "12 drops"), "{lines:?}");
    terminal.press("/\x15reason NO_SOCKT\r")?;
    terminal.await_screen("what is wrong", |lines| has(lines, "unknown drop reason"))?;
    terminal.press("\x15tcp\r")?;
    terminal.await_screen("the way out", |lines| has(lines, "droptrace top 'tcp'"))?;
    for size in [LARGE, (20, 5), (100, 30), SMALL] {
        terminal.resize(size)?;
        let is_drawn = |lines: &[String]| has(lines, "droptrace top 'tcp'") || has(lines, "too small:");
        let lines = terminal.await_screen("the new size", is_drawn)?;
        ensure!(lines.len() == usize::from(size.1));
    }
    // A key that ends the run ends it also while a filter is typed.
    terminal.press("\x03")?;
    let (finished, last, is_restored) = terminal.end()?;
    ensure!(finished.status.success() && is_restored && last.contains("12 accounted"), "{finished:?} {last}");
    Ok(())
}

/// Nobody sees what a key does there: neither does a key.
fn small_screen_takes_few_keys() -> Result<()> {
    let host = Host::new()?;
    let terminal = host.top(&[])?;
    host.drops()?;
    terminal.await_screen("the rows", |lines| has(lines, "12 drops"))?;
    terminal.resize((20, 5))?;
    terminal.await_screen("no rows", |lines| has(lines, "too small:"))?;
    // The last key clears the screen, so that all of them were taken when it is clear.
    let cleared = || terminal.written().matches(CLEARED).count();
    let before = cleared();
    terminal.press("sx/usual\r\x0c")?;
    eventually("the keys to be taken", || Ok(cleared() > before))?;
    terminal.resize(LARGE)?;
    let lines = terminal.await_screen("the rows", |lines| has(lines, "12 drops"))?;
    ensure!(has(&lines, "by rate") && !has(&lines, "usual hidden") && !has(&lines, "filter:"), "{lines:?}");
    terminal.resize((20, 5))?;
    terminal.await_screen("no rows", |lines| has(lines, "too small:"))?;
    quit(terminal).map(drop)
}

fn terminal_without_arguments_has_the_screen() -> Result<()> {
    let terminal = Terminal::start(&[], LARGE, XTERM)?;
    terminal.await_screen("the screen", |lines| lines[0].starts_with("droptrace top"))?;
    quit(terminal)?;
    let dumb = Terminal::start(&[], LARGE, "dumb")?;
    eventually("a table", || Ok(dumb.written().contains("ledger:")))?;
    dumb.signal(Signal::INT)?;
    let (finished, text, _) = dumb.end()?;
    ensure!(finished.status.success() && !text.contains("droptrace top"), "{finished:?} {text}");
    Ok(())
}

fn terminal_is_restored_after_each_end() -> Result<()> {
    let host = Host::new()?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let terminal = host.top(&[])?;
        terminal.signal(signal)?;
        let (finished, last, is_restored) = terminal.end()?;
        ensure!(
            finished.status.success() && is_restored && last.contains("ledger:"),
            "{signal:?}: {finished:?} {last}"
        );
        ensure!(last.contains("No packet was dropped"), "{signal:?}: {last}");
    }
    Ok(())
}

fn terminal_is_restored_while_suspended() -> Result<()> {
    let host = Host::new()?;
    let terminal = host.top(&[])?;
    let status = format!("/proc/{}/stat", terminal.pid());
    let is_stopped = || Ok::<_, anyhow::Error>(fs::read_to_string(&status)?.contains(") T "));
    for key in [true, false] {
        if key {
            terminal.press("\x1a")?;
        } else {
            terminal.signal(Signal::TSTP)?;
        }
        eventually("droptrace to stop", || Ok(is_stopped()? && terminal.is_restored()?))?;
        host.drops()?;
        terminal.signal(Signal::CONT)?;
        eventually("droptrace to go on", || Ok(!is_stopped()? && !terminal.is_restored()?))?;
        let drops = if key { "12 drops" } else { "24 drops" };
        terminal.await_screen("the drops of the meantime", |lines| has(lines, drops))?;
    }
    quit(terminal).map(drop)
}

fn terminal_that_goes_ends_the_run() -> Result<()> {
    let host = Host::new()?;
    let finished = host.top(&[])?.close().wait()?;
    // There is no terminal for the table.
    ensure!(finished.status.code() == Some(1) && !finished.stderr.contains("panicked"), "{finished:?}");
    Ok(())
}

fn without_a_screen_stat_is_shown() -> Result<()> {
    let host = Host::new()?;
    let arguments = ["top", "--netns", &host.inum];
    let droptrace = Droptrace::start(&arguments)?;
    host.drops()?;
    let finished = droptrace.finish()?;
    ensure!(finished.stderr.contains("top needs a terminal: stdin is none"), "{finished:?}");
    ensure!(finished.stdout.contains("12 accounted") && !finished.stdout.contains('\x1b'), "{finished:?}");
    let dumb = Terminal::start(&arguments, SMALL, "dumb")?;
    eventually("a table", || Ok(dumb.written().contains("ledger:")))?;
    dumb.signal(Signal::INT)?;
    let (finished, text, is_restored) = dumb.end()?;
    ensure!(finished.status.success() && is_restored, "{finished:?}");
    ensure!(finished.stderr.contains("TERM names none that can show a screen"), "{finished:?}");
    ensure!(!text.contains("\x1b[H") && !text.contains("\x1b[?"), "{text:?}");
    Ok(())
}

/// The drops on the screen of a host with 12, with other options.
fn drops_with(host: &Host, options: &[&str]) -> Result<String> {
    let terminal = host.top(options)?;
    host.drops()?;
    terminal.press("q")?;
    let (finished, last, _) = terminal.end()?;
    ensure!(finished.status.success(), "{finished:?}");
    Ok(last)
}

/// `--netns`, `--interface`, `--filter`, and the words of a filter.
fn drops_are_selected() -> Result<()> {
    let (host, other) = (Host::new()?, Host::new()?);
    host.netns.command("ip link add other type veth peer name peer")?;
    let terminal = other.top(&[])?;
    host.drops()?;
    let last = quit(terminal)?;
    ensure!(last.contains(" 0 accounted"), "--netns: {last}");
    for (options, expected) in [
        (&["--interface", "lo"][..], " 12 accounted"),
        (&["--interface", "other"], " 0 accounted"),
        (&["--filter", "tcp"], " 9 accounted"),
        (&["udp", "port", "9"], " 3 accounted"),
    ] {
        let last = drops_with(&host, options)?;
        ensure!(last.contains(expected), "{options:?}: {last}");
    }
    Ok(())
}

/// `--interval`, `--by`, `--duration`, `--output`, `--color`, `--no-counters` and `--verbose`.
fn screen_is_as_asked() -> Result<()> {
    let (host, folder) = (Host::new()?, Folder::new("top")?);
    let path = folder.path("last");
    let run = |options: &[&str]| Terminal::start(&[&["top", "--netns", &host.inum], options].concat(), LARGE, XTERM);
    let terminal =
        run(&["--interval", "500ms", "--by", "protocol", "--duration", "2s", "--output", &path, "--verbose"])?;
    terminal.await_screen("the screen", |lines| has(lines, "1 MIN"))?;
    host.drops()?;
    let lines = terminal.await_screen("the row", |lines| has(lines, "ipv4"))?;
    ensure!(has(&lines, "PROTO") && !has(&lines, "REASON"), "{lines:?}");
    let (finished, last, _) = terminal.end()?;
    let written = fs::read_to_string(&path).context("no table")?;
    ensure!(
        last.trim().is_empty() && written.contains("PROTO") && written.contains("12 accounted"),
        "{last:?} {written}"
    );
    ensure!(finished.stderr.contains(" INFO ") && finished.stderr.contains("Linux"), "--verbose: {}", finished.stderr);
    let terminal = run(&["--color", "never", "--no-counters", "--interval", "200ms"])?;
    terminal.await_screen("the screen", |lines| has(lines, "24 S"))?;
    host.drops()?;
    terminal.await_screen("the row", |lines| has(lines, "NO_SOCKET"))?;
    ensure!(!terminal.written().contains("\x1b[0;33m"), "--color");
    let threads = fs::read_dir(format!("/proc/{}/task", terminal.pid()))?.count();
    quit(terminal)?;
    let terminal = run(&["--interval", "200ms"])?;
    terminal.await_screen("the screen", |lines| has(lines, "24 S"))?;
    let with_counters = fs::read_dir(format!("/proc/{}/task", terminal.pid()))?.count();
    host.drops()?;
    terminal.await_screen("the rows", |lines| has(lines, "NO_SOCKET"))?;
    ensure!(terminal.written().contains("\x1b[0;33m"), "colours");
    ensure!(
        threads < with_counters,
        "--no-counters: {threads} threads, and {with_counters} with the reader of counters"
    );
    quit(terminal).map(drop)
}

/// `--source`, `--mode` and `--net-dm-mode`.
fn backends_are_chosen() -> Result<()> {
    let alone = monitor::exclusively();
    for (options, title) in [
        (&["--source", "counters"][..], "counters, procfs"),
        (&["--mode", "raw_tracepoint"], "raw_tracepoint"),
        (&["--net-dm-mode", "summary"], "net_dm, summary"),
    ] {
        if title.starts_with("net_dm") && alone.is_err() {
            continue;
        }
        let terminal = Terminal::start(&[&["top"], options].concat(), LARGE, XTERM)?;
        terminal.await_screen(title, |lines| lines[0].contains(title))?;
        quit(terminal)?;
    }
    Ok(())
}

/// `--max-rows`.
fn rows_are_bounded() -> Result<()> {
    let host = Host::new()?;
    let terminal = host.top(&["--max-rows", "1"])?;
    host.drops()?;
    terminal.await_screen("drops without a row", |lines| has(lines, "map full") && has(lines, "12 drops"))?;
    quit(terminal).map(drop)
}

/// `--map-entries`.
fn keys_are_bounded() -> Result<()> {
    let hosts = (0..64).map(|_| Host::new()).collect::<Result<Vec<_>>>()?;
    let droptrace = Droptrace::start(&["top", "--map-entries", "1"])?;
    hosts.iter().try_for_each(Host::drops)?;
    let finished = droptrace.finish()?;
    ensure!(!finished.stdout.contains(" + 0 overflow"), "{finished:?}");
    Ok(())
}
