//! Reads the kernel's own counters, to verify each drop that the generator provokes.

use anyhow::{Context, Result};

use super::netns::Netns;

/// A counter of the benchmark's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Counter {
    /// `Udp: RcvbufErrors` of `/proc/net/snmp`.
    RcvbufErrors,
    /// `Udp: NoPorts` of `/proc/net/snmp`.
    NoPorts,
    /// Frames that `lo` received and no protocol handled, in `/proc/net/dev`.
    Unhandled,
    /// A counter of nftables.
    Nftables,
}

impl Counter {
    pub(super) fn read(self, netns: &Netns) -> Result<u64> {
        match self {
            Self::RcvbufErrors => udp(&netns.proc_net("snmp")?, "RcvbufErrors"),
            Self::NoPorts => udp(&netns.proc_net("snmp")?, "NoPorts"),
            Self::Unhandled => loopback_drops(&netns.proc_net("dev")?),
            Self::Nftables => nftables(&netns.nft(&["-j", "list", "counter", "inet", "bench", "drops"], "")?),
        }
    }
}

/// Reads a counter from two lines: `Udp: names`, then `Udp: values`.
fn udp(text: &str, counter: &str) -> Result<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = pairs.find(|(name, _)| *name == counter).with_context(|| format!("no {counter} in snmp"))?;
    Ok(value.parse()?)
}

/// Reads `dev_seq_printf_stats`, net/core/net-procfs.c: the fourth number is `rx_dropped + rx_missed_errors`.
fn loopback_drops(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:")).context("no lo in /proc/net/dev")?;
    Ok(line.split_whitespace().nth(3).context("/proc/net/dev is cut")?.parse()?)
}

fn nftables(text: &str) -> Result<u64> {
    let document: serde_json::Value = serde_json::from_str(text)?;
    let objects = document["nftables"].as_array().context("nft prints no list")?;
    objects.iter().find_map(|object| object["counter"]["packets"].as_u64()).context("nft shows no counter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let snmp =
            "Icmp: InMsgs\nIcmp: 7\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 1 2 3 4 5\n";
        assert_eq!((udp(snmp, "NoPorts").unwrap(), udp(snmp, "RcvbufErrors").unwrap()), (2, 5));
        assert!(udp("Udp: NoPorts\n", "NoPorts").is_err());
        let dev =
            "Inter-| Receive\n face |bytes packets errs drop\n    lo:  100  2  0 41  0 0 0 0  100 2 0 9 0 0 0 0\n";
        assert_eq!(loopback_drops(dev).unwrap(), 41);
        assert!(loopback_drops("eth0: 1 2 3 4").is_err());
        let nft = r#"{"nftables":[{"metainfo":{}},{"counter":{"name":"drops","packets":12,"bytes":3}}]}"#;
        assert_eq!(nftables(nft).unwrap(), 12);
        assert!(nftables("{}").is_err());
    }
}
