//! The kernel's own counters: a second opinion on every count.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Netns;
use crate::trials::Unable;

/// A counter of a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Witness {
    /// `/proc/net/snmp`: group, counter.
    Snmp(&'static str, &'static str),
    /// `/proc/net/netstat`: group, counter.
    Netstat(&'static str, &'static str),
    /// `/proc/net/snmp6`: counter.
    Snmp6(&'static str),
    /// `/proc/net/xfrm_stat`: counter.
    Xfrm(&'static str),
    /// Statistics of an interface: its name, `rx` or `tx`, counter.
    Link(&'static str, &'static str, &'static str),
    /// Drops of an interface's queueing discipline: the interface, the kind.
    Qdisc(&'static str, &'static str),
    /// Packets of the nftables counter `drops` in the table `inet cases`.
    Nft,
}

impl Witness {
    /// Its value in `netns` now.
    pub fn read(self, netns: &Netns) -> Result<u64> {
        match self {
            Self::Snmp(group, counter) => two_lines(&netns.proc_net("snmp")?, group, counter),
            Self::Netstat(group, counter) => two_lines(&netns.proc_net("netstat")?, group, counter),
            Self::Snmp6(counter) => name_and_value(&netns.proc_net("snmp6")?, counter),
            Self::Xfrm(counter) => name_and_value(&netns.proc_net("xfrm_stat")?, counter),
            Self::Link(interface, direction, counter) => {
                let links = json(netns, &format!("ip -json -stats -stats link show dev {interface}"))?;
                // Some counters are shown only once they are not 0.
                Ok(links[0]["stats64"][direction][counter].as_u64().unwrap_or(0))
            }
            Self::Qdisc(interface, kind) => {
                let qdiscs = json(netns, &format!("tc -json -stats qdisc show dev {interface}"))?;
                let qdiscs = qdiscs.as_array().context("tc prints no list")?;
                let qdisc = qdiscs.iter().find(|qdisc| qdisc["kind"] == kind).context("no such qdisc")?;
                qdisc["drops"].as_u64().context("tc shows no drops")
            }
            Self::Nft => {
                let counters = json(netns, "nft -j list counter inet cases drops")?;
                let objects = counters["nftables"].as_array().context("nft prints no list")?;
                objects.iter().find_map(|object| object["counter"]["packets"].as_u64()).context("no such counter")
            }
        }
    }

    /// The name in `droptrace explain`; absent for a value that is no counter of the kernel's network stack.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Snmp(group, counter) | Self::Netstat(group, counter) => Some(format!("{group}{counter}")),
            Self::Snmp6(counter) | Self::Xfrm(counter) => Some(counter.to_owned()),
            // `ip` leaves out the end of this one.
            Self::Link(_, direction, "otherhost") => Some(format!("{direction}_otherhost_dropped")),
            Self::Link(_, direction, counter) => Some(format!("{direction}_{counter}")),
            Self::Qdisc(..) | Self::Nft => None,
        }
    }
}

fn json(netns: &Netns, command: &str) -> Result<Value> {
    let output = netns.command(command)?;
    serde_json::from_str(&output).with_context(|| format!("reading what {command} printed"))
}

/// `Group: names` on one line, `Group: values` on the next.
fn two_lines(text: &str, group: &str, counter: &str) -> Result<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let (_, value) = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == counter)
        .ok_or_else(|| Unable(format!("this kernel has no counter {group}.{counter}")))?;
    Ok(value.parse()?)
}

fn name_and_value(text: &str, counter: &str) -> Result<u64> {
    let mut words = text.lines().map(str::split_whitespace);
    let mut line = words
        .find(|line| line.clone().next() == Some(counter))
        .ok_or_else(|| Unable(format!("this kernel has no counter {counter}")))?;
    Ok(line.nth(1).context("a counter without a value")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_layouts_of_proc_net() {
        let snmp = "Ip: InReceives InHdrErrors\nIp: 12 3\nUdp: NoPorts\nUdp: 7\nUdpLite: NoPorts\nUdpLite: 9\n";
        assert_eq!(two_lines(snmp, "Ip", "InHdrErrors").unwrap(), 3);
        assert_eq!(two_lines(snmp, "Udp", "NoPorts").unwrap(), 7);
        assert!(two_lines(snmp, "Tcp", "InErrs").is_err());
        assert_eq!(name_and_value("Ip6InDiscards\t4\nUdp6NoPorts   5\n", "Udp6NoPorts").unwrap(), 5);
        assert!(name_and_value("Ip6InDiscards 4\n", "Ip6In").is_err());
    }
}
