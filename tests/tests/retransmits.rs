//! `--retransmits`: retransmissions of TCP against the kernel's own counter of them, and the drops that they follow against
//! the counter of the rule that drops.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use tests::droptrace::{Droptrace, Stat};
use tests::eventually;
use tests::netns::Netns;
use tests::trials::{self, trial_as_root};
use tests::wire::udp;
use tests::witness::Witness;

const CLIENT: &str = "10.77.1.1";
const SERVER: &str = "10.77.2.2:80";
/// Bytes of a transfer.
const TRANSFER: usize = 3 << 20;

fn main() -> ExitCode {
    trials::run_one_by_one(vec![
        trial_as_root("segments_dropped_on_their_way_are_followed", || transfer(Offload::Off)),
        trial_as_root("large_buffers_dropped_on_their_way_are_followed", || transfer(Offload::On)),
        trial_as_root("totals_say_which_drops_were_followed", totals),
        trial_as_root("a_lost_handshake_is_followed", lost_handshake),
        trial_as_root("lost_acknowledgements_are_not_claimed", lost_acknowledgements),
        trial_as_root("a_dropped_retransmission_is_not_its_own_cause", dropped_again),
        trial_as_root("drops_of_other_addresses_are_unknown", translated),
        trial_as_root("a_segment_that_is_too_big_is_not_without_a_drop", too_big),
    ])
}

/// A client, a router and a server, each in a namespace.
struct Path {
    client: Netns,
    router: Netns,
    server: Netns,
}

impl Path {
    fn new() -> Result<Self> {
        let path = Self { client: Netns::new()?, router: Netns::new()?, server: Netns::new()? };
        path.client.command(&format!("ip link add c0 type veth peer name r1 netns {}", path.router.path()))?;
        path.server.command(&format!("ip link add s0 type veth peer name r2 netns {}", path.router.path()))?;
        path.router.commands(
            "ip address add 10.77.1.254/24 dev r1
             ip address add 10.77.2.254/24 dev r2
             ip link set r1 up
             ip link set r2 up",
        )?;
        path.router.sysctl("net/ipv4/ip_forward", "1")?;
        for (netns, device, net, host) in [(&path.client, "c0", 1, 1), (&path.server, "s0", 2, 2)] {
            netns.command("ip link set lo up")?;
            netns.command(&format!("ip address add 10.77.{net}.{host}/24 dev {device}"))?;
            netns.command(&format!("ip link set {device} up"))?;
            netns.command(&format!("ip route add default via 10.77.{net}.254"))?;
        }
        Ok(path)
    }

    /// Adds a rule that drops what matches, where the router forwards.
    fn lose(&self, packets: &str) -> Result<()> {
        self.router.probe(&format!(
            "nft add table ip lossy
             nft 'add chain ip lossy forward {{ type filter hook forward priority 0 ; }}'
             nft 'add rule ip lossy forward {packets} counter drop'"
        ))
    }

    fn lose_nothing(&self) -> Result<()> {
        self.router.command("nft flush chain ip lossy forward").map(drop)
    }

    /// The packets that the rule dropped.
    fn lost(&self) -> Result<u64> {
        let rules = self.router.command("nft list chain ip lossy forward")?;
        let (_, rest) = rules.split_once("counter packets ").context("no counter")?;
        Ok(rest.split(' ').next().context("no number")?.parse()?)
    }

    /// `TcpRetransSegs` of the client.
    fn sent_again(&self) -> Result<u64> {
        let text = self.client.proc_net("snmp")?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (lines.next().context("no names")?, lines.next().context("no values")?);
        let at = names.split(' ').position(|name| name == "RetransSegs").context("no RetransSegs")?;
        Ok(values.split(' ').nth(at).context("no value")?.parse()?)
    }

    /// What the client could not send again: a busy machine refuses some packets, which the kernel counts as sent again, and does
    /// not report.
    fn failed(&self) -> Result<u64> {
        Witness::Netstat("TcpExt", "TCPRetransFail").read(&self.client)
    }

    /// A server that reads one connection to its end, and returns the number of bytes.
    fn serve(&self) -> Result<JoinHandle<Result<usize>>> {
        let listener = self.server.run(|| Ok(TcpListener::bind(SERVER)?))?;
        Ok(thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut bytes = Vec::new();
            Ok(stream.read_to_end(&mut bytes)?)
        }))
    }

    fn connect(&self) -> Result<TcpStream> {
        self.connect_to(SERVER)
    }

    fn connect_to(&self, address: &str) -> Result<TcpStream> {
        self.client.run(|| Ok(TcpStream::connect(address)?))
    }

    /// Sends [`TRANSFER`] bytes.
    fn transfer(&self) -> Result<()> {
        self.transfer_to(SERVER)
    }

    /// Sends them to an address that leads to the server.
    fn transfer_to(&self, address: &str) -> Result<()> {
        let server = self.serve()?;
        let mut stream = self.connect_to(address)?;
        stream.write_all(&vec![7; TRANSFER])?;
        stream.shutdown(Shutdown::Write)?;
        ensure!(joined(server)? == TRANSFER);
        Ok(())
    }
}

fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("the server panicked"))?
}

/// The retransmissions of the client and the ledger, of `trace --retransmits` while `provocation` does its work.
struct Traced {
    events: Vec<Value>,
    ledger: Value,
}

impl Traced {
    fn during(provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let droptrace = Droptrace::start(&["trace", "--retransmits", "--all", "--format", "json"])?;
        provocation()?;
        let text = droptrace.finish()?.stdout;
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let is_of_client = |line: &&Value| line["source"].as_str().is_some_and(|source| source.starts_with(CLIENT));
        let is_retransmission = |line: &&Value| line["schema"] == "droptrace.retransmission.v1";
        let all = lines.iter().filter(is_retransmission);
        let with_cause = all.clone().filter(|line| !line["after"].is_null()).count() as u64;
        let count = all.clone().count() as u64;
        let ledger = lines.last().context("no ledger")?["retransmissions"].clone();
        balanced(&ledger)?;
        ensure!(ledger["lost"] == 0 && ledger["drops_lost"] == 0, "{ledger}");
        ensure!(
            ledger["joined"] == with_cause && ledger["retransmissions"] == count,
            "{ledger}: {with_cause} of {count}"
        );
        Ok(Self { events: all.filter(is_of_client).cloned().collect(), ledger })
    }

    /// Packets on the wire.
    fn segments(&self) -> Result<u64> {
        self.events.iter().map(|event| event["segments"].as_u64().context("no segments")).sum()
    }

    fn with_cause(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(|event| !event["after"].is_null())
    }
}

fn balanced(ledger: &Value) -> Result<()> {
    let number = |field: &str| ledger[field].as_u64().with_context(|| format!("no {field} in {ledger}"));
    let decided = number("undecided")? + number("lost")?;
    ensure!(number("retransmissions")? == number("joined")? + number("unmatched")? + decided, "{ledger}");
    ensure!(ledger["pending"] == 0, "{ledger}");
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Offload {
    On,
    Off,
}

/// One of each 25 data segments, or of each five large buffers.
fn lossy(offload: Offload) -> Result<Path> {
    let path = Path::new()?;
    let one_in = match offload {
        Offload::Off => {
            path.client.probe("ethtool -K c0 tso off gso off")?;
            25
        }
        Offload::On => 5,
    };
    path.lose(&format!("tcp dport 80 meta length > 500 numgen inc mod {one_in} 3"))?;
    Ok(path)
}

fn transfer(offload: Offload) -> Result<()> {
    let path = lossy(offload)?;
    let traced = Traced::during(|| path.transfer())?;
    let (lost, sent_again) = (path.lost()?, path.sent_again()?);
    ensure!(lost > 2, "the rule dropped {lost}");
    let (segments, failed) = (traced.segments()?, path.failed()?);
    // A buffer that failed may have had several segments.
    let is_whole = segments + failed == sent_again || offload == Offload::On && failed > 0 && segments < sent_again;
    ensure!(is_whole, "{segments} and {failed} of {sent_again}: {}", traced.ledger);
    let causes = traced.with_cause().count();
    ensure!(causes > 0, "no retransmission follows one of {lost} drops: {:?}", traced.events);
    for event in traced.with_cause() {
        ensure!(event["destination"] == SERVER, "{event}");
        ensure!(event["after"]["symbol"].as_str().is_some_and(|symbol| symbol.starts_with("nf")), "{event}");
    }
    Ok(())
}

/// The number in a row.
fn number(row: &Value, field: &str) -> Result<u64> {
    row[field].as_u64().with_context(|| format!("no {field} in {row}"))
}

/// The row of a drop site.
fn row<'r>(rows: &'r [Value], symbol: &str) -> Result<&'r Value> {
    let is_of = |row: &&Value| row["symbol"].as_str().is_some_and(|found| found.starts_with(symbol));
    rows.iter().find(is_of).with_context(|| format!("no {symbol} in {rows:?}"))
}

