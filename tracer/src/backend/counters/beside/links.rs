//! The counters of the interfaces of one network namespace, from the first reading to the last.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::driver::Driver;
use super::{READINGS_KEPT, Rise};
use crate::domain::reconciliation::Interface;
use crate::netlink::{Ethtool, LINK_COUNTERS, Link, LinkCounters, Room, link_counter_names, link_counters, links};

/// Counters that the network stack raises for each kind of interface (`net/core/dev.c`, `net/ipv4/ip_input.c`). The others are also
/// the driver's.
const OF_THE_STACK: [&str; 2] = ["rx_nohandler", "rx_otherhost_dropped"];
/// The counter of the interface's root queueing discipline.
const QDISC: &str = "qdisc_drops";
/// Its position: the last one.
const QDISC_SLOT: usize = LINK_COUNTERS - 1;
/// Kinds of virtual interfaces whose drivers drop packets of their own, and count no drop of others.
const COMPARED_KINDS: [&str; 2] = ["ifb", "netdevsim"];

/// All interfaces of the namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(BTreeMap<u32, State>);

/// One interface.
#[derive(Clone, Debug)]
struct State {
    first: LinkCounters,
    last: LinkCounters,
    /// What the counters had risen by when the interface left the namespace, or when they fell. Elsewhere they count for another one.
    gained: [u64; LINK_COUNTERS],
    /// Counters that were once less than before.
    fell: [bool; LINK_COUNTERS],
    driver: Driver,
    /// What is known of the interface, once one of its counters rose.
    about: Option<About>,
    /// The number of readings since the interface left the namespace; 0 for one that is there.
    absent_for: u32,
}

#[derive(Clone, Debug)]
struct About {
    link: Link,
    /// Other interfaces are parts of this one, as of a bond, which adds up their counters.
    has_parts: bool,
}

impl Links {
    /// Reads the counters of the namespace that the calling thread is in, and what the interfaces are whose counters rose.
    /// `room` is for the counters of drivers, which are not read without it.
    pub(super) fn read(&mut self, room: Option<&mut Room>) -> io::Result<()> {
        let mut has_risen = self.take(&link_counters()?);
        if let Some(mut ethtool) = room.map(Ethtool::open).transpose()? {
            for (ifindex, state) in self.0.iter_mut().filter(|(_, state)| state.absent_for == 0) {
                has_risen |= state.driver.read(&mut ethtool, *ifindex);
            }
        }
        if has_risen {
            self.identify(&links()?);
        }
        Ok(())
    }

    /// Takes a reading. Returns whether a counter changed.
    fn take(&mut self, found: &BTreeMap<u32, LinkCounters>) -> bool {
        let mut has_risen = false;
        for (ifindex, state) in &mut self.0 {
            let Some(now) = found.get(ifindex) else {
                state.absent_for = state.absent_for.saturating_add(1);
                continue;
            };
            has_risen |= state.last != *now;
            if state.absent_for == 0 {
                state.take(now);
            } else {
                state.start_again(now);
            }
        }
        for (ifindex, now) in found {
            self.0.entry(*ifindex).or_insert_with(|| State::new(*now));
        }
        has_risen
    }

    fn identify(&mut self, links: &[Link]) {
        for link in links {
            let has_parts = links.iter().any(|other| other.master == link.ifindex);
            if let Some(state) = self.0.get_mut(&link.ifindex) {
                let once_had_them = state.about.as_ref().is_some_and(|about| about.has_parts);
                state.about = Some(About { link: link.clone(), has_parts: has_parts || once_had_them });
            }
        }
    }

    /// Forgets the interfaces that have been gone for some readings.
    pub(super) fn forget(&mut self) {
        self.0.retain(|_, state| state.absent_for < READINGS_KEPT);
    }

    /// The counters that rose, without the namespace.
    pub(super) fn rises(&self) -> Vec<Rise> {
        self.0.iter().flat_map(|(ifindex, state)| state.rises(*ifindex)).collect()
    }

    /// The indices of the interfaces that the last reading found.
    pub(super) fn present(&self) -> impl Iterator<Item = u32> {
        self.0.iter().filter(|(_, state)| state.absent_for == 0).map(|(ifindex, _)| *ifindex)
    }

    /// Whether an interface has the counter at this position.
    pub(super) fn has(&self, slot: usize) -> bool {
        self.0.values().any(|state| state.last[slot].is_some())
    }

    /// Counters that were once less than before, with the index of the interface.
    pub(super) fn fallen(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.0.iter().flat_map(|(ifindex, state)| {
            let fell = link_counter_names().into_iter().zip(state.fell).filter(|(_, fell)| *fell);
            fell.map(|(name, _)| (name, *ifindex))
        })
    }
}

