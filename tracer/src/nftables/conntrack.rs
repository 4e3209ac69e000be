//! What connection tracking drops by itself, without a rule: its own counters in `/proc/net/stat/nf_conntrack`
//! (`net/netfilter/nf_conntrack_standalone.c`), a line of hexadecimal numbers for each processor.
//!
//! `nf_conntrack_in` counts `drop` if it has no room for a new entry, and so does `__nf_conntrack_confirm` together with
//! `insert_failed` if another packet has made the same entry meanwhile (`net/netfilter/nf_conntrack_core.c`).

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::BorrowedFd;

use crate::identity::netns;

const FILE: &str = "/proc/thread-self/net/stat/nf_conntrack";
/// The greatest number of bytes of the file that are read: about 150 for each processor.
const MOST: u64 = 4 << 20;

/// Counts of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConntrackDrops {
    /// Packets that connection tracking dropped, for either reason.
    pub(crate) all: u64,
    /// Those of them whose entry another packet had made meanwhile (a clash).
    pub(crate) clashes: u64,
}

impl ConntrackDrops {
    /// Packets for which the table had no room.
    pub(crate) const fn without_room(&self) -> u64 {
        self.all.saturating_sub(self.clashes)
    }

    /// Parses the file; absent if it lacks a column.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let names: Vec<_> = lines.next()?.split_ascii_whitespace().collect();
        let column = |wanted: &str| names.iter().position(|name| *name == wanted);
        let (drop, failed) = (column("drop")?, column("insert_failed")?);
        let mut sum = Self::default();
        for line in lines {
            let number = |at: usize| u64::from_str_radix(line.split_ascii_whitespace().nth(at)?, 16).ok();
            sum.all += number(drop)?;
            sum.clashes += number(failed)?;
        }
        Some(sum)
    }
}

/// The counters of a namespace from a first reading on. The file stays open, because a namespace cannot be entered any more
/// when capabilities are given up.
#[derive(Debug)]
pub(crate) struct Conntrack {
    file: File,
    first: ConntrackDrops,
}

impl Conntrack {
    /// Reads the counters for the first time. Absent where the kernel does not show them, or has no connection tracking.
    pub(crate) fn open(namespace: BorrowedFd<'_>) -> Option<Self> {
        let mut file = netns::visit(namespace, || File::open(FILE)).ok()?;
        let first = ConntrackDrops::parse(&text(&mut file).ok()?)?;
        Some(Self { file, first })
    }

    /// What the counters rose by since the first reading. Absent if they cannot be read any more.
    pub(crate) fn rise(&mut self) -> Option<ConntrackDrops> {
        let now = ConntrackDrops::parse(&text(&mut self.file).ok()?)?;
        let all = now.all.checked_sub(self.first.all)?;
        Some(ConntrackDrops { all, clashes: now.clashes.checked_sub(self.first.clashes)? })
    }
}

fn text(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.by_ref().take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_processors_added_up() {
        let text = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop\n\
                    00000002  00000000 0 0 0 0 0 0 0 00000003 00000015 00000001\n\
                    00000002  00000000 0 0 0 0 0 0 0 00000000 00000005 00000000\n";
        let drops = ConntrackDrops::parse(text).unwrap();
        assert_eq!(drops, ConntrackDrops { all: 26, clashes: 3 });
        assert_eq!(drops.without_room(), 23);
        assert_eq!(ConntrackDrops::parse("entries found\n1 2\n"), None);
        assert_eq!(ConntrackDrops::parse("drop insert_failed\n1\n"), None);
    }
}
