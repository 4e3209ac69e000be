//! Refused SYNs: by listening socket, cause and address of the sender, against the kernel's own counter of them.

mod shown;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use etherparse::TcpHeader;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket, socket_with};
use tests::busy::Busy;
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat};
use tests::frame::{ip4, ip6};
use tests::netns::Netns;
use tests::tcp::{Peer, listener_with};
use tests::trials::{self, trial_as_root};
use tests::wire::{HOST, HOST6, Wire};
use tests::witness::Witness;

use shown::{Refused, agrees, check, counter, needed};

const LISTEN_DROPS: Witness = Witness::Netstat("TcpExt", "ListenDrops");
const PORT: u16 = 80;
/// The addresses of senders, and how many SYNs each sends.
const SENDERS: [(u8, u16); 3] = [(1, 5), (7, 11), (9, 24)];

fn main() -> ExitCode {
    trials::run_one_by_one(vec![
        trial_as_root("doctor_says_whether_refused_syns_are_counted", doctor_says_it),
        trial_as_root("full_accept_queue_refuses_by_sender", full_accept_queue),
        trial_as_root("full_accept_queue_of_ipv6_refuses_by_sender", full_accept_queue_of_ipv6),
        trial_as_root("full_syn_queue_refuses_those_without_an_answer", full_syn_queue),
        trial_as_root("syn_cookies_refuse_nobody", syn_cookies),
        trial_as_root("last_acks_of_handshakes_are_not_refused_syns", last_acks),
        trial_as_root("many_clients_at_once_are_all_counted", many_clients),
        trial_as_root("other_namespaces_are_filtered", other_namespaces),
        trial_as_root("more_senders_than_room_are_counted_by_socket", more_senders_than_room),
        trial_as_root("text_names_socket_process_cause_and_senders", text),
    ])
}

/// Without the programs the totals say that nothing is known, and the counter stays outside.
fn doctor_says_it() -> Result<()> {
    let (state, why) = check()?;
    let stat = Stat::during(&[], || Ok(()))?;
    ensure!(stat.0["refused_syns"].is_null() == (state != "good"), "{state}, {why}: {}", stat.0["refused_syns"]);
    Ok(())
}

fn rise(netns: &Netns, during: impl FnOnce() -> Result<()>) -> Result<u64> {
    let before = LISTEN_DROPS.read(netns)?;
    during()?;
    drained()?;
    Ok(LISTEN_DROPS.read(netns)? - before)
}

fn syn(port: u16) -> TcpHeader {
    let mut header = TcpHeader::new(port, PORT, 1000, 64000);
    header.syn = true;
    header
}

fn syn4(source: Ipv4Addr, port: u16) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    ip4(source, HOST, 64).tcp_header(syn(port)).write(&mut frame, &[])?;
    Ok(frame)
}

fn syn6(source: Ipv6Addr, port: u16) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    ip6(source, HOST6, 64).tcp_header(syn(port)).write(&mut frame, &[])?;
    Ok(frame)
}

fn sender4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn sender6(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into())
}

/// Sends the SYNs of all senders, each from a port of its own.
fn send(wire: &Wire, frame: impl Fn(u8, u16) -> Result<Vec<u8>>) -> Result<()> {
    for (last, number) in SENDERS {
        (0..number).try_for_each(|at| wire.send(&frame(last, 42_000 + at)?))?;
    }
    Ok(())
}

fn sent(address: impl Fn(u8) -> IpAddr) -> BTreeMap<IpAddr, u64> {
    SENDERS.into_iter().map(|(last, number)| (address(last), number.into())).collect()
}

/// Sends the SYNs of all senders; returns the rise of the counter.
fn refuse(busy: &Busy) -> Result<u64> {
    rise(&busy.wire.host, || send(&busy.wire, |last, port| syn4(sender4(last), port)))
}

