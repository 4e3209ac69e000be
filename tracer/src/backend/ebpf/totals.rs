//! The kernel program's counts since its start: the sums over generations and CPUs.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tracer_common::{
    Counters, DropCount, DropKey, KIND_TRAP, KeyNames, NOTED_FILTERED, NOTED_UNDECIDED, OverflowCount, SegmentCounts,
    TrapNames, XdpNote,
};

use super::count::Count;
use super::flow_totals::FlowTotals;

/// The kernel program's counts since its start.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Counts by key.
    pub counts: HashMap<DropKey, Count, RandomState>,
    /// Counts by flow, if flows are counted: a breakdown of [`Totals::counts`]. The drops of a key that no flow here has
    /// belong to flows that found no room.
    pub flows: FlowTotals,
    /// Names of devlink traps, by [`DropKey::location`].
    pub traps: HashMap<u64, TrapNames>,
    /// Drops by drop reason, of the keys that found no room in the kernel's map or here; the reason is absent where the
    /// kernel's map does not count it separately.
    pub overflow: HashMap<Option<u32>, OverflowCount>,
    /// Drops that the programs saw.
    pub hits: u64,
    /// Sums of the counters of all CPUs. `overflow` is that of [`Totals::overflow`].
    pub counters: Counters,
    /// Drops that were not counted, because a program was running already on that CPU.
    pub nested: u64,
    /// Exact reasons of queueing disciplines that no drop took up ([`tracer_common::QdiscNote::unmatched`]).
    pub qdisc_unmatched: u64,
    /// Retransmissions, and the records of segments that were lost; zeros if they are not asked for.
    pub segments: SegmentCounts,
}

impl Totals {
    /// The names of the devlink trap that a key is of; absent for other keys.
    pub fn trap(&self, key: &DropKey) -> Option<TrapNames> {
        if key.kind == KIND_TRAP { self.traps.get(&key.location).copied() } else { None }
    }

    /// Drops that were counted by key.
    pub fn accounted(&self) -> u64 {
        self.counts.values().map(|count| count.packets).sum()
    }

    /// Adds the counts of one key on one CPU in one generation, and its `names` if it has none yet. Beyond `max_rows` keys,
    /// new ones are counted by reason.
    pub(super) fn add(&mut self, key: DropKey, count: Count, names: impl FnOnce() -> KeyNames, max_rows: usize) {
        if let Some(sum) = self.counts.get_mut(&key) {
            sum.merge(&count, names);
        } else if self.counts.len() < max_rows {
            self.counts.insert(key, Count { names: names(), ..count });
        } else {
            self.add_beyond(&key, &count);
        }
    }

    /// Adds a frame of XDP that the kernel program has noted and not counted yet, or takes it out again; but not to `hits`.
    pub(super) fn add_noted(&mut self, note: &XdpNote, clock: Ticks, is_out: bool, max_rows: usize) {
        let packets = if is_out { u64::MAX } else { 1 };
        let counters = &mut self.counters;
        match note.verdict {
            NOTED_FILTERED => return counters.filtered = counters.filtered.wrapping_add(packets),
            NOTED_UNDECIDED => counters.unknown_netns = counters.unknown_netns.wrapping_add(packets),
            _ => {}
        }
        let times = DropCount { packets, bytes: 0, first_ticks: low(note.ticks), last_ticks: low(note.ticks) };
        self.add(note.key, clock.dated(&times, note.ticks), || note.names, max_rows);
    }

    /// Called when a reading is complete. Frames that are taken out again ([`Totals::add_noted`]) may leave empty rows,
    /// and rows below 0, which are subtracted from the drops that were counted by reason.
    pub(super) fn settle(&mut self) {
        let below_zero: Vec<_> =
            self.counts.extract_if(|_, count| count.packets == 0 || count.packets.cast_signed() < 0).collect();
        for (key, count) in below_zero {
            self.add_beyond(&key, &count);
        }
    }

    fn add_beyond(&mut self, key: &DropKey, count: &Count) {
        let reason = Some(key.overflow_reason()).filter(|reason| *reason != tracer_common::REASON_ABSENT);
        self.add_overflow(reason, OverflowCount { packets: count.packets, bytes: count.bytes });
    }

    pub(super) fn add_overflow(&mut self, reason: Option<u32>, count: OverflowCount) {
        if count.packets == 0 {
            return;
        }
        let sum = self.overflow.entry(reason).or_default();
        sum.packets = sum.packets.wrapping_add(count.packets);
        sum.bytes = sum.bytes.wrapping_add(count.bytes);
        if sum.packets == 0 {
            self.overflow.remove(&reason);
        }
        self.counters.overflow = self.counters.overflow.wrapping_add(count.packets);
    }

    /// Adds one CPU's counters except `overflow`, which [`Totals::add_overflow`] counts by reason.
    pub(super) fn add_counters(&mut self, cpu: &Counters) {
        let sum = &mut self.counters;
        let Counters { filtered, unknown_netns, overflow: _, offered, .. } = cpu;
        let Counters { submitted, suppressed, ring_full, unreadable, .. } = cpu;
        sum.filtered += filtered;
        sum.unknown_netns += unknown_netns;
        sum.offered += offered;
        sum.submitted += submitted;
        sum.suppressed += suppressed;
        sum.ring_full += ring_full;
        sum.unreadable += unreadable;
    }
}

