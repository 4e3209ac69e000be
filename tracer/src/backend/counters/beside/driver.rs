//! The counters of one interface that its driver names by itself (`ethtool -S`), as far as their names say that packets are lost.

use std::sync::Arc;

use crate::explain::OF_DRIVERS;
use crate::netlink::Ethtool;

/// Parts of the names of counters of lost packets. Drivers share no names, but these words.
const WORDS: [&str; 12] = [
    "drop",
    "discard",
    "miss",
    "no_buf",
    "nobuf",
    "no_desc",
    "fifo",
    "crc",
    "overrun",
    "overflow",
    "alloc_fail",
    "buff_alloc_err",
];
/// Parts of the names of counters that have one of these words and count no lost packet.
const OTHERS: [&str; 3] = ["cache", "permission", "thresh"];
/// Counters that are those of the interface in `ip -s -s link show`.
const COPIES: [&str; 8] = [
    "rx_dropped",
    "tx_dropped",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
];

/// The counters from the first reading to the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Driver {
    /// The number of all counters that the driver has; absent until they were asked for.
    count: Option<usize>,
    counters: Vec<DriverCounter>,
}

#[derive(Clone, Debug)]
struct DriverCounter {
    /// With [`OF_DRIVERS`] before it.
    name: Arc<str>,
    /// The position among all counters of the driver.
    slot: usize,
    /// The last value; absent before the first one.
    last: Option<u64>,
    risen: u64,
    /// The counter was once less than before, so that a part of its rise is not known.
    fell: bool,
}

impl Driver {
    /// Reads the counters of the interface. Returns whether one rose. A driver without such counters is asked once.
    pub(super) fn read(&mut self, ethtool: &mut Ethtool<'_>, ifindex: u32) -> bool {
        if self.count.is_some() && self.counters.is_empty() {
            return false;
        }
        let Ok(interface) = ethtool.interface(ifindex) else { return false };
        let count = match self.count {
            Some(count) => count,
            None => self.learn(&ethtool.names(&interface).unwrap_or_default()),
        };
        if self.counters.is_empty() {
            return false;
        }
        match ethtool.values(&interface, count) {
            Ok(Some(value)) => self.take(value),
            // There are more queues now, or fewer.
            Ok(None) => {
                self.count = None;
                false
            }
            Err(_) => false,
        }
    }

    /// Learns the names of all counters, and returns their number. Known counters keep their rise.
    fn learn(&mut self, names: &[String]) -> usize {
        let known = std::mem::take(&mut self.counters);
        let lost = names.iter().enumerate().filter(|(_, name)| counts_losses(name));
        let counter = |(slot, name): (usize, &String)| {
            let is_same = |counter: &&DriverCounter| counter.name.strip_prefix(OF_DRIVERS) == Some(name);
            let new =
                || DriverCounter { name: [OF_DRIVERS, name].concat().into(), slot, last: None, risen: 0, fell: false };
            let before = known.iter().find(is_same).cloned();
            before.map_or_else(new, |before| DriverCounter { slot, last: None, ..before })
        };
        self.counters = lost.map(counter).collect();
        *self.count.insert(names.len())
    }

    /// Takes a reading. Returns whether a counter rose.
    fn take(&mut self, value: impl Fn(usize) -> Option<u64>) -> bool {
        let mut has_risen = false;
        for counter in &mut self.counters {
            let Some(now) = value(counter.slot) else { continue };
            let last = counter.last.replace(now).unwrap_or(now);
            counter.fell |= now < last;
            counter.risen = counter.risen.saturating_add(now.saturating_sub(last));
            has_risen |= now > last;
        }
        has_risen
    }

    /// Goes on with an interface that was elsewhere meanwhile.
    pub(super) fn start_again(&mut self) {
        self.count = None;
    }

    /// Whether a counter was once less than before.
    pub(super) fn has_fallen(&self) -> bool {
        self.counters.iter().any(|counter| counter.fell)
    }

    /// The names of the counters that rose, and by how much, apart from what they may have counted before a fall.
    pub(super) fn rises(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let has_risen = |counter: &&DriverCounter| counter.risen > 0;
        self.counters.iter().filter(has_risen).map(|counter| (&counter.name, counter.risen))
    }
}

/// Whether the name is that of a counter of lost packets, and of no counter that is read elsewhere.
fn counts_losses(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    has(&WORDS) && !has(&OTHERS) && !COPIES.contains(&&*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_losses_are_recognised() {
        let lost = [
            "rx_queue_0_xdp_drops",
            "rx_no_buffer_count",
            "rx_missed",
            "port.rx_discards",
            "rx_fifo_overflow",
            "rx_fcs_crc",
            "RX0 Drops",
            "alloc_rx_buff_failed_alloc_fail",
            "tx_timeout_drop",
        ];
        let others = [
            "rx_packets",
            "rx_dropped",
            "rx_missed_errors",
            "tx_bytes",
            "rx_cache_miss",
            "tx_xdp_xmit",
            "peer_ifindex",
        ];
        assert_eq!(lost.map(counts_losses), [true; 9]);
        assert_eq!(others.map(counts_losses), [false; 7]);
    }

    fn shown(driver: &Driver) -> Vec<(String, u64)> {
        driver.rises().map(|(name, rise)| (name.to_string(), rise)).collect()
    }

    #[test]
    fn rise_goes_on_when_the_queues_change() {
        let mut driver = Driver::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let values = |values: &[u64]| {
            let values = values.to_vec();
            move |slot: usize| values.get(slot).copied()
        };
        assert_eq!(driver.learn(&names(&["rx_packets", "q0_drops", "q1_drops"])), 3);
        assert!(!driver.take(values(&[1, 10, 20])) && driver.take(values(&[2, 13, 20])));
        assert_eq!(shown(&driver), [("ethtool:q0_drops".to_owned(), 3)]);
        assert_eq!(driver.learn(&names(&["rx_packets", "q2_drops", "q0_drops"])), 3);
        assert!(!driver.take(values(&[3, 500, 14])) && driver.take(values(&[3, 501, 16])));
        assert_eq!(shown(&driver), [("ethtool:q2_drops".to_owned(), 1), ("ethtool:q0_drops".to_owned(), 5)]);
        assert!(!driver.has_fallen() && !driver.take(values(&[3, 7, 16])) && driver.take(values(&[3, 9, 16])));
        assert_eq!(shown(&driver), [("ethtool:q2_drops".to_owned(), 3), ("ethtool:q0_drops".to_owned(), 5)]);
        assert!(driver.has_fallen(), "one was set back");
    }
}
