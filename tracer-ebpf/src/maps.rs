//! The maps. Userspace sets the sizes that depend on options before loading.
//!
//! The counts exist in two generations: elements 0 and 1 of [`COUNTS`], halves of [`OVERFLOW`], and the pairs of
//! hashes. [`GENERATION`] selects the current one. Userspace changes it, waits until no program can still use the other
//! one, and then reads and clears that one.

use core::cell::UnsafeCell;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use tracer_common::{
    Counts, CpuState, DropCount, DropKey, FlowBucket, FlowKey, FlowTable, GENERATIONS, KeyNames, NamespaceAnswer,
    OVERFLOW_SLOTS, OverflowCount, RefusedSyn, SiteBucket, SiteKey, SynState, Table, TrapNames,
};

/// The state of each CPU: one element.
#[map]
pub(crate) static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// The current generation, 0 or 1: the only variable of the section `.bss`, which the kernel makes a map of. Its
/// address is in the program, so that no look-up is needed.
#[unsafe(no_mangle)]
pub(crate) static GENERATION: Variable = Variable(UnsafeCell::new(0));

/// A number that userspace changes while programs run.
pub(crate) struct Variable(UnsafeCell<u32>);

// SAFETY: this program only reads it, with one load.
unsafe impl Sync for Variable {}

impl Variable {
    #[inline(always)]
    pub(crate) fn read(&self) -> u32 {
        // SAFETY: volatile, because it changes at any time.
        unsafe { self.0.get().read_volatile() }
    }
}

/// Counters and cache of each CPU: one element for each generation.
#[map]
pub(crate) static COUNTS: PerCpuArray<Counts> = PerCpuArray::with_max_entries(GENERATIONS, 0);

/// Slots of each CPU for keys whose cache slot belongs to another key: the tables of one generation, then those of the
/// other.
#[map]
pub(crate) static TABLES: PerCpuArray<Table> = PerCpuArray::with_max_entries(1, 0);

/// Counts of the keys that found no slot.
#[map]
pub(crate) static DROPS_0: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(8192, 0);
/// As [`DROPS_0`], of the other generation.
#[map]
pub(crate) static DROPS_1: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(8192, 0);

/// Names by [`DropKey::names_key`], stored at the first drop of a key in the generation; names that differ, by the key.
#[map]
pub(crate) static NAMES_0: HashMap<DropKey, KeyNames> = HashMap::with_max_entries(8192, 0);
/// As [`NAMES_0`], of the other generation.
#[map]
pub(crate) static NAMES_1: HashMap<DropKey, KeyNames> = HashMap::with_max_entries(8192, 0);

/// Counts by reason of the keys for which the hash was full: the slots of one generation, then those of the other.
#[map]
pub(crate) static OVERFLOW: PerCpuArray<OverflowCount> = PerCpuArray::with_max_entries(GENERATIONS * OVERFLOW_SLOTS, 0);

/// Names of devlink traps, by the address of the trap's name.
#[map]
pub(crate) static TRAP_NAMES: HashMap<u64, TrapNames> = HashMap::with_max_entries(1024, 0);

/// Slots of each CPU for flows: the tables of one generation, then those of the other.
#[map]
pub(crate) static FLOW_SLOTS: PerCpuArray<FlowTable> = PerCpuArray::with_max_entries(1, 0);

/// Token buckets of the drop sites; the least used ones are evicted.
#[map]
pub(crate) static SITES: LruPerCpuHashMap<SiteKey, SiteBucket> = LruPerCpuHashMap::with_max_entries(1024, 0);

/// Token buckets of the flows at each drop site; the least used ones are evicted.
#[map]
pub(crate) static FLOWS: LruPerCpuHashMap<FlowKey, FlowBucket> = LruPerCpuHashMap::with_max_entries(4096, 0);

/// Records of single drops.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Dropped segments of TCP, and retransmissions.
#[map]
pub(crate) static SEGMENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The state of each CPU while it answers a SYN: one element.
#[map]
pub(crate) static SYN: PerCpuArray<SynState> = PerCpuArray::with_max_entries(1, 0);

/// Refused SYNs. Nothing is ever taken out.
#[map]
pub(crate) static REFUSED: HashMap<RefusedSyn, u64> = HashMap::with_max_entries(1, 0);

/// The refused SYNs that found no room in [`REFUSED`], without the address that sent them.
#[map]
pub(crate) static REFUSED_OTHERS: HashMap<RefusedSyn, u64> = HashMap::with_max_entries(1, 0);

/// The answer of [`crate::namespace`]: one element.
#[map]
pub(crate) static NAMESPACE: Array<NamespaceAnswer> = Array::with_max_entries(1, 0);