/// The kernel's timer against its monotonic clock, read at one point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    /// `jiffies64`.
    pub(super) jiffies: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) ns: u64,
    /// Nanoseconds of a tick.
    pub(super) tick_ns: u32,
}

impl Ticks {
    /// The time of the low 32 bits `ticks`, which are not after `latest`: of one CPU and one generation, which is short.
    fn at(&self, ticks: u32, latest: u64) -> u64 {
        let before = low(latest).wrapping_sub(ticks);
        let behind = i128::from(self.jiffies) - (i128::from(latest) - i128::from(before));
        let ns = i128::from(self.ns) - behind * i128::from(self.tick_ns);
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }

    /// The count of one CPU with times; `latest` is [`tracer_common::CpuState::ticks`] of that CPU.
    pub(super) fn dated(&self, count: &DropCount, latest: u64) -> Count {
        Count {
            packets: count.packets,
            bytes: count.bytes,
            first_ns: self.at(count.first_ticks, latest),
            last_ns: self.at(count.last_ticks, latest),
            names: KeyNames::default(),
        }
    }
}

/// The low 32 bits of `jiffies64`.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
const fn low(ticks: u64) -> u32 {
    ticks as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Ticks = Ticks { jiffies: 0x1_0000_0010, ns: 1_000_000, tick_ns: 100 };

    fn count(packets: u64, first_ns: u64, last_ns: u64) -> Count {
        Count { packets, bytes: packets * 10, first_ns, last_ns, names: KeyNames::default() }
    }

    #[test]
    fn counts_of_cpus_are_merged() {
        let key = DropKey { location: 1, ..DropKey::default() };
        let mut totals = Totals::default();
        totals.add(key, count(2, 500, 700), KeyNames::default, 10);
        totals.add(key, count(1, 400, 400), KeyNames::default, 10);
        assert_eq!(totals.counts[&key], count(3, 400, 700));
        assert_eq!(totals.accounted(), 3);
    }

    #[test]
    fn beyond_the_most_rows_the_sum_by_reason_is_exact() {
        let mut totals = Totals::default();
        for location in 0..5 {
            totals.add(DropKey { location, reason: 6, ..DropKey::default() }, count(2, 1, 1), KeyNames::default, 3);
        }
        totals.add(DropKey { location: 0, reason: 6, ..DropKey::default() }, count(7, 1, 1), KeyNames::default, 3);
        assert_eq!(totals.accounted(), 13);
        assert_eq!(totals.overflow[&Some(6)], OverflowCount { packets: 4, bytes: 40 });
        assert_eq!(totals.counters.overflow, 4);
    }

    /// A frame of XDP on one of two interfaces.
    fn noted(ifindex: u32) -> XdpNote {
        let key = DropKey { kind: tracer_common::KIND_XDP, ifindex, ..DropKey::default() };
        XdpNote { ticks: CLOCK.jiffies, key, ..XdpNote::default() }
    }

    #[test]
    fn a_noted_frame_that_is_taken_out_again_leaves_no_row() {
        let mut totals = Totals::default();
        for (is_out, left) in [(false, 1), (true, 0)] {
            totals.add_noted(&noted(1), CLOCK, is_out, 10);
            totals.settle();
            assert_eq!((totals.accounted(), totals.counts.is_empty()), (left, is_out));
        }
        assert!(totals.overflow.is_empty());
    }

    #[test]
    fn noted_frames_that_were_counted_by_reason_are_taken_out_there() {
        let mut totals = Totals::default();
        totals.add_noted(&noted(1), CLOCK, false, 1);
        totals.add_noted(&noted(2), CLOCK, false, 1);
        totals.add_noted(&noted(2), CLOCK, false, 1);
        totals.add_noted(&noted(1), CLOCK, true, 1);
        totals.settle();
        totals.add_noted(&noted(2), CLOCK, true, 1);
        totals.settle();
        assert_eq!(totals.overflow[&None], OverflowCount { packets: 1, bytes: 0 });
        assert_eq!((totals.accounted(), totals.counters.overflow), (0, 1));
    }

    #[test]
    fn noted_frames_that_are_filtered_are_no_drops() {
        let mut totals = Totals::default();
        totals.add_noted(&XdpNote { verdict: NOTED_FILTERED, ..noted(1) }, CLOCK, false, 10);
        assert_eq!((totals.counters.filtered, totals.accounted()), (1, 0));
    }

    #[test]
    fn ticks_are_dated_across_the_wrap_of_their_low_bits() {
        assert_eq!(CLOCK.at(0x10, 0x1_0000_0010), 1_000_000);
        assert_eq!(CLOCK.at(0x0e, 0x1_0000_0010), 999_800);
        assert_eq!(CLOCK.at(0xffff_ffff, 0x1_0000_0010), 1_000_000 - 17 * 100);
        assert_eq!(CLOCK.at(0x12, 0x1_0000_0012), 1_000_200);
        assert_eq!(Ticks { ns: 5, ..CLOCK }.at(0, 0x1_0000_0010), 0);
    }
}
