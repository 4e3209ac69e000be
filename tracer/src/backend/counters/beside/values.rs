//! The values of the counters in the files of one network namespace.

use std::io::ErrorKind;
use std::sync::Arc;

use super::Which;
use crate::explain::Counters;
use crate::identity::proc_folder::Folder;

/// The files that hold counters (`net/ipv4/proc.c`, `net/ipv6/proc.c`).
const FILES: [(&std::ffi::CStr, Layout); 3] =
    [(c"net/snmp", Layout::Paired), (c"net/netstat", Layout::Paired), (c"net/snmp6", Layout::Single)];

#[derive(Clone, Copy)]
enum Layout {
    /// A line of names above a line of values, both with the group before them.
    Paired,
    /// A name and a value on each line.
    Single,
}

/// The names of the counters that are read. The position of a name is that of its value in [`Values`].
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) all: Arc<[Arc<str>]>,
    /// The names of each group of the paired files, without the group before them, and their positions.
    groups: Vec<Group>,
}

/// The counters of one group.
#[derive(Clone, Debug)]
struct Group {
    name: &'static str,
    counters: Vec<(Box<str>, usize)>,
}

/// The groups of the paired files whose counters the table has.
const GROUPS: [&str; 5] = ["Ip", "Tcp", "Udp", "TcpExt", "IpExt"];

/// The values of one namespace; absent for counters that the kernel does not have.
pub(super) type Values = Vec<Option<u64>>;

impl Names {
    /// The names of the counters of a table.
    pub(super) fn of(counters: &Counters, which: Which) -> Self {
        let read = counters.iter().filter(|(_, counter)| which == Which::All || counter.class.is_compared());
        let all: Arc<[Arc<str>]> = read.map(|(name, _)| name.into()).collect();
        let in_group = |group| {
            let rest = |(slot, name): (usize, &Arc<str>)| Some((name.strip_prefix(group)?.into(), slot));
            Group { name: group, counters: all.iter().enumerate().filter_map(rest).collect() }
        };
        let groups = GROUPS.map(in_group).into();
        Self { all, groups }
    }

    /// Reads the files of the namespace of a process into `buffer`, one after the other. A file that the kernel lacks has no
    /// counters, as `snmp6` on a kernel without IPv6. `None` if the process ended.
    pub(super) fn read(&self, process: &Folder, buffer: &mut Vec<u8>) -> Option<Values> {
        let mut values = vec![None; self.all.len()];
        for (file, layout) in FILES {
            match process.read(file, buffer) {
                // The names and numbers that are looked for are ASCII.
                Ok(()) => self.parse(std::str::from_utf8(buffer).unwrap_or_default(), layout, &mut values),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => return None,
            }
        }
        // Each kernel with a network has counters of UDP; without them, the process ended.
        values.iter().any(Option::is_some).then_some(values)
    }

    fn parse(&self, text: &str, layout: Layout, values: &mut Values) {
        match layout {
            Layout::Paired => self.paired(text, values),
            Layout::Single => self.single(text, values),
        }
    }

    /// Parses lines in pairs: `Udp: InDatagrams NoPorts` above `Udp: 476 14`.
    fn paired(&self, text: &str, values: &mut Values) {
        let mut lines = text.lines();
        while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            let (Some((group, names)), Some((other, numbers))) = (names.split_once(':'), numbers.split_once(':'))
            else {
                continue;
            };
            let known = self.groups.iter().find(|known| group == other && known.name == group);
            let Some(Group { counters, .. }) = known else { continue };
            for (name, number) in names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace()) {
                if let Some((_, slot)) = counters.iter().find(|(wanted, _)| **wanted == *name) {
                    values[*slot] = number.parse().ok();
                }
            }
        }
    }

    /// Parses lines such as `Udp6NoPorts   0`.
    fn single(&self, text: &str, values: &mut Values) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
            // The names are in alphabetical order, as those of the table.
            if let Ok(slot) = self.all.binary_search_by(|known| (**known).cmp(name)) {
                values[slot] = number.parse().ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_of_the_table_is_in_a_known_group() {
        let names = Names::of(&Counters::built_in().unwrap(), Which::All);
        let in_groups: Vec<_> = names.groups.iter().flat_map(|group| &group.counters).map(|(_, slot)| *slot).collect();
        for (slot, name) in names.all.iter().enumerate() {
            let is_single = name.starts_with("Ip6") || name.starts_with("Udp6");
            assert!(is_single || in_groups.contains(&slot), "{name}");
        }
        assert!(names.all.is_sorted(), "the search needs it");
    }

    fn parsed(layout: Layout, text: &str) -> Vec<(String, u64)> {
        let names = Names::of(&Counters::built_in().unwrap(), Which::Compared);
        let mut values = vec![None; names.all.len()];
        names.parse(text, layout, &mut values);
        let found = names.all.iter().zip(values).filter_map(|(name, value)| Some((name.to_string(), value?)));
        found.collect()
    }

    fn counts(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn shapes_of_old_and_new_kernels_are_read() {
        // 5.10 has no UdpMemErrors; 7.3 has counters after those of 5.10.
        let old = "Tcp: RtoAlgorithm InErrs\nTcp: 1 7\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors \
                   SndbufErrors InCsumErrors IgnoredMulti\nUdp: 476 14 3 500 2 0 1 0\nUdpLite: NoPorts\nUdpLite: 99\n";
        assert_eq!(
            parsed(Layout::Paired, old),
            counts(&[("UdpInCsumErrors", 1), ("UdpNoPorts", 14), ("UdpRcvbufErrors", 2)])
        );
        let new = "Udp: NoPorts RcvbufErrors InCsumErrors IgnoredMulti MemErrors\nUdp: 14 2 1 0 18446744073709551615\n";
        assert_eq!(parsed(Layout::Paired, new)[2], ("UdpNoPorts".to_owned(), 14));
        assert_eq!(parsed(Layout::Paired, new)[1], ("UdpMemErrors".to_owned(), u64::MAX));
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPBacklogDrop\nTcpExt: 0 33 34 5\n\
                       IpExt: InNoRoutes InTruncatedPkts\nIpExt: 6 7\nMPTcpExt: MPCapableSYNRX\nMPTcpExt: 8\n";
        assert_eq!(
            parsed(Layout::Paired, netstat),
            counts(&[("IpExtInNoRoutes", 6), ("TcpExtListenDrops", 34), ("TcpExtTCPBacklogDrop", 5)])
        );
        let snmp6 = "Ip6InReceives                   \t9\nUdp6NoPorts                     \t4\nUdp6MemErrors\t2\n";
        assert_eq!(parsed(Layout::Single, snmp6), counts(&[("Udp6MemErrors", 2), ("Udp6NoPorts", 4)]));
    }

    #[test]
    fn malformed_text_has_no_values() {
        for text in [
            "",
            "\n\n\n",
            "Udp: NoPorts",
            "Udp: NoPorts\nTcp: 14\n",
            "Udp: NoPorts\nUdp: many\n",
            "Udp: NoPorts\nUdp: -1\n",
            "Udp: NoPorts\nUdp: 18446744073709551616\n",
            "Udp: NoPorts\nUdp:\n",
            ":\n:\n",
            "NoPorts\n14\n",
        ] {
            assert_eq!(parsed(Layout::Paired, text), [], "{text:?}");
        }
        for text in ["Udp6NoPorts", "Udp6NoPorts x", "Udp6NoPorts -1", "Udp6NoPortsX 4", "\u{fffd} 4"] {
            assert_eq!(parsed(Layout::Single, text), [], "{text:?}");
        }
    }
}