/// All bytes arrive in the end, so that each dropped segment was sent again unless the server had it already.
fn totals() -> Result<()> {
    let path = lossy(Offload::Off)?;
    let stat = Stat::during(&["--retransmits"], || {
        path.transfer()?;
        udp(&path.client, "10.77.1.1:0".parse()?)?.send_to(b"x", "10.77.2.2:9")?;
        tests::case::drained()
    })?;
    let found = &stat.0["retransmissions"];
    balanced(&found["ledger"])?;
    let rows = found["drops"].as_array().context("no rows")?;
    for row in rows {
        let parts = number(row, "followed")? + number(row, "not_followed")? + number(row, "unknown")?;
        ensure!(number(row, "packets")? == parts, "{row}");
    }
    let (filter, lost) = (row(rows, "nf")?, path.lost()?);
    let (followed, ledger) = (number(filter, "followed")?, &found["ledger"]);
    // The client sends several packets again where one was lost; the rule drops some of those that the server has.
    let spare = number(ledger, "segments")? - number(ledger, "retransmissions")? + number(ledger, "undecided")?;
    ensure!(number(filter, "packets")? == lost && followed > 2 && lost - followed <= spare, "{found}, of {lost}");
    let datagram = row(rows, "__udp4_lib_rcv").or_else(|_| row(rows, "udp"))?;
    ensure!(number(datagram, "unknown")? >= 1 && datagram["followed"] == 0, "{datagram}");
    Ok(())
}

fn lost_handshake() -> Result<()> {
    let path = Path::new()?;
    path.lose("tcp dport 80 tcp flags syn")?;
    let traced = Traced::during(|| {
        let server = path.serve()?;
        thread::scope(|scope| {
            let connecting = scope.spawn(|| path.connect());
            eventually("a SYN to be dropped", || Ok(path.lost()? > 0))?;
            path.lose_nothing()?;
            connecting.join().map_err(|_| anyhow!("the client panicked"))?.map(drop)
        })?;
        joined(server).map(drop)
    })?;
    let [event] = &traced.events[..] else { return Err(anyhow!("{:?}", traced.events)) };
    ensure!(event["length"] == 1 && event["after"]["elapsed_ns"].as_u64() > Some(500_000_000), "{event}");
    Ok(())
}

/// The client sends again what the server has: the server drops the copies, which is not why the client sends again.
fn lost_acknowledgements() -> Result<()> {
    let path = Path::new()?;
    let traced = Traced::during(|| {
        let server = path.serve()?;
        let mut stream = path.connect()?;
        path.lose("tcp sport 80")?;
        stream.write_all(b"hello")?;
        eventually("the client to send again", || Ok(path.sent_again()? > 3))?;
        path.lose_nothing()?;
        stream.shutdown(Shutdown::Write)?;
        joined(server).map(drop)
    })?;
    let (sent_again, failed) = (path.sent_again()?, path.failed()?);
    ensure!(traced.segments()? + failed == sent_again && sent_again > 3, "{failed}, {:?}", traced.events);
    ensure!(traced.with_cause().count() == 0, "{:?}", traced.events);
    Ok(())
}

/// The segment is dropped again and again. On this path the kernel drops it before it reports that it was sent.
fn dropped_again() -> Result<()> {
    const TIMES: u64 = 4;
    let path = Path::new()?;
    let traced = Traced::during(|| {
        let server = path.serve()?;
        let mut stream = path.connect()?;
        path.lose("tcp dport 80")?;
        stream.write_all(b"hello")?;
        eventually("the segment to be dropped", || Ok(path.lost()? >= TIMES))?;
        path.lose_nothing()?;
        stream.shutdown(Shutdown::Write)?;
        joined(server).map(drop)
    })?;
    ensure!(traced.events.len() as u64 >= TIMES, "{:?}", traced.events);
    for event in &traced.events {
        let elapsed = event["after"]["elapsed_ns"].as_u64().map(Duration::from_nanos);
        ensure!(elapsed > Some(Duration::from_millis(2)), "{event}");
    }
    Ok(())
}

/// The drops have the addresses behind the translation, the retransmissions those before it.
fn translated() -> Result<()> {
    let path = lossy(Offload::Off)?;
    path.router.probe(
        "nft add table ip nat
         nft 'add chain ip nat prerouting { type nat hook prerouting priority -100 ; }'
         nft 'add rule ip nat prerouting ip daddr 10.77.1.254 tcp dport 8080 dnat to 10.77.2.2:80'",
    )?;
    let stat = Stat::during(&["--retransmits"], || path.transfer_to("10.77.1.254:8080"))?;
    let found = &stat.0["retransmissions"];
    balanced(&found["ledger"])?;
    let (filter, lost) = (row(found["drops"].as_array().context("no rows")?, "nf")?, path.lost()?);
    ensure!(number(filter, "unknown")? == lost && lost > 2, "{filter}, of {lost}");
    ensure!(filter["followed"] == 0 && filter["not_followed"] == 0, "{filter}");
    Ok(())
}

/// The router drops a segment that is too big, and says so; the client then sends it again without reading the time.
fn too_big() -> Result<()> {
    let path = Path::new()?;
    path.client.probe("ethtool -K c0 tso off gso off")?;
    path.router.command("ip link set r2 mtu 1300")?;
    let traced = Traced::during(|| path.transfer())?;
    // Later ones can have other causes.
    let first = traced.events.first().context("nothing was sent again")?;
    ensure!(!first["after"].is_null() || !first["undecided"].is_null(), "{first}");
    Ok(())
}
