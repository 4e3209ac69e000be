//! The options of `stat`, `trace`, `snapshot` and `netlink watch`: sources, filters and output.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Finished, command};
use tests::folder::Folder;
use tests::monitor;
use tests::netns::Netns;
use tests::trials::{Unable, trial_as_root};
use tests::wire::udp;

use super::{last, run};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("rows_are_sorted_and_bounded", rows_are_sorted_and_bounded),
        trial_as_root("rows_are_grouped", rows_are_grouped),
        trial_as_root("readings_come_at_an_interval", readings_come_at_an_interval),
        trial_as_root("a_run_has_a_time", a_run_has_a_time),
        trial_as_root("other_namespaces_are_left_out", other_namespaces_are_left_out),
        trial_as_root("other_interfaces_are_left_out", other_interfaces_are_left_out),
        trial_as_root("other_packets_are_left_out", other_packets_are_left_out),
        trial_as_root("tables_have_colours", tables_have_colours),
        trial_as_root("a_source_is_chosen", a_source_is_chosen),
        trial_as_root("a_way_to_attach_is_chosen", a_way_to_attach_is_chosen),
        trial_as_root("rows_in_memory_are_bounded", rows_in_memory_are_bounded),
        trial_as_root("keys_in_the_kernel_are_bounded", keys_in_the_kernel_are_bounded),
        trial_as_root("alerts_have_modes", alerts_have_modes),
        trial_as_root("a_family_is_watched_as_asked", a_family_is_watched_as_asked),
    ]
}

/// A host of its own.
pub(super) struct Host {
    pub(super) netns: Netns,
    pub(super) inum: String,
}

impl Host {
    pub(super) fn new() -> Result<Self> {
        let netns = Netns::new()?;
        netns.command("ip link set lo up")?;
        let inum = netns.inum().to_string();
        Ok(Self { netns, inum })
    }

    /// Provokes more packets of TCP, and more bytes of UDP, at ports without a listener.
    pub(super) fn drops(&self) -> Result<()> {
        self.send()?;
        drained()
    }

    /// Sends the same packets, which may still be on their way.
    fn send(&self) -> Result<()> {
        let socket = udp(&self.netns, (Ipv4Addr::LOCALHOST, 0).into())?;
        for _ in 0..3 {
            // The kernel reports the refusal by the next call.
            _ = socket.send_to(&[0; 1400], (Ipv4Addr::LOCALHOST, 9));
        }
        self.netns.run(|| {
            // Refused, each.
            (0..9).for_each(|_| drop(TcpStream::connect((Ipv4Addr::LOCALHOST, 9))));
            Ok(())
        })
    }

    /// The output of a command while the drops happen.
    pub(super) fn shown(&self, arguments: &[&str]) -> Result<Finished> {
        let droptrace = Droptrace::start(arguments)?;
        self.drops()?;
        droptrace.finish()
    }

    /// The same for this host alone.
    pub(super) fn own(&self, arguments: &[&str]) -> Result<Finished> {
        self.shown(&[arguments, &["--netns", &self.inum]].concat())
    }

    /// Whether a row, or a line of `trace`, belongs to this host.
    fn has(&self, row: &Value) -> bool {
        row["netns"].as_u64().is_some_and(|netns| netns.to_string() == self.inum)
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        last(&self.own(&[arguments, &["--format", "json"]].concat())?.stdout)
    }
}

/// The packets of each row of a host: drops with an unknown namespace are shown as well, and may belong to other hosts.
fn packets(list: &Value, host: &Host) -> Vec<u64> {
    let rows = list.as_array().into_iter().flatten().filter(|row| host.has(row));
    rows.filter_map(|row| row["packets"].as_u64()).collect()
}

/// How many drops of a host `trace` shows.
fn traced(text: &str, host: &Host) -> usize {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["schema"] == "droptrace.drop.v1" && host.has(line)).count()
}

/// `--sort` and `--top` of `stat`.
fn rows_are_sorted_and_bounded() -> Result<()> {
    let host = Host::new()?;
    let (by_packets, by_bytes) = (host.json(&["stat"])?, host.json(&["stat", "--sort", "bytes"])?);
    let (by_packets, by_bytes) = (packets(&by_packets["drops"], &host), packets(&by_bytes["drops"], &host));
    ensure!(by_packets == [9, 3] && by_bytes == [3, 9], "{by_packets:?} {by_bytes:?}");
    let (one, all) = (host.own(&["stat", "--top", "1"])?.stdout, host.own(&["stat", "--top", "0"])?.stdout);
    let is_there = |text: &str| text.contains("udp");
    ensure!(!is_there(&one) && one.contains("more row") && is_there(&all), "{one} {all}");
    Ok(())
}

