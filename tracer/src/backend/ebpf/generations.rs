//! Reads the kernel's counters. droptrace reads and clears one generation while the programs count into the other one,
//! so that each reading is exact while drops go on, and keys need room for the time between two readings only.
//!
//! Three orders make that right on processors that let others see stores in another order than the program's, as arm64 does:
//!
//! * After the grace period all stores of programs into the idle generation are seen here. A grace period is a full barrier
//!   for both sides (`Documentation/RCU/Design/Requirements/Requirements.rst`, memory barrier guarantees), and a program
//!   that begins after it sees the new number.
//! * The zeros that clear a generation are seen before its number is: a fence is between them ([`Generations::change`]). On
//!   the program's side the number is a part of the addresses of counts and tables, and no processor reads from an address
//!   that it does not have yet. Hashes are chosen by a branch, before whose outcome a processor may read, but by less than a
//!   microsecond: a grace period and the pause between two readings are thousands of times that long.
//! * Each CPU has counts and guard of its own (`tracer-ebpf/src/guard.rs`), and a CPU sees its own stores in their order.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use tracer_common::{
    CacheSlot, CodeRange, Config, Counts, CpuState, DropCount, DropKey, GENERATIONS, KeyNames, MOST_NOTED_NS,
    OVERFLOW_SLOTS, OverflowCount, SegmentCounts, SiteBucket, SiteKey, Table, TrapNames, UDP_QUEUES, XdpNote,
    overflow_reason,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::Error;
use super::flows::Flows;
use super::sys::{GracePeriod, RawMap};
use super::totals::{Ticks, Totals};
use crate::kernel::clock::thread_time;

/// The maps of one generation.
struct Generation {
    drops: RawMap,
    names: RawMap,
}

