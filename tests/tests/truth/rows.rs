//! Facts that `stat` shows of many packets.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Drops, Droptrace, Stat};
use tests::frame::{TRANSPORT4, ethernet, patched};
use tests::kernel::Known;
use tests::netns::Netns;
use tests::tcp::{self, Peer};
use tests::trials::{Unable, trial_as_root};
use tests::tun::{Kind, Tun};
use tests::wire::Wire;
use tests::witness::Witness;
use tests::{cpus, eventually, kernel, on_cpu, pace, pause};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_namespace_number_that_is_used_again", a_namespace_number_that_is_used_again),
        trial_as_root("an_interface_that_is_renamed", an_interface_that_is_renamed),
        trial_as_root("an_interface_that_is_renamed_without_room", an_interface_that_is_renamed_without_room),
        trial_as_root("drops_whose_namespace_is_unknown", drops_whose_namespace_is_unknown),
        trial_as_root("segments_pruned_from_a_tree", segments_pruned_from_a_tree),
        trial_as_root("a_device_that_comes_up", a_device_that_comes_up),
        trial_as_root("namespaces_and_interfaces_come_and_go", namespaces_and_interfaces_come_and_go),
    ]
}

/// The first reading of the kernel's counts comes at once, the next one a second later. Names are kept from one reading to the
/// next, so that an interface must be renamed in between.
const AFTER_FIRST_READING: Duration = Duration::from_millis(200);

/// Two processors have slots of their own for keys, but there is room for fewer names than keys: no row has the name of
/// another time.
fn an_interface_that_is_renamed_without_room() -> Result<()> {
    let processors = cpus()?;
    let [first, second] = processors[..2] else { return Err(Unable("a single processor".to_owned()).into()) };
    let host = Netns::new()?;
    let tap = Tun::create(&host, "before", Kind::Tap)?;
    let frames = |cpu, mut kinds: std::ops::Range<u16>| {
        on_cpu(cpu, || kinds.try_for_each(|kind| Ok::<_, anyhow::Error>(tap.write(&ethernet(kind, &[0; 46]))?)))?;
        drained()
    };
    host.command("ip link set before up")?;
    let inum = host.inum().to_string();
    let stat = Stat::during(&["--netns", &inum, "--map-entries", "2", "--by", "interface,protocol"], || {
        pause(AFTER_FIRST_READING);
        frames(first, 0x5000..0x5001)?;
        host.commands("ip link set before down\nip link set before name after\nip link set after up")?;
        frames(first, 0x5001..0x5011)?;
        frames(second, 0x5011..0x5021)
    })?;
    for row in stat.drops()? {
        let right = if row.protocol.as_deref() == Some("0x5000") { "before" } else { "after" };
        ensure!(row.interface.as_deref().is_none_or(|name| name == right), "{:#?}", stat.drops());
    }
    let packets = stat.drops()?.iter().map(|row| row.packets).sum::<u64>() + stat.ledger("overflow")?;
    ensure!(packets == 33, "{packets} of 33 drops: {:#?}", stat.drops());
    Ok(())
}