fn full_accept_queue() -> Result<()> {
    needed()?;
    let busy = Busy::new()?;
    let inum = busy.wire.host.inum();
    for arguments in [&[][..], &["--netns", &inum.to_string()]] {
        let mut refused = 0;
        let stat = Stat::during(arguments, || {
            refused = refuse(&busy)?;
            Ok(())
        })?;
        let row = Refused::only(&stat, inum)?;
        ensure!(row.packets == refused && row.cause == "accept-queue", "{refused} were refused: {row:?}");
        ensure!(row.sources == sent(|last| sender4(last).into()), "{row:?}");
        ensure!(row.port == u64::from(PORT) && row.pid == Some(std::process::id().into()), "{row:?}");
        agrees(&stat, inum, refused)?;
    }
    drop(busy.listener);
    Ok(())
}

fn full_accept_queue_of_ipv6() -> Result<()> {
    needed()?;
    let wire = Wire::with_ipv6()?;
    let _resident = wire.host.resident()?;
    let _listener = wire.host.run(|| {
        let listener = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
        bind(&listener, &SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0))?;
        // A backlog of 0 has room for one connection.
        listen(&listener, 0)?;
        Ok(TcpListener::from(listener))
    })?;
    Peer::connect(&wire, 41_001)?;
    drained()?;
    let (mut of_v6, mut of_v4) = (0, 0);
    let stat = Stat::during(&[], || {
        of_v6 = rise(&wire.host, || send(&wire, |last, port| syn6(sender6(last), port)))?;
        of_v4 = rise(&wire.host, || send(&wire, |last, port| syn4(sender4(last), port)))?;
        Ok(())
    })?;
    let row = Refused::only(&stat, wire.host.inum())?;
    let mut expected = sent(|last| sender6(last).into());
    expected.extend(sent(|last| sender4(last).into()));
    ensure!(row.sources == expected && row.packets == of_v6 + of_v4, "{of_v6} and {of_v4} were refused: {row:?}");
    ensure!(row.pid == Some(std::process::id().into()), "{row:?}");
    agrees(&stat, wire.host.inum(), of_v6 + of_v4)
}

/// How many SYNs the host has answered, by sender: each has a socket in the state `SYN_RECV`.
fn answered(netns: &Netns) -> Result<BTreeMap<IpAddr, u64>> {
    let mut found = BTreeMap::new();
    for line in netns.proc_net("tcp")?.lines().skip(1) {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [_, _, remote, "03", ..] = words[..] {
            let (address, _) = remote.split_once(':').context("no port")?;
            let address = Ipv4Addr::from(u32::from_str_radix(address, 16)?.to_ne_bytes());
            *found.entry(address.into()).or_default() += 1;
        }
    }
    Ok(found)
}

/// With SYN cookies off, each sender's SYNs are either answered or refused.
fn full_syn_queue() -> Result<()> {
    needed()?;
    // The last quarter of the backlog is for known peers; beyond the backlog of the socket nobody gets in.
    for (sysctl, backlog, cause) in [("8", 100, "other"), ("256", 4, "syn-queue")] {
        let wire = Wire::new()?;
        let _resident = wire.host.resident()?;
        for (last, _) in &SENDERS[1..] {
            wire.host.command(&format!(
                "ip neighbour replace {} lladdr 02:00:00:00:00:01 dev host0 nud permanent",
                sender4(*last)
            ))?;
        }
        wire.host.sysctl("net/ipv4/tcp_syncookies", "0")?;
        wire.host.sysctl("net/ipv4/tcp_max_syn_backlog", sysctl)?;
        let _listener = listener_with(&wire.host, backlog, |_| Ok(()))?;
        let mut refused = 0;
        let mut answers = BTreeMap::new();
        let stat = Stat::during(&[], || {
            refused = rise(&wire.host, || send(&wire, |last, port| syn4(sender4(last), port)))?;
            answers = answered(&wire.host)?;
            Ok(())
        })?;
        let row = Refused::only(&stat, wire.host.inum())?;
        ensure!(row.packets == refused && row.cause == cause && !answers.is_empty(), "{refused} of {cause}: {row:?}");
        for (address, sent) in sent(|last| sender4(last).into()) {
            let of = |found: &BTreeMap<IpAddr, u64>| found.get(&address).copied().unwrap_or_default();
            ensure!(of(&row.sources) + of(&answers) == sent, "{address} sent {sent}: {row:?}, {answers:?}");
        }
        agrees(&stat, wire.host.inum(), refused)?;
    }
    Ok(())
}

