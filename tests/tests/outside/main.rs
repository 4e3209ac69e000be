//! Packets that are lost without `kfree_skb`: the kernel's counters beside the drops, and no counter without a loss.

mod devices;
mod lasting;
mod namespaces;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::busy::Busy;
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat};
use tests::kernel::{self, Known};
use tests::storm::{REASON, Storm, datagrams};
use tests::tcp::{Peer, listener_at, listener_with};
use tests::trials::{self, trial_as_root};
use tests::wire::Wire;
use tests::witness::Witness;

/// Counts each SYN that a listener refuses.
const REFUSED: Witness = Witness::Netstat("TcpExt", "ListenDrops");
const REFUSED_NAME: &str = "TcpExtListenDrops";
const SYNS: u16 = 40;
const FIRST_PORT: u16 = 42_000;

fn main() -> ExitCode {
    let mut all = devices::trials();
    all.extend(lasting::trials());
    all.extend(namespaces::trials());
    all.extend([
        trial_as_root("full_accept_queue_is_outside", full_accept_queue_is_outside),
        trial_as_root("full_syn_queue_is_outside", full_syn_queue_is_outside),
        trial_as_root("text_and_trace_show_it", text_and_trace_show_it),
        trial_as_root("refused_syns_beside_drops_without_a_reason", refused_syns_beside_drops_without_a_reason),
        trial_as_root("drops_at_kfree_skb_are_not_outside", drops_at_kfree_skb_are_not_outside),
        trial_as_root("counters_are_left_out", counters_are_left_out),
        trial_as_root("namespace_that_ends_keeps_its_rise", namespace_that_ends_keeps_its_rise),
        trial_as_root("each_refusing_listener_has_its_rise", each_refusing_listener_has_its_rise),
    ]);
    trials::run(all)
}

fn refuse(wire: &Wire) -> Result<u64> {
    let before = REFUSED.read(&wire.host)?;
    for port in FIRST_PORT..FIRST_PORT + SYNS {
        wire.send(&Peer::new(port).syn(|_| ())?)?;
    }
    drained()?;
    Ok(REFUSED.read(&wire.host)? - before)
}

/// Whether the refused SYNs are outside, or, where the kernel program counts them by socket, are not.
fn has_refused(stat: &Stat, netns: u32, refused: u64) -> Result<bool> {
    let outside = stat.outside(netns)?;
    Ok(match stat.refused(netns) {
        0 => outside == [(REFUSED_NAME.to_owned(), refused)],
        counted => counted == refused && outside.is_empty(),
    })
}

fn full_accept_queue_is_outside() -> Result<()> {
    let busy = Busy::new()?;
    for arguments in [&["--netns", &busy.netns()][..], &[]] {
        let mut refused = 0;
        let stat = Stat::during(arguments, || {
            refused = refuse(&busy.wire)?;
            Ok(())
        })?;
        ensure!(refused == u64::from(SYNS), "{refused} of {SYNS} SYNs were refused");
        ensure!(has_refused(&stat, busy.wire.host.inum(), refused)?, "not {refused}: {}", stat.0);
    }
    Ok(())
}

fn full_syn_queue_is_outside() -> Result<()> {
    let wire = Wire::new()?;
    let _resident = wire.host.resident()?;
    wire.host.sysctl("net/ipv4/tcp_syncookies", "0")?;
    wire.host.sysctl("net/ipv4/tcp_max_syn_backlog", "2")?;
    let _listener = listener_with(&wire.host, 100, |_| Ok(()))?;
    let mut refused = 0;
    let stat = Stat::during(&["--netns", &wire.host.inum().to_string()], || {
        refused = refuse(&wire)?;
        Ok(())
    })?;
    ensure!(refused > 0, "no SYN was refused");
    ensure!(has_refused(&stat, wire.host.inum(), refused)?, "not {refused}: {}", stat.0);
    Ok(())
}

