//! The work that keeps the machine busy around the agent. All drops that it counts match the filter of [`Marks`].

pub mod containers;
pub mod interfaces;
pub mod protocols;
pub mod udp;

use std::process;

use anyhow::{Context, Result};

use crate::netns::Netns;
use crate::wire::HOST_MAC;

/// The ports and the Ethernet address by which the drops of this run are known among all of the host.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// The port of full receive buffers.
    pub full: u16,
    /// The port without a socket.
    pub closed: u16,
    /// The sender's Ethernet address.
    pub sender: [u8; 6],
}

impl Marks {
    /// Those of this process: ports below the range that the kernel hands out.
    pub fn of_this_process() -> Self {
        let [_, high, middle, low] = process::id().to_be_bytes();
        let full = 20_000 + u16::from_be_bytes([middle, low]) % 5_000 * 2;
        Self { full, closed: full + 1, sender: [2, 0x64, 0x74, high, middle, low] }
    }

    /// The filter that selects these drops and no others.
    pub fn filter(&self) -> String {
        let Self { full, closed, sender } = self;
        let address = sender.map(|byte| format!("{byte:02x}")).join(":");
        format!("udp dst portrange {full}-{closed} or ether host {address}")
    }

    /// A frame of a protocol that nobody handles.
    pub fn frame(&self, protocol: u16) -> Vec<u8> {
        [&HOST_MAC[..], &self.sender, &protocol.to_be_bytes(), &[0; 46]].concat()
    }
}

/// The packets that an interface received and the kernel dropped, by `/proc/net/dev`.
pub fn received_and_dropped(netns: &Netns, interface: &str) -> Result<u64> {
    dropped_in(&netns.proc_net("dev")?, interface)
}

fn dropped_in(table: &str, interface: &str) -> Result<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let line = line.with_context(|| format!("{interface} is not in {table}"))?;
    // bytes, packets, errs, drop
    let dropped = line.split_whitespace().nth(3).context("no column drop")?;
    Ok(dropped.parse()?)
}

#[cfg(test)]
mod tests {
    use droptrace_base::filter::Filter;

    use super::*;

    #[test]
    fn the_filter_is_valid() {
        let marks = Marks::of_this_process();
        assert!(marks.full < 32_768 && marks.closed == marks.full + 1);
        Filter::parse(&marks.filter()).unwrap();
        assert_eq!(marks.frame(0x88b5).len(), 60);
    }

    #[test]
    fn reads_the_table_of_interfaces() {
        let table = "Inter-| Receive\n face |bytes packets errs drop fifo\n    lo: 1 2 3 4 5\nlo0: 9 9 9 9 9\n";
        assert_eq!(dropped_in(table, "lo").unwrap(), 4);
        assert!(dropped_in(table, "eth0").is_err());
    }
}
