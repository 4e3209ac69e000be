//! Facts that `trace` shows of single packets.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::fstat;
use rustix::net::sockopt::{set_socket_recv_buffer_size, socket_recv_buffer_size};
use serde_json::{Value, json};
use tests::case::drained;
use tests::frame::{ethernet, ip4, udp, udp4};
use tests::netns::Netns;
use tests::storm::datagrams;
use tests::trace::Trace;
use tests::trials::trial_as_root;
use tests::tun::{Kind, Tun};
use tests::wire::{HOST, SENDER, Wire};
use tests::{eventually, kernel, on_one_cpu};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("a_tag_beside_the_bytes", a_tag_beside_the_bytes),
        trial_as_root("a_frame_for_us_in_an_unknown_vlan", a_frame_for_us_in_an_unknown_vlan),
        trial_as_root("a_socket_of_a_tap_has_no_inode", a_socket_of_a_tap_has_no_inode),
        trial_as_root("the_receiver_whose_buffer_is_full", the_receiver_whose_buffer_is_full),
        trial_as_root("the_sender_of_many_packets_in_one_buffer", the_sender_of_many_packets_in_one_buffer),
        trial_as_root("the_mtu_of_the_route", the_mtu_of_the_route),
        trial_as_root("a_rare_flow_beside_a_storm", a_rare_flow_beside_a_storm),
    ]
}

/// A datagram in VLAN 100.
fn tagged() -> Result<Vec<u8>> {
    let mut frame = udp4(9)?;
    frame.splice(12..12, [0x81, 0x00, 0, 100]);
    Ok(frame)
}

fn a_tag_beside_the_bytes() -> Result<()> {
    let wire = Wire::new()?;
    wire.host.probe(
        "nft add table netdev t
         nft 'add chain netdev t c { type filter hook ingress device host0 priority 0; policy accept; }'
         nft add rule netdev t c vlan id 100 drop",
    )?;
    let inum = wire.host.inum().to_string();
    let trace = Trace::during(&["--all", "--netns", &inum], || {
        wire.repeat(5, &tagged()?)?;
        drained()
    })?;
    let drops = trace.drops_of("NETFILTER_DROP")?;
    let has_tag = drops.iter().filter(|drop| drop["vlans"] == json!([100]) && drop["destination"] == "10.0.0.2:9");
    ensure!(has_tag.count() == 5 && trace.drops.len() == 5, "{:#?}", trace.drops);
    Ok(())
}