/// A flood of SYNs against a short SYN queue is answered with cookies, which takes no room.
fn syn_cookies() -> Result<()> {
    needed()?;
    let wire = Wire::new()?;
    let _resident = wire.host.resident()?;
    wire.host.sysctl("net/ipv4/tcp_syncookies", "1")?;
    let _listener = listener_with(&wire.host, 4, |_| Ok(()))?;
    let cookies = Witness::Netstat("TcpExt", "SyncookiesSent");
    let before = cookies.read(&wire.host)?;
    let mut refused = 0;
    let stat = Stat::during(&[], || {
        refused = rise(&wire.host, || send(&wire, |last, port| syn4(sender4(last), port)))?;
        Ok(())
    })?;
    ensure!(cookies.read(&wire.host)? > before, "no cookie was sent");
    let rows = Refused::of(&stat, wire.host.inum())?;
    ensure!(refused == 0 && rows.is_empty(), "{refused} were refused: {rows:?}");
    Ok(())
}

/// Connections that are given up at the last ACK raise the same counter: they stay in it, and are no refused SYNs.
fn last_acks() -> Result<()> {
    needed()?;
    let wire = Wire::new()?;
    let _resident = wire.host.resident()?;
    let _listener = listener_with(&wire.host, 1, |_| Ok(()))?;
    let mut peers: Vec<_> = (41_001..41_006).map(Peer::new).collect();
    peers.iter_mut().try_for_each(|peer| peer.open(&wire))?;
    let (mut given_up, mut refused) = (0, 0);
    let stat = Stat::during(&[], || {
        let acks = || peers.iter().try_for_each(|peer| wire.send(&peer.segment(b"", |_| ())?));
        given_up = rise(&wire.host, acks)?;
        refused = rise(&wire.host, || send(&wire, |last, port| syn4(sender4(last), port)))?;
        Ok(())
    })?;
    ensure!(given_up == 3, "{given_up} of 5 connections were given up, and two have room");
    let row = Refused::only(&stat, wire.host.inum())?;
    ensure!(row.packets == refused && row.sources == sent(|last| sender4(last).into()), "{refused}: {row:?}");
    let counter = counter(&stat, wire.host.inum())?;
    let number = |name: &str| counter[name].as_u64().unwrap_or_default();
    ensure!(counter["rise"] == refused + given_up, "{counter}");
    // Whether a drop explains the last ACKs depends on the reasons that the kernel gives.
    ensure!((refused..=refused + given_up).contains(&number("explained")), "{counter}");
    ensure!(number("at_most_outside") <= given_up, "{counter}");
    Ok(())
}

