//! The files of `/proc/net` that hold counters, and the counters in them that count drops.

use std::collections::BTreeMap;
use std::{fs, io};

use super::Counter;

/// Counters of the backlog of each CPU, which belong to the whole host.
pub(super) const SOFTNET: &str = "softnet";

/// Counters of drops in `/proc/net/snmp` (`net/ipv4/proc.c`). Sums of other counters, such as `UdpInErrors`, are left
/// out.
const SNMP: &[&str] = &[
    "IpInHdrErrors",
    "IpInAddrErrors",
    "IpInUnknownProtos",
    "IpInDiscards",
    "IpOutDiscards",
    "IpOutNoRoutes",
    "IcmpInErrors",
    "TcpInErrs",
    "UdpNoPorts",
    "UdpRcvbufErrors",
    "UdpSndbufErrors",
    "UdpInCsumErrors",
    "UdpMemErrors",
];

/// Counters of drops in `/proc/net/snmp6` (`net/ipv6/proc.c`).
const SNMP6: &[&str] = &[
    "Ip6InHdrErrors",
    "Ip6InTooBigErrors",
    "Ip6InNoRoutes",
    "Ip6InAddrErrors",
    "Ip6InUnknownProtos",
    "Ip6InTruncatedPkts",
    "Ip6InDiscards",
    "Ip6OutDiscards",
    "Ip6OutNoRoutes",
    "Icmp6InErrors",
    "Udp6NoPorts",
    "Udp6RcvbufErrors",
    "Udp6SndbufErrors",
    "Udp6InCsumErrors",
    "Udp6MemErrors",
];

/// Counters of drops in `/proc/net/netstat` (`net/ipv4/proc.c`). `ListenOverflows` is part of `ListenDrops`.
const NETSTAT: &[&str] = &[
    "TcpExtSyncookiesFailed",
    "TcpExtRcvPruned",
    "TcpExtOfoPruned",
    "TcpExtPAWSActive",
    "TcpExtPAWSEstab",
    "TcpExtBeyondWindow",
    "TcpExtListenDrops",
    "TcpExtTCPBacklogDrop",
    "TcpExtPFMemallocDrop",
    "TcpExtTCPMinTTLDrop",
    "TcpExtTCPDeferAcceptDrop",
    "TcpExtIPReversePathFilter",
    "TcpExtTCPReqQFullDrop",
    "TcpExtTCPOFODrop",
    "TcpExtTCPZeroWindowDrop",
    "TcpExtTCPRcvQDrop",
    "TcpExtTCPMD5NotFound",
    "TcpExtTCPMD5Unexpected",
    "TcpExtTCPMD5Failure",
    "IpExtInNoRoutes",
    "IpExtInTruncatedPkts",
];

/// Columns of `/proc/net/dev` behind the name (`dev_seq_printf_stats`, `net/core/net-procfs.c`).
const INTERFACE: [(&str, usize); 2] = [("rx_dropped", 3), ("tx_dropped", 11)];

/// Reads all counters. A file that this kernel does not have, such as that of IPv6, has no counters.
pub(super) fn read() -> io::Result<BTreeMap<Counter, u64>> {
    let mut counters = BTreeMap::new();
    let mut add = |file, name, interface: Option<&str>, value| {
        *counters.entry(Counter { file, name, interface: interface.map(Into::into) }).or_default() += value;
    };
    let snmp = text("snmp")?;
    if snmp.is_empty() {
        // Each kernel with a network has this file.
        return Err(io::Error::new(io::ErrorKind::NotFound, "/proc/net/snmp is not there: is /proc mounted?"));
    }
    paired(&snmp, SNMP, |name, value| add("snmp", name, None, value));
    paired(&text("netstat")?, NETSTAT, |name, value| add("netstat", name, None, value));
    single(&text("snmp6")?, SNMP6, |name, value| add("snmp6", name, None, value));
    interfaces(&text("dev")?, |interface, name, value| add("interface", name, Some(interface), value));
    add(SOFTNET, "dropped", None, softnet(&text("softnet_stat")?));
    Ok(counters)
}