/// `--by` of `stat`.
fn rows_are_grouped() -> Result<()> {
    let host = Host::new()?;
    let document = host.json(&["stat", "--by", "netns,protocol"])?;
    ensure!(packets(&document["drops"], &host) == [12], "{document}");
    let row = document["drops"].as_array().into_iter().flatten().find(|row| host.has(row));
    let row = row.and_then(Value::as_object).context("no row")?;
    ensure!(row["protocol"] == "ipv4" && !row.contains_key("reason") && !row.contains_key("symbol"), "{row:?}");
    ensure!(document["by"] == serde_json::json!(["protocol", "netns"]), "{document}");
    let text = host.own(&["stat", "--by", "site,netns"])?.stdout;
    let has = |word: &str| text.contains(word);
    ensure!(has("WHERE") && has("NETNS") && has("udp") && !has("REASON") && !has("IFACE"), "{text}");
    Ok(())
}

/// `--interval` of `stat`.
fn readings_come_at_an_interval() -> Result<()> {
    let host = Host::new()?;
    let droptrace = Droptrace::start(&["stat", "--format", "json", "--interval", "10ms", "--netns", &host.inum])?;
    droptrace.await_printed("two reports", |text| Ok(text.lines().count() >= 2))?;
    droptrace.finish()?;
    let lines = host.own(&["stat", "--format", "json"])?.stdout.lines().count();
    ensure!(lines == 1, "{lines} reports without an interval");
    Ok(())
}

/// `--duration` of `stat`, `trace`, `snapshot` and `netlink watch`: without it they would not end, or later.
fn a_run_has_a_time() -> Result<()> {
    for arguments in [&["stat"][..], &["trace"], &["netlink", "watch", "nlctrl"]] {
        run(&[arguments, &["--duration", "100ms"]].concat())?;
    }
    let snapshot = last(&run(&["snapshot", "--duration", "100ms"])?.stdout)?;
    let duration = snapshot["duration_ns"].as_u64().unwrap_or_default();
    // Ten seconds are usual.
    ensure!((100_000_000..10_000_000_000).contains(&duration), "{duration} ns");
    Ok(())
}

/// `--netns` of `stat` and `trace`.
fn other_namespaces_are_left_out() -> Result<()> {
    let (host, other) = (Host::new()?, Host::new()?);
    let shown = |arguments: &[&str], netns: &str| {
        host.shown(&[arguments, &["--format", "json", "--netns", netns]].concat()).map(|it| it.stdout)
    };
    let found = [shown(&["stat"], &host.inum)?, shown(&["stat"], &other.inum)?];
    let found = [packets(&last(&found[0])?["drops"], &host), packets(&last(&found[1])?["drops"], &host)];
    ensure!(found == [vec![9, 3], vec![]], "{found:?}");
    let lines = [shown(&["trace", "--all"], &host.inum)?, shown(&["trace", "--all"], &other.inum)?];
    let lines = lines.map(|text| traced(&text, &host));
    ensure!(lines == [12, 0], "{lines:?}");
    Ok(())
}

/// `--interface` of `stat` and `trace`.
fn other_interfaces_are_left_out() -> Result<()> {
    let host = Host::new()?;
    host.netns.command("ip link add other type veth peer name peer")?;
    let found = [host.json(&["stat", "--interface", "lo"])?, host.json(&["stat", "--interface", "other"])?];
    let found = found.map(|document| packets(&document["drops"], &host));
    ensure!(found == [vec![9, 3], vec![]], "{found:?}");
    let shown = |name| host.own(&["trace", "--all", "--format", "json", "--interface", name]);
    let lines = [shown("lo")?, shown("other")?].map(|it| traced(&it.stdout, &host));
    ensure!(lines == [12, 0], "{lines:?}");
    Ok(())
}

/// `--filter` of `stat` and `trace`, with the drop monitor.
fn other_packets_are_left_out() -> Result<()> {
    let _alone = monitor::exclusively()?;
    let host = Host::new()?;
    let source = ["--source", "net-dm", "--format", "json", "--filter"];
    for (filter, expected) in [("udp dst port 9 and len > 1400", 3), ("tcp dst port 9 and not udp", 9)] {
        let stat = host.shown(&[&["stat"], &source[..], &[filter]].concat())?;
        let document: Value = serde_json::from_str(stat.stdout.trim())?;
        let ledger = &document["sources"][0]["ledger"];
        let (accounted, filtered) = (ledger["accounted"].as_u64(), ledger["filtered"].as_u64());
        ensure!(accounted == Some(expected) && filtered.is_some_and(|number| number > 0), "{filter}: {document}");
        let trace = host.shown(&[&["trace"], &source[..], &[filter]].concat())?;
        let drops = trace.stdout.lines().count() - 1;
        ensure!(drops as u64 == expected, "{filter}: {trace:?}");
    }
    Ok(())
}

/// `--color` of `stat` and `trace`.
fn tables_have_colours() -> Result<()> {
    let host = Host::new()?;
    for command in ["stat", "trace"] {
        let [always, never] = ["always", "never"].map(|color| host.own(&[command, "--color", color]));
        let (always, never) = (always?.stdout, never?.stdout);
        ensure!(always.contains('\x1b') && !never.contains('\x1b'), "{always} {never}");
    }
    Ok(())
}