fn text_and_trace_show_it() -> Result<()> {
    let busy = Busy::new()?;
    let netns = busy.netns();
    let stat = Droptrace::start(&["stat", "--netns", &netns])?;
    let refused = refuse(&busy.wire)?;
    let text = stat.finish()?.stdout;
    let line = format!(
        "outside kfree_skb: {refused} {REFUSED_NAME} in netns {netns} (listener 0.0.0.0:80, pid {} {}): connection \
         attempts that a listener gave up",
        std::process::id(),
        own_name()?
    );
    let is_counted = text.contains(&format!("refused SYNs: {refused} by 0.0.0.0:80 in netns {netns} "));
    ensure!(text.contains(&line) != is_counted && !text.contains("No packet was dropped"), "{text}");
    let trace = Droptrace::start(&["trace", "--netns", &netns])?;
    let refused = refuse(&busy.wire)?;
    let text = trace.finish()?.stdout;
    ensure!(
        text.contains(&format!("outside kfree_skb: {refused} {REFUSED_NAME} in netns {netns} (listener ")),
        "{text}"
    );
    let trace = Droptrace::start(&["trace", "--netns", &netns, "--format", "json"])?;
    let refused = refuse(&busy.wire)?;
    let lines = trace.finish()?.stdout;
    let ledger: Value = serde_json::from_str(lines.lines().next_back().context("no ledger")?)?;
    let counter = &ledger["outside"]["counters"][0];
    ensure!(counter["counter"] == REFUSED_NAME && counter["outside"] == refused, "{ledger}");
    Ok(())
}

/// Segments to a connection in `TIME_WAIT` are dropped at `tcp_v4_rcv`, where most kernels give no reason: they may be those
/// that the counter counts, and must not hide the refused SYNs.
fn refused_syns_beside_drops_without_a_reason() -> Result<()> {
    let busy = Busy::new()?;
    let netns = busy.netns();
    let stat = Droptrace::start(&["stat", "--netns", &netns, "--format", "json"])?;
    let text = Droptrace::start(&["stat", "--netns", &netns])?;
    let reconciled = Droptrace::start(&["reconcile", "--netns", &netns])?;
    segments_in_time_wait(&busy.wire, SYNS + 5)?;
    let refused = refuse(&busy.wire)?;
    let stat = Stat::parse(&stat.finish()?.stdout)?;
    let counters = stat.0["outside"]["counters"].as_array().context("no counters")?;
    let counter = counters.iter().find(|it| it["counter"] == REFUSED_NAME).context("the counter did not rise")?;
    let by_socket = stat.refused(busy.wire.host.inum());
    ensure!([0, refused].contains(&by_socket), "{by_socket} of {refused} are counted by socket");
    ensure!(counter["rise"] == refused && counter["at_most_outside"] == refused - by_socket, "{counter}");
    let text = text.finish()?.stdout;
    let limit = match counter["outside"].as_u64().context("no number")? {
        0 => format!("up to {refused}"),
        outside if outside < refused => format!("at least {outside}"),
        outside => outside.to_string(),
    };
    let line = format!("outside kfree_skb: {limit} {REFUSED_NAME} in netns {netns} (listener 0.0.0.0:80, pid ");
    ensure!(text.contains(&line) == (by_socket == 0), "{line:?}, {by_socket} by socket: {text}");
    let table = reconciled.finish()?.stdout;
    let row = table.lines().find(|row| row.contains(REFUSED_NAME)).context("no row")?;
    ensure!(row.contains("outside kfree_skb") && !row.contains("agrees"), "{table}");
    Ok(())
}

/// Sends a number of segments to a connection that the host has closed, and that is in `TIME_WAIT`.
fn segments_in_time_wait(wire: &Wire, number: u16) -> Result<()> {
    const OTHER_PORT: u16 = 81;
    let listener = listener_at(&wire.host, OTHER_PORT, 8, |_| Ok(()))?;
    let mut peer = Peer::new(41_003).to(OTHER_PORT).establish(wire)?;
    drop(listener.accept()?);
    // The host's FIN takes one number.
    peer.expected = peer.expected.wrapping_add(1);
    let fin = peer.segment(b"", |header| header.fin = true)?;
    for _ in 0..number {
        wire.send(&fin)?;
    }
    drained()
}