/// Real clients on all processors, which send their SYNs again: each refusal is counted, by one of the processors.
fn many_clients() -> Result<()> {
    const THREADS: u16 = 4;
    const CLIENTS: u16 = 150;
    needed()?;
    let netns = Netns::new()?;
    netns.command("ip link set lo up")?;
    let _resident = netns.resident()?;
    let _listener = listener_with(&netns, 1, |_| Ok(()))?;
    // The queue has room for two, so that no other handshake begins: its last ACK would be refused too.
    let _first = netns.run(|| {
        let first = [(); 2].map(|()| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)));
        Ok(first.into_iter().collect::<io::Result<Vec<_>>>()?)
    })?;
    drained()?;
    let clients = || {
        let mut sockets = Vec::new();
        for _ in 0..CLIENTS {
            let client = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
            _ = connect(&client, &SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
            sockets.push(client);
        }
        Ok(sockets)
    };
    let stat = Droptrace::start(&["stat", "--format", "json"])?;
    let before = LISTEN_DROPS.read(&netns)?;
    let sockets = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| netns.run(clients))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client panicked")).collect::<Result<Vec<_>>>()
    })?;
    // Some SYNs are sent again.
    thread::sleep(std::time::Duration::from_millis(1_500));
    drop(sockets);
    drained()?;
    let rise = LISTEN_DROPS.read(&netns)? - before;
    let stat = Stat::parse_with_losses(&stat.finish()?.stdout)?;
    let rows = Refused::of(&stat, netns.inum())?;
    let refused: u64 = rows.iter().map(|row| row.packets).sum();
    ensure!(refused == rise && rise > u64::from(THREADS * CLIENTS), "{rise}: {rows:?}");
    agrees(&stat, netns.inum(), rise)
}

fn other_namespaces() -> Result<()> {
    needed()?;
    let (busy, other) = (Busy::new()?, Busy::new()?);
    let (mut refused, mut by_other) = (0, 0);
    let stat = Stat::during(&["--netns", &busy.wire.host.inum().to_string()], || {
        refused = refuse(&busy)?;
        by_other = refuse(&other)?;
        Ok(())
    })?;
    let row = Refused::only(&stat, busy.wire.host.inum())?;
    let filtered = stat.0["refused_syns"]["filtered"].as_u64();
    ensure!(row.packets == refused && filtered >= Some(by_other), "{row:?}, {by_other} by the other: {filtered:?}");
    ensure!(Refused::of(&stat, other.wire.host.inum())?.is_empty(), "{}", stat.0["refused_syns"]);
    agrees(&stat, busy.wire.host.inum(), refused)
}

fn more_senders_than_room() -> Result<()> {
    const MANY: u32 = 9_000;
    const ROOM: u64 = 4_096;
    needed()?;
    let busy = Busy::new()?;
    busy.wire.host.command("ip route add 10.1.0.0/16 dev host0")?;
    let first = u32::from(Ipv4Addr::new(10, 1, 0, 1));
    let mut refused = 0;
    let stat = Stat::during(&[], || {
        refused = rise(&busy.wire.host, || {
            (first..first + MANY).try_for_each(|address| busy.wire.send(&syn4(address.into(), 42_000)?))
        })?;
        Ok(())
    })?;
    let row = Refused::only(&stat, busy.wire.host.inum())?;
    ensure!(refused == u64::from(MANY) && row.packets == refused, "{refused} were refused, {} are shown", row.packets);
    let known = u64::try_from(row.sources.len())?;
    ensure!(known <= ROOM && row.of_others == refused - known, "{known} senders, {} others", row.of_others);
    agrees(&stat, busy.wire.host.inum(), refused)
}

fn text() -> Result<()> {
    needed()?;
    let busy = Busy::new()?;
    let inum = busy.wire.host.inum();
    let stat = Droptrace::start(&["stat", "--netns", &inum.to_string()])?;
    let refused = refuse(&busy)?;
    let text = stat.finish()?.stdout;
    let comm = std::fs::read_to_string("/proc/self/comm")?;
    let who = format!("pid {} {}", std::process::id(), comm.trim());
    let line = format!("refused SYNs: {refused} by 0.0.0.0:80 in netns {inum} ({who}");
    let sources = "the accept queue was full; from 10.0.0.9: 24, 10.0.0.7: 11, 10.0.0.1: 5";
    ensure!(text.contains(&line) && text.contains(sources), "not {line:?} and {sources:?}: {text}");
    ensure!(!text.contains("outside kfree_skb: ") && !text.contains("No packet was dropped"), "{text}");
    Ok(())
}