fn text(file: &str) -> io::Result<String> {
    match fs::read(format!("/proc/net/{file}")) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("/proc/net/{file}: {error}"))),
    }
}

/// Parses lines in pairs: `Udp: InDatagrams NoPorts` above `Udp: 476 14`.
fn paired(text: &str, wanted: &[&'static str], mut visit: impl FnMut(&'static str, u64)) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        let Some((group, _)) = pairs.next() else { continue };
        let group = group.trim_end_matches(':');
        for (name, value) in pairs {
            let is_wanted = |wanted: &&&str| wanted.strip_prefix(group) == Some(name);
            if let (Some(name), Ok(value)) = (wanted.iter().find(is_wanted), value.parse()) {
                visit(name, value);
            }
        }
    }
}

/// Parses lines such as `Ip6InHdrErrors   0`.
fn single(text: &str, wanted: &[&'static str], mut visit: impl FnMut(&'static str, u64)) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().and_then(|name| wanted.iter().find(|wanted| **wanted == name));
        if let (Some(name), Some(Ok(value))) = (name, words.next().map(str::parse)) {
            visit(name, value);
        }
    }
}

/// Parses lines such as `  eth0: 2060957874   77331    0    0 …`.
fn interfaces(text: &str, mut visit: impl FnMut(&str, &'static str, u64)) {
    // A name may hold a colon, as names of old aliases do.
    for (interface, columns) in text.lines().filter_map(|line| line.rsplit_once(':')) {
        let columns: Vec<_> = columns.split_whitespace().collect();
        for (name, column) in INTERFACE {
            if let Some(Ok(value)) = columns.get(column).map(|value| value.parse()) {
                visit(interface.trim(), name, value);
            }
        }
    }
}

/// The second column of each CPU (`softnet_seq_show`, `net/core/net-procfs.c`): packets that the kernel dropped because
/// the backlog was full.
fn softnet(text: &str) -> u64 {
    let dropped = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    text.lines().filter_map(dropped).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_stand_in_two_lines() {
        let text = "Ip: Forwarding InHdrErrors\nIp: 2 7\nUdp: InErrors NoPorts RcvbufErrors\nUdp: 9 14 5\nUdpLite: NoPorts\nUdpLite: 3\nodd";
        let mut found = vec![];
        paired(text, SNMP, |name, value| found.push((name, value)));
        assert_eq!(found, [("IpInHdrErrors", 7), ("UdpNoPorts", 14), ("UdpRcvbufErrors", 5)]);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let mut found = vec![];
        single("Udp6NoPorts \t 4\nUdp6InErrors 9\nUdp6MemErrors x\n\n", SNMP6, |name, value| found.push((name, value)));
        paired("Udp: NoPorts\nUdp: many\n\n\nUdp:\nUdp:\n", SNMP, |name, value| found.push((name, value)));
        assert_eq!(found, [("Udp6NoPorts", 4)]);
    }

    #[test]
    fn interfaces_and_backlogs_have_columns() {
        let text = "Inter-| Receive | Transmit\n face |bytes packets errs drop\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13\n lo: 1 2\n";
        let mut found = vec![];
        interfaces(text, |interface, name, value| found.push((interface.to_owned(), name, value)));
        assert_eq!(found, [("eth0".to_owned(), "rx_dropped", 4), ("eth0".to_owned(), "tx_dropped", 12)]);
        assert_eq!(softnet("0b774b3c 0000000a 00000003\n037207fe 00000005\nx\n"), 15);
    }

    #[test]
    fn this_kernel_has_them() {
        let counters = read().unwrap();
        assert!(counters.keys().any(|counter| counter.name == "UdpNoPorts"), "{counters:?}");
        assert!(counters.keys().any(|counter| counter.interface.as_deref() == Some("lo")), "{counters:?}");
    }
}
