//! Drops by flow: exact where there is room, with bounds where there is not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::case::{PORTION, drained, room_for_a_portion};
use tests::droptrace::{Droptrace, Stat};
use tests::frame;
use tests::netns::Netns;
use tests::owned::host;
use tests::trials::trial_as_root;
use tests::wire::{SENDER, SENDER6, Wire, udp};
use tests::witness::Witness;

use super::owners::in_each_mode;

const NO_PORTS: [Witness; 2] = [Witness::Snmp("Udp", "NoPorts"), Witness::Snmp6("Udp6NoPorts")];

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("each_flow_has_its_packets", each_flow_has_its_packets),
        trial_as_root("more_flows_than_room_have_bounds", more_flows_than_room_have_bounds),
        trial_as_root("flows_of_fragments_have_no_ports", flows_of_fragments_have_no_ports),
        trial_as_root("flows_have_no_ports_of_padding", flows_have_no_ports_of_padding),
    ]
}

/// The report of `stat` by flow.
pub(super) struct Flows(Value);

impl Flows {
    pub(super) fn during(host: &Netns, mode: &str, by: &str, provocation: impl FnOnce() -> Result<()>) -> Result<Self> {
        let inum = host.inum().to_string();
        let arguments = ["stat", "--mode", mode, "--by", by, "--netns", &inum, "--format", "json"];
        let droptrace = Droptrace::start(&arguments)?;
        provocation()?;
        let stat = Stat::parse(&droptrace.finish()?.stdout)?;
        let accounted = stat.ledger("accounted")? + stat.ledger("overflow")?;
        let flows = Self(stat.0);
        let parts = ["by_flow", "others", "no_flow", "no_room"].map(|part| flows.part(part));
        ensure!(parts.iter().sum::<u64>() == accounted, "{parts:?} of {accounted}");
        let rows: u64 = flows.rows()?.iter().filter_map(|row| row["packets"].as_u64()).sum();
        ensure!(rows == accounted, "the rows have {rows} of {accounted}");
        Ok(flows)
    }

    fn part(&self, name: &str) -> u64 {
        self.0["flows"][name].as_u64().unwrap_or(u64::MAX)
    }

    pub(super) fn rows(&self) -> Result<&Vec<Value>> {
        self.0["drops"].as_array().context("no drops")
    }
}

fn no_ports(host: &Netns) -> Result<u64> {
    NO_PORTS.iter().map(|witness| witness.read(host)).sum()
}

/// Sends this number of datagrams to a closed port.
fn send(sender: &UdpSocket, to: SocketAddr, datagrams: u64) {
    for _ in 0..datagrams {
        // The answer to an earlier datagram is an error of the call.
        while sender.send_to(b"droptrace", to).is_err() {}
    }
}

fn each_flow_has_its_packets() -> Result<()> {
    in_each_mode(|mode| {
        let host = host()?;
        host.sysctl("net/ipv6/conf/lo/disable_ipv6", "0")?;
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        let mut expected: HashMap<(String, u64, u64), u64> = HashMap::new();
        let before = no_ports(&host)?;
        let flows = Flows::during(&host, mode, "flow,netns", || {
            for address in addresses {
                let sender = udp(&host, (address, 0).into())?;
                let own = u64::from(sender.local_addr()?.port());
                for (port, datagrams) in (9_000..9_040_u16).zip(1..) {
                    send(&sender, (address, port).into(), datagrams);
                    expected.insert((address.to_string(), own, port.into()), datagrams);
                }
            }
            drained()
        })?;
        let sent: u64 = expected.values().sum();
        let counted = no_ports(&host)? - before;
        ensure!(counted == sent, "the kernel counted {counted} of {sent}");
        ensure!(flows.part("others") == 0, "{}", flows.0["flows"]);
        // Older kernels also free their own answers as drops.
        let is_answer = |row: &&Value| row["transport"] == "icmp" || row["transport"] == "icmpv6";
        for row in flows.rows()?.iter().filter(|row| !is_answer(row)) {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let number = |name: &str| row[name].as_u64().unwrap_or_default();
            ensure!(text("src") == text("dst") && text("transport") == "udp", "{row}");
            let wanted = expected.remove(&(text("dst"), number("sport"), number("dport")));
            ensure!(wanted == Some(number("packets")), "{wanted:?} packets expected: {row}");
        }
        ensure!(expected.is_empty(), "without a row: {expected:?}");
        Ok(())
    })
}

