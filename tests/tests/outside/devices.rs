//! The counters of interfaces and of their queueing disciplines.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::bpf::{self, Hook, Verdict, attached};
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat};
use tests::frame::{ethernet, udp4};
use tests::kernel::{self, Known};
use tests::netns::Netns;
use tests::packet::{ALL_PROTOCOLS, PacketSocket};
use tests::trials::trial_as_root;
use tests::wire::{SENDER, Wire};
use tests::witness::Witness;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("loss_in_a_driver_is_outside", loss_in_a_driver_is_outside),
        trial_as_root("frames_that_xdp_drops_in_a_driver_are_outside", frames_that_xdp_drops_in_a_driver_are_outside),
        trial_as_root("drops_of_a_queueing_discipline_are_explained", drops_of_a_queueing_discipline_are_explained),
    ]
}

/// An `EtherType` for experiments (IEEE 802).
const EXPERIMENTAL: u16 = 0x88b5;
/// The row of a counter in a list of counters.
fn row<'l>(list: &'l Value, counter: &str) -> Result<&'l Value> {
    let found = list.as_array().and_then(|rows| rows.iter().find(|row| row["counter"] == counter));
    found.with_context(|| format!("no {counter} in {list}"))
}

/// Packets that a test has dropped at an interface.
const PACKETS: u64 = 23;

/// An `ifb` takes only packets that were redirected to it. It counts and frees others with `dev_kfree_skb`, which no
/// tracepoint of drops shows (`ifb_xmit`, `drivers/net/ifb.c`), as the drivers of network cards do.
fn loss_in_a_driver_is_outside() -> Result<()> {
    const WITNESS: Witness = Witness::Link("ifb9", "rx", "dropped");
    let host = Netns::new()?;
    host.probe("ip link add name ifb9 type ifb")?;
    host.command("ip link set ifb9 up")?;
    let _resident = host.resident()?;
    let socket = PacketSocket::bind(&host, "ifb9", ALL_PROTOCOLS)?;
    let lose = || {
        let before = WITNESS.read(&host)?;
        (0..PACKETS).try_for_each(|_| socket.send(&ethernet(EXPERIMENTAL, &[0; 46])))?;
        drained()?;
        let lost = WITNESS.read(&host)? - before;
        ensure!(lost == PACKETS, "ip shows {lost}, not {PACKETS}");
        Ok(())
    };
    let inum = host.inum();
    for arguments in [&["--netns", &inum.to_string()][..], &[]] {
        let stat = Stat::during(arguments, lose)?;
        let outside = stat.outside(inum)?;
        ensure!(outside == [("rx_dropped".to_owned(), PACKETS)], "{outside:?}: {}", stat.0["outside"]);
        // Without an option, other tests' namespaces are read as well.
        let rows = stat.0["outside"]["counters"].as_array().context("no counters")?;
        let row = rows.iter().find(|row| row["netns"] == inum).context("no counter of this namespace")?;
        ensure!(row["interface"] == "ifb9" && row["ifindex"] == host.ifindex("ifb9")?, "{row}");
    }
    let droptrace = Droptrace::start(&["reconcile", "--format", "json", "--netns", &inum.to_string()])?;
    lose()?;
    let document: Value = serde_json::from_str(&droptrace.finish()?.stdout)?;
    let row = row(&document["counters"], "rx_dropped")?;
    ensure!(row["verdict"] == "outside" && row["outside"] == PACKETS && row["interface"] == "ifb9", "{row}");
    let droptrace = Droptrace::start(&["stat", "--netns", &inum.to_string()])?;
    lose()?;
    let text = droptrace.finish()?.stdout;
    ensure!(text.contains(&format!("outside kfree_skb: {PACKETS} rx_dropped of ifb9 in netns {inum}: ")), "{text}");
    Ok(())
}

fn drops_of_a_queueing_discipline_are_explained() -> Result<()> {
    let wire = Wire::new()?;
    wire.host.probe("tc qdisc add dev host0 root bfifo limit 1")?;
    let _resident = wire.host.resident()?;
    let (socket, inum) = (wire.udp(0)?, wire.host.inum());
    let stat = Stat::during(&["--netns", &inum.to_string()], || {
        (0..PACKETS).try_for_each(|_| socket.send_to(b"x", (SENDER, 9)).map(drop))?;
        drained()
    })?;
    let dropped = Witness::Qdisc("host0", "bfifo").read(&wire.host)?;
    ensure!(dropped == PACKETS, "tc shows {dropped}, not {PACKETS}");
    let row = row(&stat.0["outside"]["counters"], "qdisc_drops")?;
    ensure!(row["rise"] == PACKETS && row["outside"] == 0 && row["interface"] == "host0", "{row}");
    if kernel::reason("NO_SOCKET")? != Known::NoReasons {
        ensure!(row["explained"] == PACKETS, "{row}");
    }
    Ok(())
}

/// Frames that an XDP program drops in the driver, where no `sk_buff` exists, are known to `ethtool` alone. Those with an
/// `sk_buff` are drops, and are not claimed to be outside.
fn frames_that_xdp_drops_in_a_driver_are_outside() -> Result<()> {
    let wire = Wire::with_way_out()?;
    let _resident = wire.host.resident()?;
    let (host0, out0, end0) = (wire.host.ifindex("host0")?, wire.host.ifindex("out0")?, wire.host.ifindex("end0")?);
    let inum = wire.host.inum();
    let send = || {
        wire.repeat(PACKETS, &udp4(9)?)?;
        drained()
    };
    let _end = attached(&wire.host, || bpf::xdp(end0, Verdict::Drop, Hook::Native))?;
    let redirect = attached(&wire.host, || bpf::xdp_redirect(host0, out0, Hook::Native))?;
    // The program of the driver frees what it drops a moment later.
    let stat = Stat::during(&["--netns", &inum.to_string()], send)?;
    let outside = stat.outside(inum)?;
    let [(counter, lost)] = &outside[..] else { anyhow::bail!("{outside:?}: {}", stat.0["outside"]) };
    ensure!(counter.starts_with("ethtool:rx_queue_") && counter.ends_with("_drops"), "{counter}");
    ensure!(*lost == PACKETS, "{lost}, not {PACKETS}");
    let row = row(&stat.0["outside"]["counters"], counter)?;
    ensure!(row["interface"] == "end0" && row["ifindex"] == end0 && row["class"] == "partly-traceable", "{row}");
    drop(redirect);
    let _host = attached(&wire.host, || bpf::xdp(host0, Verdict::Drop, Hook::Native))?;
    let stat = Stat::during(&["--netns", &inum.to_string()], send)?;
    let row = row_of(&stat, "host0")?;
    // Without reasons it is not known that these are the drops which the counter counts.
    let has_reasons = kernel::reason("NO_SOCKET")? != Known::NoReasons;
    let certain = if has_reasons {
        row["explained"] == PACKETS && row["at_most_outside"] == 0
    } else {
        row["undecided"] == PACKETS
    };
    ensure!(row["rise"] == PACKETS && row["outside"] == 0 && certain, "{row}");
    Ok(())
}

/// The row of a driver's counter of an interface.
fn row_of<'s>(stat: &'s Stat, interface: &str) -> Result<&'s Value> {
    let is_ours = |row: &&Value| {
        row["interface"] == interface && row["counter"].as_str().is_some_and(|name| name.starts_with("ethtool:"))
    };
    let rows = stat.0["outside"]["counters"].as_array().context("no counters")?;
    rows.iter().find(is_ours).with_context(|| format!("no counter of a driver of {interface} in {rows:?}"))
}