/// Drops so many datagrams in a namespace, at a port without a listener.
fn to_nobody(host: &Netns, count: u64) -> Result<()> {
    let socket = host.run(|| Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    for _ in 0..count {
        // The kernel reports the refusal by the next call.
        _ = socket.send_to(b"droptrace", (Ipv4Addr::LOCALHOST, 9));
    }
    eventually("the drops", || Ok(Witness::Snmp("Udp", "NoPorts").read(host)? >= count))
}

/// Namespaces one after another, until the kernel gives the number `inum` again.
fn namespace_with(inum: u32, name: &str) -> Result<Netns> {
    for _ in 0..500 {
        let host = Netns::named(name)?;
        if host.inum() == inum {
            return Ok(host);
        }
        pause(Duration::from_millis(20));
    }
    Err(Unable(format!("the kernel did not use the number {inum} again")).into())
}

fn a_namespace_number_that_is_used_again() -> Result<()> {
    let (first_name, second_name) =
        (format!("dt-first-{}", std::process::id()), format!("dt-second-{}", std::process::id()));
    let droptrace = Droptrace::start(&["stat", "--format", "json", "--top", "0"])?;
    let first = Netns::named(&first_name)?;
    first.command("ip link set lo up")?;
    to_nobody(&first, 10)?;
    let inum = first.inum();
    drop(first);
    let second = namespace_with(inum, &second_name)?;
    second.command("ip link set lo up")?;
    to_nobody(&second, 5)?;
    let stat = Stat::parse_with_losses(&droptrace.finish()?.stdout)?;
    let rows = stat.0["drops"].as_array().context("no drops")?;
    let reason = kernel::reason("NO_SOCKET")?.shown();
    let own = rows.iter().filter(|row| row["netns"] == inum && row["reason"].as_str() == reason);
    let mut reported: Vec<_> = own.map(|row| (row["packets"].as_u64(), row["netns_name"].as_str())).collect();
    reported.sort_unstable();
    let has_cookies = rows.iter().any(|row| !row["netns_cookie"].is_null());
    if has_cookies {
        let expected = [(Some(5), Some(&*second_name)), (Some(10), Some(&*first_name))];
        ensure!(reported == expected, "{reported:?}, not {expected:?}");
    } else {
        // Before 5.12 the two cannot be distinguished.
        ensure!(reported.iter().filter_map(|(packets, _)| *packets).sum::<u64>() == 15, "{reported:?}");
    }
    Ok(())
}

fn an_interface_that_is_renamed() -> Result<()> {
    const REASON: &str = "UNHANDLED_PROTO";
    let wire = Wire::new()?;
    let inum = wire.host.inum().to_string();
    let stat = Stat::during(&["--netns", &inum, "--top", "0"], || {
        pause(AFTER_FIRST_READING);
        wire.repeat(10, &ethernet(0x5000, &[0; 46]))?;
        drained()?;
        wire.host.commands("ip link set host0 down\nip link set host0 name lan0\nip link set lan0 up")?;
        eventually("the cable", || Ok(wire.host.command("ip link show dev lan0")?.contains("state UP")))?;
        wire.repeat(3, &ethernet(0x5001, &[0; 46]))?;
        drained()
    })?;
    let rows = stat.drops_of(REASON)?;
    let of = |protocol: &str| {
        let row = rows.iter().find(|row| row.protocol.as_deref() == Some(protocol));
        row.map(|row| (row.packets, row.interface.as_deref()))
    };
    ensure!(of("0x5000") == Some((10, Some("host0"))) && of("0x5001") == Some((3, Some("lan0"))), "{rows:#?}");
    Ok(())
}

/// Datagrams that UDP drops from its receive queue have lost device, socket and route.
fn drops_whose_namespace_is_unknown() -> Result<()> {
    const SENT: u64 = 5;
    let wire = Wire::new()?;
    let inum = wire.host.inum().to_string();
    let droptrace = Droptrace::start(&["stat", "--format", "json", "--netns", &inum, "--interval", "100ms"])?;
    {
        let receiver = wire.udp(9)?;
        // Found to be bad when it is read: long enough that the checksum is left for then.
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2(tests::wire::SENDER_MAC, tests::wire::HOST_MAC)
            .ipv4(tests::wire::SENDER.octets(), tests::wire::HOST.octets(), 64)
            .udp(40000, 9)
            .write(&mut frame, &[0; 400])?;
        let broken = patched(frame.clone(), TRANSPORT4 + 6, &[0x12, 0x34]);
        wire.repeat(SENT, &broken)?;
        drained()?;
        receiver.set_nonblocking(true)?;
        ensure!(receiver.recv(&mut [0; 1000]).is_err(), "a broken datagram was received");
        // Dropped unread, when the socket is closed.
        wire.repeat(SENT, &frame)?;
        drained()?;
    }
    let broken = Witness::Snmp("Udp", "InCsumErrors").read(&wire.host)?;
    ensure!(broken == SENT, "the kernel counts {broken} broken datagrams");
    // The kernel takes the closed socket apart some time later.
    droptrace.await_printed("the drops", |text| {
        let last = text.lines().last().unwrap_or_default();
        let Ok(stat) = Stat::parse_with_losses(last) else { return Ok(false) };
        let is_own = |row: &&Drops| row.netns == u64::from(wire.host.inum());
        let named: u64 = stat.drops()?.iter().filter(is_own).map(|row| row.packets).sum();
        Ok(named + stat.ledger("unknown_netns")? >= 2 * SENT)
    })
}

/// The reason of segments that TCP removes from its queue of segments out of order.
pub(super) const PRUNED: &str = "TCP_OFO_QUEUE_PRUNE";

/// An error if this kernel does not distinguish [`PRUNED`] from other reasons.
pub(super) fn can_be_pruned() -> Result<()> {
    if kernel::reason(PRUNED)? == Known::NoReasons {
        return Err(Unable("this kernel does not distinguish them from others".to_owned()).into());
    }
    Ok(())
}

/// Links of a tree stand where the device was.
fn segments_pruned_from_a_tree() -> Result<()> {
    can_be_pruned()?;
    let droptrace = Droptrace::start(&["stat", "--format", "json", "--top", "0"])?;
    let wire = prune_a_tree()?;
    let stat = Stat::parse(&droptrace.finish()?.stdout)?;
    let ifindex = wire.host.ifindex("host0")?;
    let rows = stat.drops_of(PRUNED)?;
    ensure!(!rows.is_empty(), "nothing was pruned");
    let is_made_up = |row: &&Drops| {
        ![0, u64::from(ifindex)].contains(&row.ifindex) || ![0, u64::from(wire.host.inum())].contains(&row.netns)
    };
    let made_up: Vec<_> = rows.iter().filter(is_made_up).collect();
    ensure!(made_up.is_empty(), "{made_up:#?}");
    Ok(())
}

/// Fills the queue of segments out of order of a connection until its segments are dropped.
pub(super) fn prune_a_tree() -> Result<Wire> {
    let wire = Wire::new()?;
    let _listener = tcp::listener_with(&wire.host, 5, |socket| {
        Ok(rustix::net::sockopt::set_socket_recv_buffer_size(socket, 32768)?)
    })?;
    let peer = Peer::connect(&wire, 41000)?;
    let start = peer.next;
    let at = |distance: u32, payload: &[u8]| {
        peer.segment(payload, |header| header.sequence_number = start.wrapping_add(distance))
    };
    let last = peer.window.saturating_sub(150) / 200;
    // A hole before each segment, and then segments into the holes.
    (1..last).try_for_each(|it| wire.send(&at(200 * it, &[0; 50])?))?;
    drained()?;
    (1..last).step_by(3).try_for_each(|it| wire.send(&at(200 * it - 100, &[0; 50])?))?;
    drained()?;
    Ok(wire)
}

/// The kernel tries out an empty buffer for each queue (`napi_get_frags_check`, `net/core/gro.c`).
fn a_device_that_comes_up() -> Result<()> {
    let wire = Wire::new()?;
    wire.host.probe("ethtool -K host0 gro on\nip link set host0 down")?;
    let inum = wire.host.inum().to_string();
    let stat = Stat::during(&["--netns", &inum], || {
        wire.host.command("ip link set host0 up")?;
        eventually("the cable", || Ok(wire.host.command("ip link show dev host0")?.contains("state UP")))
    })?;
    let rows = stat.0["drops"].as_array().context("no drops")?;
    let empty: Vec<&Value> = rows.iter().filter(|row| row["bytes"] == 0).collect();
    ensure!(empty.is_empty(), "{empty:#?}");
    Ok(())
}

/// Far more keys than the kernel program has room for, but never at a time: it is emptied each second.
fn namespaces_and_interfaces_come_and_go() -> Result<()> {
    const NAMESPACES: u64 = 50;
    const KINDS: u16 = 8;
    // For the keys of more than two seconds, whatever their slots of the cache take.
    const ROOM: &str = "1024";
    let rounds = if pace::slowness() > 2.0 { 5 } else { 50 };
    let droptrace = Droptrace::start(&["stat", "--format", "json", "--top", "0", "--map-entries", ROOM])?;
    for _ in 0..rounds {
        for _ in 0..NAMESPACES {
            let host = Netns::new()?;
            let tap = Tun::create(&host, "come-and-go", Kind::Tap)?;
            host.command("ip link set come-and-go up")?;
            (0..KINDS).try_for_each(|kind| Ok::<_, anyhow::Error>(tap.write(&ethernet(0x5000 + kind, &[0; 46]))?))?;
            tap.leave()?;
        }
        pause(Duration::from_millis(1100));
    }
    let stat = Stat::parse_with_losses(&droptrace.finish()?.stdout)?;
    let rows = stat.drops_of("UNHANDLED_PROTO")?;
    let own = || rows.iter().filter(|row| row.interface.as_deref() == Some("come-and-go"));
    let (keys, packets) = (own().count() as u64, own().map(|row| row.packets).sum::<u64>());
    let (sent, overflow) = (rounds * NAMESPACES * u64::from(KINDS), stat.ledger("overflow")?);
    ensure!(packets == sent && overflow == 0, "{packets} of {sent} drops, {overflow} without room");
    // Without cookies, a namespace that gets the number of another one shares its rows.
    let has_cookies =
        stat.0["drops"].as_array().is_some_and(|rows| rows.iter().any(|row| !row["netns_cookie"].is_null()));
    ensure!(!has_cookies || keys == sent, "{keys} keys, not {sent}");
    Ok(())
}