/// Four times as many flows as there are slots on a CPU: no drop is lost, and no row has more packets than were sent.
fn more_flows_than_room_have_bounds() -> Result<()> {
    const PORTS: std::ops::Range<u16> = 1_000..17_000;
    const HEAVY: u16 = 20_000;
    in_each_mode(|mode| {
        let host = host()?;
        let before = no_ports(&host)?;
        let flows = Flows::during(&host, mode, "dport", || {
            let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
            for port in PORTS {
                if u64::from(port) % (PORTION / 2) == 0 {
                    room_for_a_portion()?;
                }
                send(&sender, (Ipv4Addr::LOCALHOST, port).into(), 1);
                send(&sender, (Ipv4Addr::LOCALHOST, HEAVY).into(), 1);
            }
            drained()
        })?;
        let sent = 2 * PORTS.len() as u64;
        let counted = no_ports(&host)? - before;
        ensure!(counted == sent, "the kernel counted {counted} of {sent}");
        let others = flows.part("others");
        ensure!(others > 0, "each flow found room");
        ensure!(flows.part("by_flow") + others == sent, "{}", flows.0["flows"]);
        let (mut heavy, mut widest) = (0, 0);
        for row in flows.rows()?.iter().filter(|row| row["is_other_flows"] == false) {
            let (port, packets) = (row["dport"].as_u64(), row["packets"].as_u64().context("no packets")?);
            let sent = if port == Some(HEAVY.into()) { PORTS.len() as u64 } else { 1 };
            let most = row["packets_at_most"].as_u64().context("no packets_at_most")?;
            ensure!(packets <= sent && sent <= most && most <= packets + others, "{sent} sent, {others} others: {row}");
            widest = widest.max(most - packets);
            heavy = heavy.max(packets);
        }
        ensure!(heavy == PORTS.len() as u64, "the flow with the most packets has {heavy}: it never gives way");
        ensure!(widest == flows.part("most_more"), "{widest}: {}", flows.0["flows"]);
        // The set of a flow bounds its drops, not all sets together.
        ensure!(widest < others / 10, "a row may have {widest} of {others} more");
        Ok(())
    })
}

/// Fragments after the first one have addresses and no ports, and none are made up from their data.
fn flows_of_fragments_have_no_ports() -> Result<()> {
    in_each_mode(|mode| {
        let host = host()?;
        host.commands(
            "nft add table inet cases
             nft add chain inet cases input { type filter hook prerouting priority -500 ; }
             nft add rule inet cases input ip frag-off & 0x1fff != 0 drop",
        )?;
        host.command("ip link set lo mtu 1500")?;
        let flows = Flows::during(&host, mode, "reason,src,dst,sport,dport", || {
            let sender = udp(&host, (Ipv4Addr::LOCALHOST, 0).into())?;
            for _ in 0..10 {
                _ = sender.send_to(&[0x55; 4_000], (Ipv4Addr::LOCALHOST, 9));
            }
            drained()
        })?;
        // Before 5.17 there are no reasons.
        let refused = flows.rows()?.iter().filter(|row| row["reason"] == "NETFILTER_DROP" || row["reason"].is_null());
        let rows: Vec<_> = refused.collect();
        ensure!(!rows.is_empty(), "no fragment was dropped: {}", flows.0);
        let are_right =
            rows.iter().all(|row| row["src"] == "127.0.0.1" && row["sport"].is_null() && row["dport"].is_null());
        ensure!(are_right, "{rows:?}");
        Ok(())
    })
}

/// Frames for another host, whose packets end with the IP header: what follows is Ethernet's padding.
fn flows_have_no_ports_of_padding() -> Result<()> {
    let to_another = [2, 0, 0, 0, 0, 9];
    let (ipv4, ipv6) = (frame::udp4(9)?, frame::udp6(9)?);
    let ipv4 = frame::patched(frame::patched(ipv4, 0, &to_another), 14 + 2, &20_u16.to_be_bytes());
    let ipv6 = frame::patched(frame::patched(ipv6, 0, &to_another), 14 + 4, &2_u16.to_be_bytes());
    in_each_mode(|mode| {
        let wire = Wire::with_ipv6()?;
        let flows = Flows::during(&wire.host, mode, "protocol,src,sport,dport", || {
            wire.repeat(3, &ipv4)?;
            wire.repeat(4, &ipv6)?;
            drained()
        })?;
        for (protocol, source, packets) in [("ipv4", SENDER.to_string(), 3), ("ipv6", SENDER6.to_string(), 4)] {
            let mut rows = flows.rows()?.iter().filter(|row| row["protocol"] == protocol && row["src"] == source);
            let row = rows.next().with_context(|| format!("no {protocol}: {}", flows.0["drops"]))?;
            let is_right = row["packets"] == packets && row["sport"].is_null() && row["dport"].is_null();
            ensure!(is_right && rows.next().is_none(), "{}", flows.0["drops"]);
        }
        Ok(())
    })
}