impl Links {
    /// The interfaces of which a counter was once less than before: the names, or `if` and the index.
    pub(super) fn with_a_fall(&self) -> impl Iterator<Item = String> {
        let fell = self.0.iter().filter(|(_, state)| state.fell.contains(&true) || state.driver.has_fallen());
        fell.map(|(ifindex, state)| {
            state.about.as_ref().map_or_else(|| format!("if{ifindex}"), |about| about.link.name.to_string())
        })
    }
}

impl State {
    fn new(first: LinkCounters) -> Self {
        Self {
            first,
            last: first,
            gained: [0; LINK_COUNTERS],
            fell: [false; LINK_COUNTERS],
            driver: Driver::default(),
            about: None,
            absent_for: 0,
        }
    }

    fn take(&mut self, now: &LinkCounters) {
        let fell = self.now_less(now);
        for (known, fell) in self.fell.iter_mut().zip(fell) {
            *known |= fell;
        }
        if fell[..QDISC_SLOT].contains(&true) {
            // Another interface has the index.
            self.start_again(now);
        } else if fell[QDISC_SLOT] {
            // Another queueing discipline, or one whose 32 bits wrapped.
            self.gained[QDISC_SLOT] = self.risen(QDISC_SLOT).unwrap_or(0);
            self.first[QDISC_SLOT] = now[QDISC_SLOT];
        }
        for (first, now) in self.first.iter_mut().zip(now) {
            // A queueing discipline that was set meanwhile starts at 0.
            *first = first.or(now.map(|_| 0));
        }
        self.last = *now;
    }

    /// Which counters are less than before.
    fn now_less(&self, now: &LinkCounters) -> [bool; LINK_COUNTERS] {
        std::array::from_fn(|slot| self.last[slot].zip(now[slot]).is_some_and(|(last, now)| now < last))
    }

    /// Goes on with an interface that was not there at the last reading, or with another one of the same index: what it counted
    /// meanwhile may not be this namespace's.
    fn start_again(&mut self, now: &LinkCounters) {
        self.driver.start_again();
        self.gained = std::array::from_fn(|slot| self.risen(slot).unwrap_or(0));
        (self.first, self.last, self.absent_for) = (*now, *now, 0);
    }

    /// What a counter rose by, apart from what it may have counted before a fall; absent where it is none of this interface.
    fn risen(&self, slot: usize) -> Option<u64> {
        let risen = self.last[slot]?.checked_sub(self.first[slot]?)?;
        Some(self.gained[slot].saturating_add(risen))
    }

    fn rises(&self, ifindex: u32) -> Vec<Rise> {
        let rise = |(slot, name): (usize, &'static str)| {
            let rise = self.risen(slot)?;
            let name_of_link = self.about.as_ref().map(|about| about.link.name.clone());
            (rise > 0).then(|| Rise {
                counter: name.into(),
                interface: Some(Interface { ifindex, name: name_of_link }),
                is_of_others: self.is_of_others(name),
                rise,
                ..Rise::default()
            })
        };
        let of_driver = |(name, rise): (&Arc<str>, u64)| Rise {
            counter: Arc::clone(name),
            interface: Some(Interface { ifindex, name: self.about.as_ref().map(|about| about.link.name.clone()) }),
            rise,
            ..Rise::default()
        };
        let of_links = link_counter_names().into_iter().enumerate().filter_map(rise);
        of_links.chain(self.driver.rises().map(of_driver)).collect()
    }