/// The maps that the programs count into.
pub(super) struct Generations {
    current: u32,
    generation: RawMap,
    state: RawMap,
    counts: RawMap,
    tables: RawMap,
    overflow: RawMap,
    each: [Generation; GENERATIONS as usize],
    /// Absent if flows are not counted.
    flows: Option<Flows>,
    traps: RawMap,
    sites: RawMap,
    grace: GracePeriod,
    cpus: usize,
    clock: Ticks,
    max_rows: usize,
    /// Hits of the programs in each generation up to its last reading.
    hits: [u64; GENERATIONS as usize],
    /// Bits of the tables of each generation that are still to be read.
    used_tables: [u64; GENERATIONS as usize],
    /// Whether the overflow of each generation is still to be read.
    has_overflow: [bool; GENERATIONS as usize],
    /// Number of tables of a generation.
    table_count: u32,
    /// Notes of the programs of each CPU.
    notes: Vec<Noted>,
    /// The buffer of one look-up of all CPUs' counts, and as many zeros. Both are kept, because they are large.
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

impl Generations {
    /// Opens the maps; `map` returns the map of a name.
    pub(super) fn open(
        map: impl Fn(&'static str) -> Result<OwnedFd, Error>,
        cpus: usize,
        config: &Config,
        clock: Ticks,
        max_rows: usize,
    ) -> Result<Self, Error> {
        let each_cpu =
            |name, key_size, value_size: usize| Ok::<_, Error>(RawMap::new(map(name)?, key_size, value_size * cpus));
        let generation = |drops, names| {
            Ok::<_, Error>(Generation {
                drops: each_cpu(drops, size_of::<DropKey>(), size_of::<DropCount>())?,
                names: RawMap::new(map(names)?, size_of::<DropKey>(), size_of::<KeyNames>()),
            })
        };
        Ok(Self {
            current: 0,
            generation: RawMap::new(map(".bss")?, size_of::<u32>(), size_of::<u32>()),
            state: each_cpu("CPU_STATE", size_of::<u32>(), size_of::<CpuState>())?,
            counts: each_cpu("COUNTS", size_of::<u32>(), size_of::<Counts>())?,
            tables: each_cpu("TABLES", size_of::<u32>(), size_of::<Table>())?,
            overflow: each_cpu("OVERFLOW", size_of::<u32>(), size_of::<OverflowCount>())?,
            each: [generation("DROPS_0", "NAMES_0")?, generation("DROPS_1", "NAMES_1")?],
            flows: (config.flows != 0).then(|| map("FLOW_SLOTS")).transpose()?.map(|map| Flows::open(map, cpus)),
            traps: RawMap::new(map("TRAP_NAMES")?, size_of::<u64>(), size_of::<TrapNames>()),
            sites: each_cpu("SITES", size_of::<SiteKey>(), size_of::<SiteBucket>())?,
            grace: GracePeriod::new().map_err(|source| Error::Read { what: "a map of maps", source })?,
            cpus,
            clock,
            max_rows,
            hits: [0; GENERATIONS as usize],
            used_tables: [0; GENERATIONS as usize],
            has_overflow: [false; GENERATIONS as usize],
            table_count: config.tables,
            notes: vec![Noted::default(); cpus],
            buffer: vec![0; size_of::<Counts>() * cpus],
            zeros: vec![0; size_of::<Counts>() * cpus],
        })
    }

    /// Adds all drops that were counted up to now. The call takes a grace period, which is some milliseconds, and the
    /// time of the reading.
    pub(super) fn read_into(&mut self, totals: &mut Totals) -> io::Result<()> {
        let idle = self.change()?;
        self.grace.wait()?;
        let before = thread_time();
        let states = self.states()?;
        self.drain(idle, &states, totals)?;
        self.count_notes(&[usize::from(idle != 0)], false, &states, totals);
        self.read_state(&states, totals)?;
        let taken = thread_time().saturating_sub(before);
        tracing::debug!("a reading took {taken:?} of CPU time, without the grace period");
        Ok(())
    }

    /// Lets programs count into the other generation; returns the one that they counted into.
    fn change(&mut self) -> io::Result<u32> {
        let idle = self.current;
        self.current = 1 - idle;
        // The kernel stored the zeros on behalf of this thread, so that a fence of this thread orders them.
        fence(Ordering::Release);
        self.generation.update(&0_u32.to_ne_bytes(), &self.current.to_ne_bytes())?;
        Ok(idle)
    }

    /// See [`Generations::read_into`]; for programs that are detached: their last runs end before the reading begins.
    pub(super) fn read_last_into(&mut self, totals: &mut Totals) -> io::Result<()> {
        self.grace.wait()?;
        let states = self.states()?;
        // An error of one generation does not keep the other from being read.
        let drained = [0, 1].map(|generation| self.drain(generation, &states, totals));
        drained.into_iter().collect::<io::Result<()>>()?;
        self.count_notes(&[0, 1], true, &states, totals);
        self.read_state(&states, totals)
    }

    /// Counts the noted frames that `kfree_skb` cannot report any more, until a program counts them: on a CPU without
    /// further drops, no program would. `drained` are the generations that were just read.
    fn count_notes(&mut self, drained: &[usize], is_last: bool, states: &[CpuState], totals: &mut Totals) {
        let Self { notes, clock, max_rows, .. } = self;
        for (noted, state) in notes.iter_mut().zip(states) {
            if noted.is_counted && drained.iter().any(|at| state.hits[*at] != noted.hits[*at]) {
                totals.add_noted(&noted.note, *clock, true, *max_rows);
                noted.is_counted = false;
            }
            if !noted.is_counted && (noted.is_past(state) || is_last) && state.xdp.device != 0 {
                totals.add_noted(&state.xdp, *clock, false, *max_rows);
                noted.is_counted = true;
            }
        }
        totals.hits += notes.iter().filter(|noted| noted.is_counted).count() as u64;
        totals.settle();
    }

    /// Reads and clears one generation, which no program uses.
    fn drain(&mut self, index: u32, states: &[CpuState], totals: &mut Totals) -> io::Result<()> {
        let names = self.drain_names(index)?;
        let mut sums = Sums { clock: self.clock, names: &names, totals, max_rows: self.max_rows };
        self.drain_counts(index, states, &mut sums)?;
        self.drain_overflow(index, sums.totals)?;
        self.drain_tables(index, states, &mut sums)?;
        if let Some(flows) = &mut self.flows {
            flows.drain(index, states, self.clock, self.max_rows, sums.totals)?;
        }
        self.generation(index).drops.drain(|key, values| {
            let Ok(key) = DropKey::read_from_bytes(key) else { return };
            per_cpu(values).zip(states).for_each(|(count, state)| sums.add(key, &count, state));
        })
    }

    const fn generation(&self, index: u32) -> &Generation {
        &self.each[(index != 0) as usize]
    }

    fn drain_names(&self, index: u32) -> io::Result<Names> {
        let mut names = Names::default();
        self.generation(index).names.drain(|key, value| {
            if let (Ok(key), Ok(value)) = (DropKey::read_from_bytes(key), KeyNames::read_from_bytes(value)) {
                names.insert(key, value);
            }
        })?;
        Ok(names)
    }

    /// Reads the cache's slots and the programs' counters.
    fn drain_counts(&mut self, index: u32, states: &[CpuState], sums: &mut Sums<'_>) -> io::Result<()> {
        let Self { counts, hits, buffer, zeros, .. } = self;
        counts.lookup(&index.to_ne_bytes(), buffer)?;
        // Cleared before the sum is made, so that no count is added twice whatever fails below.
        counts.update(&index.to_ne_bytes(), zeros)?;
        let at = usize::from(index != 0);
        hits[at] = states.iter().map(|state| state.hits[at]).sum();
        sums.totals.hits = hits.iter().sum();
        for (bytes, state) in buffer.chunks_exact(size_of::<Counts>()).zip(states) {
            let Ok(cpu) = Counts::read_from_bytes(bytes) else { continue };
            cpu.slots.iter().for_each(|slot| sums.add(slot.key, &slot.count, state));
            sums.totals.add_counters(&cpu.counters);
            self.has_overflow[at] |= cpu.counters.overflow > 0;
            self.used_tables[at] |= cpu.counters.tables;
        }
        Ok(())
    }

    /// Reads the tables that have keys. One key on any CPU causes one table of all CPUs to be read.
    fn drain_tables(&mut self, index: u32, states: &[CpuState], sums: &mut Sums<'_>) -> io::Result<()> {
        let Self { tables, buffer, zeros, used_tables, table_count, cpus, .. } = self;
        let used = &mut used_tables[usize::from(index != 0)];
        let size = size_of::<Table>() * *cpus;
        let (buffer, zeros) = (&mut buffer[..size], &zeros[..size]);
        while *used != 0 {
            let key = (index * *table_count + used.trailing_zeros()).to_ne_bytes();
            tables.lookup(&key, buffer)?;
            tables.update(&key, zeros)?;
            *used &= *used - 1;
            for (bytes, state) in buffer.chunks_exact(size_of::<Table>()).zip(states) {
                per_cpu::<CacheSlot>(bytes).for_each(|slot| sums.add(slot.key, &slot.count, state));
            }
        }
        Ok(())
    }

    /// Reads the drops whose keys found no room, by drop reason.
    fn drain_overflow(&mut self, generation: u32, totals: &mut Totals) -> io::Result<()> {
        let has_overflow = &mut self.has_overflow[usize::from(generation != 0)];
        if !*has_overflow {
            return Ok(());
        }
        let zeros = vec![0; size_of::<OverflowCount>() * self.cpus];
        let mut values = zeros.clone();
        for slot in 0..OVERFLOW_SLOTS {
            let key = (generation * OVERFLOW_SLOTS + slot).to_ne_bytes();
            self.overflow.lookup(&key, &mut values)?;
            let mut sum = OverflowCount::default();
            for count in per_cpu::<OverflowCount>(&values) {
                sum.packets += count.packets;
                sum.bytes += count.bytes;
            }
            if sum.packets > 0 {
                // Cleared first, as in `drain_counts`.
                self.overflow.update(&key, &zeros)?;
                totals.add_overflow(overflow_reason(slot), sum);
            }
        }
        *has_overflow = false;
        Ok(())
    }

    /// Records that the sampler held back, by drop site, over all CPUs. The least used sites make room for new ones,
    /// and the counts of the old sites are lost.
    pub(super) fn held_back(&self) -> io::Result<Vec<(SiteKey, u64)>> {
        let mut sites = Vec::new();
        self.sites.each(|key, values| {
            let suppressed = per_cpu::<SiteBucket>(values).map(|bucket| bucket.suppressed).sum();
            if let (Ok(key), 1..) = (SiteKey::read_from_bytes(key), suppressed) {
                sites.push((key, suppressed));
            }
        })?;
        sites.sort_unstable_by_key(|(_, suppressed)| std::cmp::Reverse(*suppressed));
        Ok(sites)
    }

    /// Reads the counters that belong to no generation, and only grow.
    fn read_state(&self, states: &[CpuState], totals: &mut Totals) -> io::Result<()> {
        totals.nested = states.iter().map(|state| state.nested).sum();
        totals.qdisc_unmatched = states.iter().map(|state| state.qdisc.unmatched).sum();
        totals.segments = SegmentCounts::default();
        for counts in states.iter().map(|state| state.segments) {
            totals.segments.add(counts);
        }
        let locations: Vec<u64> = totals
            .counts
            .keys()
            .filter(|key| key.kind == tracer_common::KIND_TRAP && !totals.traps.contains_key(&key.location))
            .map(|key| key.location)
            .collect();
        for location in locations {
            let mut names = TrapNames::new_zeroed();
            if self.traps.lookup(&location.to_ne_bytes(), names.as_mut_bytes())? {
                totals.traps.insert(location, names);
            }
        }
        Ok(())
    }

    /// The names of a devlink trap.
    pub(super) fn trap(&self, location: u64) -> Option<TrapNames> {
        let mut names = TrapNames::new_zeroed();
        self.traps.lookup(&location.to_ne_bytes(), names.as_mut_bytes()).ok()?.then_some(names)
    }

    /// The state of each CPU. Read after a grace period, the state includes all that the programs did in the idle
    /// generation.
    fn states(&self) -> io::Result<Vec<CpuState>> {
        let mut states = vec![0; size_of::<CpuState>() * self.cpus];
        self.state.lookup(&0_u32.to_ne_bytes(), &mut states)?;
        Ok(per_cpu(&states).collect())
    }

    /// Writes, before the programs are attached, the address by which they recognise namespaces, the wanted namespace,
    /// and where UDP drops packets that it cannot queue.
    pub(super) fn set_state(
        &self,
        netns_ops: u64,
        wanted_netns: u64,
        udp_queues: &[CodeRange; UDP_QUEUES],
    ) -> io::Result<()> {
        let mut states = self.states()?;
        for state in &mut states {
            (state.netns_ops, state.wanted_netns, state.udp_queues) = (netns_ops, wanted_netns, *udp_queues);
        }
        self.state.update(&0_u32.to_ne_bytes(), states.as_bytes())
    }
}

/// Notes of the programs of one CPU at a reading. The next run there that counts a drop counts or forgets the note.
#[derive(Clone)]
struct Noted {
    note: XdpNote,
    /// [`CpuState::hits`] at that time.
    hits: [u64; GENERATIONS as usize],
    since: Instant,
    /// The totals include the frame, until a program's count replaces it: that count is in the generation in which
    /// this CPU's drops increase.
    is_counted: bool,
}

impl Noted {
    /// Whether `state` has had its note for so long that `kfree_skb` cannot report the frame. A CPU's state is read
    /// while programs change it, so only values that are the same in two readings count.
    fn is_past(&mut self, state: &CpuState) -> bool {
        if self.note != state.xdp || self.hits != state.hits {
            *self = Self { note: state.xdp, hits: state.hits, ..Self::default() };
        }
        self.since.elapsed() > Duration::from_nanos(2 * MOST_NOTED_NS)
    }
}

impl Default for Noted {
    fn default() -> Self {
        Self { note: XdpNote::default(), hits: [0; GENERATIONS as usize], since: Instant::now(), is_counted: false }
    }
}

/// Names that were known at the first drop of a key, by [`DropKey::names_key`]; those that differ, by the key.
type Names = HashMap<DropKey, KeyNames, RandomState>;

/// The sums of a generation's counts.
struct Sums<'r> {
    clock: Ticks,
    names: &'r Names,
    totals: &'r mut Totals,
    max_rows: usize,
}

impl Sums<'_> {
    /// Adds one CPU's counts of a key.
    fn add(&mut self, key: DropKey, count: &DropCount, state: &CpuState) {
        if count.packets > 0 {
            let names =
                || self.names.get(&key).or_else(|| self.names.get(&key.names_key())).copied().unwrap_or_default();
            self.totals.add(key, self.clock.dated(count, state.ticks), names, self.max_rows);
        }
    }
}

/// The values of all CPUs in the result of a look-up of a per-CPU map.
fn per_cpu<T: FromBytes>(values: &[u8]) -> impl Iterator<Item = T> {
    const { assert!(size_of::<T>().is_multiple_of(8), "the kernel pads the values of a per-CPU map to 8 bytes") };
    values.chunks_exact(size_of::<T>()).filter_map(|value| T::read_from_bytes(value).ok())
}