fn a_frame_for_us_in_an_unknown_vlan() -> Result<()> {
    let wire = Wire::new()?;
    let inum = wire.host.inum().to_string();
    let mut to_another = udp4(9)?;
    to_another[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    let trace = Trace::during(&["--all", "--netns", &inum], || {
        wire.repeat(3, &tagged()?)?;
        wire.repeat(4, &to_another)?;
        drained()
    })?;
    let drops = trace.drops_of("OTHERHOST")?;
    let count = |to_device: bool| drops.iter().filter(|drop| drop["to_device"] == to_device).count();
    ensure!((count(true), count(false), trace.drops.len()) == (3, 4, 7), "{:#?}", trace.drops);
    Ok(())
}

/// Where the inode of other sockets is, that of a tap device has a part of another structure.
fn a_socket_of_a_tap_has_no_inode() -> Result<()> {
    let host = Netns::new()?;
    let tap = Tun::create(&host, "tap0", Kind::Tap)?;
    host.command("ip link set tap0 up")?;
    let trace = Trace::during(&["--all", "--netns", &host.inum().to_string()], || {
        (0..5).try_for_each(|_| Ok::<_, anyhow::Error>(tap.write(&ethernet(0x5000, &[0; 46]))?))?;
        drained()
    })?;
    let is_unknown = |drop: &&Value| drop["socket"]["inode"].is_null() && drop["socket"]["uid"].is_null();
    ensure!(trace.drops.len() == 5 && trace.drops.iter().all(|drop| is_unknown(&drop)), "{:#?}", trace.drops);
    let has_socket = trace.drops.iter().all(|drop| drop["socket"]["role"] == "owner");
    ensure!(has_socket || !kernel::reports_socket()?, "{:#?}", trace.drops);
    Ok(())
}

/// The inode number of a socket, as the process that holds it sees it.
fn inode(socket: impl AsFd) -> Result<u64> {
    Ok(fstat(socket)?.st_ino)
}

fn the_receiver_whose_buffer_is_full() -> Result<()> {
    const SENT: usize = 20;
    let wire = Wire::new()?;
    let receiver = wire.udp(0)?;
    set_socket_recv_buffer_size(&receiver, 1)?;
    let (port, room) = (receiver.local_addr()?.port(), socket_recv_buffer_size(&receiver)?);
    let datagram = udp(ip4(SENDER, HOST, 64), port, &[0; 400])?;
    // Full before the first one is counted.
    wire.repeat(20, &datagram)?;
    drained()?;
    let inum = wire.host.inum().to_string();
    let trace = Trace::during(&["--all", "--netns", &inum], || {
        wire.repeat(SENT as u64, &datagram)?;
        drained()
    })?;
    let drops = trace.drops_of("SOCKET_RCVBUFF")?;
    ensure!(drops.len() == SENT && trace.drops.len() == SENT, "{:#?}", trace.drops);
    for drop in drops {
        let socket = &drop["socket"];
        if !kernel::reports_socket()? {
            // The packet belongs to no socket any more.
            ensure!(socket.is_null(), "{drop}");
            continue;
        }
        let reported = ["role", "inode", "uid", "port", "receive_buffer"].map(|field| &socket[field]);
        let expected = [json!("receiver"), inode(&receiver)?.into(), 0.into(), port.into(), room.into()];
        ensure!(reported.into_iter().eq(&expected), "{reported:?}, not {expected:?}");
        ensure!(socket["receive_queued"].as_u64() > Some(0), "an empty queue: {socket}");
        ensure!(drop["device_mtu"] == 1500, "{drop}");
    }
    Ok(())
}

/// Two hosts on one cable, both with an ordinary network stack.
fn hosts() -> Result<(Netns, Netns)> {
    let (left, right) = (Netns::new()?, Netns::new()?);
    left.probe(&format!("ip link add name eth0 type veth peer name eth0 netns {}", right.path()))?;
    for (host, address) in [(&left, "10.0.0.1/24"), (&right, "10.0.0.2/24")] {
        host.commands(&format!("ip address add {address} dev eth0\nip link set lo up\nip link set eth0 up"))?;
    }
    eventually("the cable", || Ok(left.command("ip link show dev eth0")?.contains("state UP")))?;
    Ok((left, right))
}

fn the_sender_of_many_packets_in_one_buffer() -> Result<()> {
    let (left, right) = hosts()?;
    let listener = right.run(|| Ok(TcpListener::bind((HOST, 0))?))?;
    let address = listener.local_addr()?;
    let mut stream = left.run(move || Ok(TcpStream::connect(address)?))?;
    stream.set_nonblocking(true)?;
    // All that is sent from now on, as one buffer of many segments where the device takes such.
    left.probe(
        "tc qdisc add dev eth0 clsact
         tc filter add dev eth0 egress bpf bytecode '1,6 0 0 2' direct-action",
    )?;
    let inum = left.inum().to_string();
    let trace = Trace::during(&["--all", "--netns", &inum], || {
        stream.write_all(&[0; 8000])?;
        Ok(())
    })?;
    let mut drops = trace.drops_of("TC_EGRESS")?;
    drops.retain(|drop| drop["transport"] == "tcp" && !drop["gso"].is_null());
    let drop = drops.first().with_context(|| format!("no buffer of many packets: {:#?}", trace.drops))?;
    let (size, segments) = (drop["gso"]["size"].as_u64(), drop["gso"]["segments"].as_u64().unwrap_or(0));
    // 1500 less the headers of IP and TCP, and the timestamps.
    ensure!(size == Some(1448) && segments > 1, "{drop}");
    ensure!(drop["length"] == 14 + 20 + 32 + 1448 * segments, "{drop}");
    let socket = &drop["socket"];
    let reported = ["role", "inode", "uid", "port"].map(|field| &socket[field]);
    let expected = [json!("owner"), inode(&stream)?.into(), 0.into(), stream.local_addr()?.port().into()];
    ensure!(reported.into_iter().eq(&expected), "{reported:?}, not {expected:?}");
    Ok(())
}

fn the_mtu_of_the_route() -> Result<()> {
    const MARK: u32 = 77;
    let (left, _right) = hosts()?;
    left.probe(
        "ip route add 10.9.0.0/24 via 10.0.0.2 dev eth0 mtu 1300
         tc qdisc add dev eth0 clsact
         tc filter add dev eth0 egress protocol ip bpf bytecode '1,6 0 0 2' direct-action
         nft add table ip t
         nft 'add chain ip t c { type filter hook output priority 0; }'
         nft add rule ip t c meta mark set 77",
    )?;
    let socket = left.run(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    let inum = left.inum().to_string();
    let trace = Trace::during(&["--all", "--netns", &inum], || {
        for to in [[10, 9, 0, 1], [10, 0, 0, 2]] {
            socket.send_to(b"droptrace", (Ipv4Addr::from(to), 9))?;
        }
        Ok(())
    })?;
    let reported = |destination: &str| -> Result<Value> {
        let drops = trace.drops_of("TC_EGRESS")?;
        let drop = drops.into_iter().find(|drop| drop["destination"] == destination);
        let drop = drop.with_context(|| format!("no drop to {destination}: {:#?}", trace.drops))?;
        Ok(json!([drop["route_mtu"], drop["device_mtu"], drop["mark"]]))
    };
    let (metric, none) = (reported("10.9.0.1:9")?, reported("10.0.0.2:9")?);
    ensure!(metric == json!([1300, 1500, MARK]), "{metric}");
    ensure!(none == json!([null, 1500, MARK]), "{none}");
    Ok(())
}

/// A storm that fills the bound of its function does not hide what is rare there.
fn a_rare_flow_beside_a_storm() -> Result<()> {
    const RARE: usize = 5;
    let wire = Wire::new()?;
    let full = |_| {
        let socket = wire.udp(0)?;
        set_socket_recv_buffer_size(&socket, 1)?;
        Ok(socket)
    };
    let receivers: Vec<UdpSocket> = (0..2).map(full).collect::<Result<_>>()?;
    let ports = [receivers[0].local_addr()?.port(), receivers[1].local_addr()?.port()];
    let frames: Vec<_> =
        ports.iter().map(|port| udp(ip4(SENDER, HOST, 64), *port, &[0; 400])).collect::<Result<_>>()?;
    frames.iter().try_for_each(|frame| wire.repeat(20, frame))?;
    drained()?;
    let inum = wire.host.inum().to_string();
    let storm = datagrams(20_000)?;
    let trace = Trace::during(&["--rate", "5", "--netns", &inum], || {
        on_one_cpu(|| {
            for _ in 0..RARE {
                // Less than the receive queue holds.
                (0..storm / RARE as u64 / 200).try_for_each(|_| {
                    wire.repeat(200, &frames[0])?;
                    drained()
                })?;
                wire.send(&frames[1])?;
            }
            drained()
        })
    })?;
    let to = |port: u16| {
        let destination = format!("{HOST}:{port}");
        trace.drops.iter().filter(|drop| drop["destination"] == *destination).count()
    };
    ensure!(trace.event("suppressed")? > 0, "no storm: {}", trace.events);
    ensure!(to(ports[1]) == RARE, "{} of {RARE} rare drops, {} of the storm", to(ports[1]), to(ports[0]));
    Ok(())
}