fn drops_at_kfree_skb_are_not_outside() -> Result<()> {
    let storm = Storm::new()?;
    let _resident = storm.host.resident()?;
    let inum = storm.host.inum();
    for arguments in [&["--netns", &inum.to_string()][..], &[]] {
        let before = storm.dropped()?;
        let stat = Stat::during(arguments, || storm.send(datagrams(20_000)?))?;
        let dropped = storm.dropped()? - before;
        let counters = stat.0["outside"]["counters"].as_array().context("no counters")?;
        let is_of_storm = |counter: &&Value| counter["netns"] == inum && counter["counter"] == "UdpRcvbufErrors";
        let counter = counters.iter().find(is_of_storm).context("the counter did not rise")?;
        ensure!(counter["rise"] == dropped && counter["outside"] == 0, "the kernel dropped {dropped}: {counter}");
        if kernel::reason(REASON)? != Known::NoReasons {
            ensure!(counter["explained"] == dropped && counter["undecided"] == 0, "{counter}");
        }
        let outside = stat.outside(inum)?;
        ensure!(outside.is_empty(), "{outside:?}");
    }
    Ok(())
}

fn counters_are_left_out() -> Result<()> {
    let busy = Busy::new()?;
    let netns = busy.netns();
    let stat = Stat::during(&["--no-counters", "--netns", &netns], || refuse(&busy.wire).map(drop))?;
    ensure!(stat.0["outside"].is_null(), "{}", stat.0["outside"]);
    let trace = Droptrace::start(&["trace", "--no-counters", "--netns", &netns, "--format", "json"])?;
    refuse(&busy.wire)?;
    let lines = trace.finish()?.stdout;
    ensure!(lines.contains("droptrace.ledger.v1") && lines.contains(r#""outside":null"#), "{lines}");
    Ok(())
}

/// The last of the documents that a running `stat` printed so far.
fn latest(printed: &str) -> Option<Value> {
    serde_json::from_str(printed.lines().next_back()?).ok()
}

fn namespace_that_ends_keeps_its_rise() -> Result<()> {
    let busy = Busy::new()?;
    let inum = busy.wire.host.inum();
    let stat = Droptrace::start(&["stat", "--format", "json", "--interval", "100ms"])?;
    let refused = refuse(&busy.wire)?;
    let has_rise = |printed: &str| {
        let stat = latest(printed).map(Stat);
        Ok(stat.map(|stat| has_refused(&stat, inum, refused)).transpose()? == Some(true))
    };
    stat.await_printed("the rise", has_rise)?;
    drop(busy.resident);
    let has_ended = |printed: &str| {
        let gaps = latest(printed).map(|document| document["outside"]["gaps"].to_string());
        Ok(gaps.is_some_and(|gaps| gaps.contains(" lost the last process")))
    };
    stat.await_printed("the end of the namespace", has_ended)?;
    let last = Stat::parse(&stat.finish()?.stdout)?;
    ensure!(has_refused(&last, inum, refused)?, "not {refused}: {}", last.0);
    Ok(())
}

/// The name of this process, as the kernel has it.
fn own_name() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/self/comm")?.trim().to_owned())
}

fn each_refusing_listener_has_its_rise() -> Result<()> {
    const OTHER_PORT: u16 = 81;
    let busy = Busy::new()?;
    let other = listener_at(&busy.wire.host, OTHER_PORT, 0, |_| Ok(()))?;
    // A backlog of 0 has room for one connection.
    let to_other = |port| Peer::new(port).to(OTHER_PORT);
    to_other(41_003).establish(&busy.wire)?;
    drained()?;
    let (mut refused, mut by_other) = (0, 0);
    let stat = Stat::during(&["--netns", &busy.netns()], || {
        refused = refuse(&busy.wire)?;
        let before = REFUSED.read(&busy.wire.host)?;
        for port in FIRST_PORT..FIRST_PORT + SYNS / 4 {
            busy.wire.send(&to_other(port).syn(|_| ())?)?;
        }
        drained()?;
        by_other = REFUSED.read(&busy.wire.host)? - before;
        Ok(())
    })?;
    drop(other);
    let counter = &stat.0["outside"]["counters"][0];
    let listeners = counter["listeners"].as_array().context("no listeners")?;
    let shown: Vec<_> = listeners.iter().map(|it| [&it["port"], &it["drops"], &it["pid"]].map(Value::as_u64)).collect();
    let pid = Some(u64::from(std::process::id()));
    let expected = [[Some(80), Some(refused), pid], [Some(OTHER_PORT.into()), Some(by_other), pid]];
    ensure!(by_other > 0 && shown == expected, "{shown:?}, not {expected:?}");
    ensure!(has_refused(&stat, busy.wire.host.inum(), refused + by_other)?, "{}", stat.0);
    Ok(())
}