/// `--source` of `stat`, `trace` and `snapshot`: the drop monitor reports drops, or droptrace names the reason why it
/// is not available.
fn a_source_is_chosen() -> Result<()> {
    let alone = monitor::exclusively();
    for arguments in [&["stat", "--format", "json"][..], &["trace", "--format", "json"], &["snapshot"]] {
        let arguments = [arguments, &["--duration", "100ms", "--source"]].concat();
        let of = |source| Droptrace::spawn(&mut command(&[&arguments[..], &[source]].concat())?)?.wait();
        let (ebpf, net_dm) = (of("ebpf")?, of("net-dm")?);
        ensure!(ebpf.status.success() && last(&ebpf.stdout)?["sources"][0]["source"] == "ebpf", "{ebpf:?}");
        let is_taken = net_dm.status.success() && last(&net_dm.stdout)?["sources"][0]["source"] == "net_dm";
        let is_known = alone.is_err() && net_dm.stderr.contains("NET_DM");
        ensure!(is_taken || is_known, "{net_dm:?}");
    }
    Ok(())
}

/// `--mode` of `stat` and `trace`.
fn a_way_to_attach_is_chosen() -> Result<()> {
    for command in ["stat", "trace"] {
        for mode in ["raw_tracepoint", "tp_btf"] {
            let arguments = [command, "--format", "json", "--duration", "100ms", "--mode", mode];
            let document = last(&run(&arguments)?.stdout)?;
            ensure!(document["sources"][0]["mode"] == mode, "{document}");
        }
    }
    Ok(())
}

fn overflow(document: &Value) -> u64 {
    document["sources"][0]["ledger"]["overflow"].as_u64().unwrap_or_default()
}

/// `--max-rows` of `stat` and `trace`.
fn rows_in_memory_are_bounded() -> Result<()> {
    let host = Host::new()?;
    for command in ["stat", "trace"] {
        let (all, one) = (host.json(&[command])?, host.json(&[command, "--max-rows", "1"])?);
        ensure!(overflow(&all) == 0 && overflow(&one) > 0, "{command}: {all} {one}");
    }
    Ok(())
}

/// `--map-entries` of `stat`, `trace` and `snapshot`.
fn keys_in_the_kernel_are_bounded() -> Result<()> {
    let hosts = (0..64).map(|_| Host::new()).collect::<Result<Vec<_>>>()?;
    for arguments in
        [&["stat", "--format", "json"][..], &["trace", "--format", "json"], &["snapshot", "--duration", "1h"]]
    {
        let droptrace = Droptrace::start(&[arguments, &["--map-entries", "1"]].concat())?;
        hosts.iter().try_for_each(Host::send)?;
        drained()?;
        let document = last(&droptrace.finish()?.stdout)?;
        ensure!(overflow(&document) > 0, "{document}");
    }
    Ok(())
}

/// `--net-dm-mode` of `trace`: summaries report no single drops.
fn alerts_have_modes() -> Result<()> {
    let _alone = monitor::exclusively();
    let of = |mode| {
        let arguments = ["trace", "--source", "net-dm", "--duration", "100ms", "--net-dm-mode", mode];
        Droptrace::spawn(&mut command(&arguments)?)?.wait()
    };
    let said = "counts only, and no single drops";
    let (packet, summary) = (of("packet")?, of("summary")?);
    ensure!(summary.stderr.contains(said) && !packet.stderr.contains(said), "{packet:?} {summary:?}");
    Ok(())
}

/// `--group`, `--count`, `--format` and `--output` of `netlink watch`: the family netdev reports new interfaces (6.3
/// and later).
fn a_family_is_watched_as_asked() -> Result<()> {
    let (host, folder) = (Netns::new()?, Folder::new("watch")?);
    let path = folder.path("out");
    let watch = |options: &[&str]| -> Result<Droptrace> {
        let line = [&["netlink", "watch", "netdev"], options].concat();
        let mut watch = host.run(|| Droptrace::spawn(&mut command(&line)?))?;
        let attached = watch.await_attached().map_err(|error| Unable(format!("no messages of netdev: {error:#}")));
        attached?;
        Ok(watch)
    };
    let json = watch(&["--group", "mgmt", "--count", "1", "--format", "json", "--output", &path])?;
    let text = watch(&["--group", "mgmt", "--count", "1"])?;
    let other = watch(&["--group", "page-pool", "--format", "json"])?;
    host.command("ip link add one type veth peer name other")?;
    let (json, text, other) = (json.wait()?.stdout, text.wait()?.stdout, other.finish()?.stdout);
    ensure!(json.is_empty() && !text.is_empty() && !text.starts_with('{'), "{json} {text}");
    ensure!(last(&fs::read_to_string(path)?)?.is_object() && other.is_empty(), "{other}");
    Ok(())
}
