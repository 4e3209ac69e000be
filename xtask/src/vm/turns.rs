//! Long tests, which a few kernels have on one day and others on the next.

use std::time::{SystemTime, UNIX_EPOCH};

use super::kernels::Series;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Tests that run in a machine of their own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: &'static str,
    /// What is added to the kernel's name.
    pub(super) title: &'static str,
    pub(super) tests: &'static [&'static str],
    /// The one test of these that runs; all without it.
    pub(super) only: Option<&'static str>,
    /// They need the drop monitor, which the running kernel may lack.
    pub(super) by_monitor: bool,
}

/// All provoked drops, and refused SYNs. Under emulation they take 10 to 20 minutes.
pub(super) const PROVOKED: Set = set("provoked", " with provoked drops", &["drops", "refused"]);
/// Single drops, against what is true of them. Under emulation they take 15 minutes.
pub(super) const TRUTH: Set = set("truth", " with single drops", &["truth"]);
/// What `kfree_skb` does not show, and what is rare.
pub(super) const RARE: Set =
    set("rare", " with rare events", &["outside", "reconcile", "xdp", "nothing_lost", "retransmits"]);
/// The filters, and the trace of nftables.
pub(super) const FILTERED: Set = set("filtered", " with filters", &["filter", "rule"]);
/// Far more drops than the buffers hold.
pub(super) const STORMS: Set = set("storms", " with storms", &["storms"]);
/// The drop monitor with all provoked drops, in both its modes.
const MONITORED: Set =
    Set { by_monitor: true, ..set("monitored", " with provoked drops by its monitor", &["drops_net_dm"]) };
/// As these, in packet mode only.
const IN_PACKET_MODE: Set = Set { only: Some("packet_mode_beside_the_kernel_program"), ..MONITORED };

const fn set(name: &'static str, title: &'static str, tests: &'static [&'static str]) -> Set {
    Set { name, title, tests, only: None, by_monitor: false }
}

const OLDEST: Series = Series::cloud(5, 10);
const OLD: Series = Series::cloud(6, 1);
const STABLE: Series = Series::cloud(6, 12);
const LONG_TERM: Series = Series::cloud(6, 18);
const NEWEST: Series = Series::cloud(7, 3);

/// The turns: the sets of a day, each with its series. Single drops, filters and rare events run on the series whose verifiers
/// know no casts, without and with reasons; storms where the kernel withholds nested drops, and where it shows them, too.
const TURNS: [&[(Series, Set)]; 8] = [
    &[(STABLE, PROVOKED), (OLD, IN_PACKET_MODE)],
    &[(OLD, TRUTH), (STABLE, IN_PACKET_MODE)],
    &[(OLDEST, PROVOKED), (NEWEST, MONITORED)],
    &[(OLDEST, FILTERED), (OLD, RARE), (LONG_TERM, PROVOKED), (LONG_TERM, IN_PACKET_MODE)],
    &[(NEWEST, PROVOKED), (OLDEST, STORMS)],
    &[(OLDEST, TRUTH)],
    &[(OLD, FILTERED), (OLDEST, RARE)],
    &[(OLD, PROVOKED), (NEWEST, STORMS), (OLDEST, MONITORED)],
];

/// Which of the turns are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// All of them.
    Off,
    /// One, by the number of the day since 1970, in UTC.
    Day(usize),
}

impl Rotation {
    /// Today's.
    pub(super) fn today() -> Self {
        // A clock before 1970 is day 0: any turn will do.
        let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY);
        Self::Day(usize::try_from(days).unwrap_or(0))
    }

    /// The sets that a series has. Without turns, every series has the provoked drops, also by its monitor.
    pub(super) fn sets(self, series: Series) -> Vec<&'static Set> {
        let turns = match self {
            Self::Off => &TURNS[..],
            Self::Day(day) => std::slice::from_ref(&TURNS[day % TURNS.len()]),
        };
        let its = turns.iter().copied().flatten().filter(|(of, _)| *of == series).map(|(_, set)| set);
        let mut sets: Vec<_> = its.collect();
        if self == Self::Off && !sets.contains(&&PROVOKED) {
            sets.insert(0, &PROVOKED);
        }
        if self == Self::Off && !sets.iter().any(|set| set.by_monitor) {
            sets.push(&IN_PACKET_MODE);
        }
        sets
    }
}

/// All sets but those that repeat a part of another one, for a kernel that belongs to no series.
pub(super) const ALL: [&Set; 6] = [&PROVOKED, &TRUTH, &RARE, &FILTERED, &STORMS, &MONITORED];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rotation: Rotation, series: Series) -> Vec<&'static str> {
        rotation.sets(series).iter().map(|set| set.name).collect()
    }

    #[test]
    fn each_has_its_turn() {
        let on = |day| [OLDEST, OLD, STABLE, NEWEST].map(|series| names(Rotation::Day(day), series).join("+"));
        assert_eq!(on(0), ["", "monitored", "provoked", ""]);
        assert_eq!(on(3), ["filtered", "rare", "", ""]);
        assert_eq!(on(8), on(0));
        assert!(matches!(Rotation::today(), Rotation::Day(day) if day > 20_000));
    }

    #[test]
    fn every_series_has_provoked_drops_where_all_turns_are_taken() {
        assert_eq!(names(Rotation::Off, OLDEST), ["provoked", "filtered", "storms", "truth", "rare", "monitored"]);
        assert_eq!(names(Rotation::Off, Series::cloud(6, 19)), ["provoked", "monitored"]);
    }

    #[test]
    fn every_kernel_has_provoked_drops_and_its_monitor_within_the_turns() {
        for series in super::super::kernels::DEFAULT {
            let had: Vec<_> = (0..TURNS.len()).flat_map(|day| names(Rotation::Day(day), series)).collect();
            assert!(had.contains(&"provoked") && had.contains(&"monitored"), "{series}: {had:?}");
        }
    }
}