    /// Whether a counter of this interface may count what other interfaces drop, as that of a bond, or of the end of a `veth`
    /// for packets that the other end drops. It is taken to if the interface is not known.
    fn is_of_others(&self, counter: &str) -> bool {
        let Some(About { link, has_parts }) = &self.about else { return counter != QDISC };
        let is_virtual = link.kind.as_deref().is_some_and(|kind| !COMPARED_KINDS.contains(&kind)) && !link.has_device;
        counter != QDISC && (*has_parts || (is_virtual && !OF_THE_STACK.contains(&counter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RX_DROPPED: usize = 0;
    const OTHER_HOST: usize = 9;
    const ROOT: usize = QDISC_SLOT;

    fn counters(values: &[(usize, u64)]) -> BTreeMap<u32, LinkCounters> {
        let mut counters: LinkCounters = std::array::from_fn(|slot| (slot != ROOT).then_some(0));
        for (slot, value) in values {
            counters[*slot] = Some(*value);
        }
        [(7, counters)].into()
    }

    fn link(ifindex: u32, kind: Option<&str>, master: u32) -> Link {
        Link { ifindex, name: "eth0".into(), kind: kind.map(Into::into), has_device: false, master }
    }

    /// The counters that rose, by how much, and whether they may be others'.
    fn shown(links: &Links) -> Vec<(String, u64, bool)> {
        links.rises().iter().map(|rise| (rise.counter.to_string(), rise.rise, rise.is_of_others)).collect()
    }

    #[test]
    fn rise_is_that_since_the_first_reading_of_the_interface() {
        let mut links = Links::default();
        assert!(!links.take(&counters(&[(RX_DROPPED, 5)])));
        assert!(links.take(&counters(&[(RX_DROPPED, 8), (ROOT, 3)])));
        links.identify(&[link(7, None, 0)]);
        let expected = [("rx_dropped".to_owned(), 3, false), (QDISC.to_owned(), 3, false)];
        assert_eq!(shown(&links), expected);
        assert!(!links.take(&counters(&[(RX_DROPPED, 8), (ROOT, 3)])));
        // The interface is gone, and keeps its rise.
        links.take(&BTreeMap::new());
        assert_eq!((shown(&links), links.present().count()), (expected.to_vec(), 0));
        // It comes back from another namespace, where it counted 90.
        links.take(&counters(&[(RX_DROPPED, 98), (ROOT, 3)]));
        links.take(&counters(&[(RX_DROPPED, 99), (ROOT, 3)]));
        assert_eq!(shown(&links), [("rx_dropped".to_owned(), 4, false), (QDISC.to_owned(), 3, false)]);
    }

    #[test]
    fn interface_that_is_gone_is_forgotten() {
        let mut links = Links::default();
        links.take(&counters(&[]));
        links.take(&counters(&[(RX_DROPPED, 3)]));
        for left in (0..READINGS_KEPT).rev() {
            links.take(&BTreeMap::new());
            links.forget();
            assert_eq!(shown(&links).len(), usize::from(left > 0));
        }
    }

    #[test]
    fn counter_that_fell_goes_on_from_there() {
        let mut links = Links::default();
        links.take(&counters(&[(ROOT, u32::MAX.into()), (RX_DROPPED, 1)]));
        links.take(&counters(&[(ROOT, 4), (RX_DROPPED, 2)]));
        links.take(&counters(&[(ROOT, 9), (RX_DROPPED, 2)]));
        let expected = [("rx_dropped".to_owned(), 1, true), (QDISC.to_owned(), 5, false)];
        assert_eq!(shown(&links), expected, "nothing is known of the interface");
        assert_eq!(links.fallen().collect::<Vec<_>>(), [(QDISC, 7)]);
        assert_eq!(links.with_a_fall().collect::<Vec<_>>(), ["if7"]);
    }

    #[test]
    fn interface_that_was_made_again_keeps_the_rise_before() {
        let mut links = Links::default();
        links.take(&counters(&[(RX_DROPPED, 100), (OTHER_HOST, 0)]));
        links.take(&counters(&[(RX_DROPPED, 400), (OTHER_HOST, 0)]));
        // The new interface has counted 50 and 7 of its own; whether between the readings or in another namespace is unknown.
        links.take(&counters(&[(RX_DROPPED, 50), (OTHER_HOST, 7)]));
        links.take(&counters(&[(RX_DROPPED, 202), (OTHER_HOST, 8)]));
        links.identify(&[link(7, None, 0)]);
        let expected = [("rx_dropped".to_owned(), 452, false), ("rx_otherhost_dropped".to_owned(), 1, false)];
        assert_eq!(shown(&links), expected);
        assert_eq!(links.with_a_fall().collect::<Vec<_>>(), ["eth0"]);
    }

    #[test]
    fn counters_that_may_be_of_other_interfaces_are_distinguished() {
        for (kind, has_part, expected) in [
            (None, false, [false, false]),
            (Some("ifb"), false, [false, false]),
            (Some("veth"), false, [true, false]),
            (Some("bond"), true, [true, true]),
            (None, true, [true, true]),
        ] {
            let mut links = Links::default();
            links.take(&counters(&[]));
            links.take(&counters(&[(RX_DROPPED, 1), (OTHER_HOST, 1)]));
            links.identify(&[link(7, kind, 0), link(8, None, if has_part { 7 } else { 0 })]);
            assert_eq!(shown(&links).iter().map(|it| it.2).collect::<Vec<_>>(), expected, "{kind:?} {has_part}");
        }
    }
}
