//! The maps. Userspace sets the sizes that depend on options before loading.
//!
//! The accounting plane exists in two generations: elements 0 and 1 of [`COUNTS`], halves of [`OVERFLOW`], and the pairs
//! of hashes. [`GENERATION`] says which one is counted into. Userspace changes it, waits until no program can still use
//! the other one, and then reads and clears that one.

use core::cell::UnsafeCell;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use tracer_common::{
    Counts, CpuState, DropCount, DropKey, FlowBucket, FlowKey, GENERATIONS, NamespaceAnswer, OVERFLOW_SLOTS,
    OverflowCount, PlaceNames, SiteBucket, SiteKey, Table, TrapNames,
};

/// What each CPU keeps: one element.
#[map]
pub(crate) static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// The generation that is counted into, 0 or 1: the only variable of the section `.bss`, which the kernel has as a map. Its
/// address stands in the program; nothing has to be looked up.
#[unsafe(no_mangle)]
pub(crate) static GENERATION: Variable = Variable(UnsafeCell::new(0));

/// A number that userspace changes while programs run.
pub(crate) struct Variable(UnsafeCell<u32>);

// SAFETY: it is only read here, by one load.
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

/// Slots of each CPU for keys that found theirs of the cache taken: so many tables of one generation, then those of the
/// other.
#[map]
pub(crate) static TABLES: PerCpuArray<Table> = PerCpuArray::with_max_entries(1, 0);

/// Counts of the keys that found no slot.
#[map]
pub(crate) static DROPS_0: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(8192, 0);
/// As [`DROPS_0`], of the other generation.
#[map]
pub(crate) static DROPS_1: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(8192, 0);

/// Names that belong to a key, taken at its first drop in the generation.
#[map]
pub(crate) static PLACES_0: HashMap<DropKey, PlaceNames> = HashMap::with_max_entries(8192, 0);
/// As [`PLACES_0`], of the other generation.
#[map]
pub(crate) static PLACES_1: HashMap<DropKey, PlaceNames> = HashMap::with_max_entries(8192, 0);

/// Counts by reason of the keys that found the hash full: the slots of one generation, then those of the other.
#[map]
pub(crate) static OVERFLOW: PerCpuArray<OverflowCount> = PerCpuArray::with_max_entries(GENERATIONS * OVERFLOW_SLOTS, 0);

/// Names of devlink traps, by the address of the trap's name.
#[map]
pub(crate) static TRAP_NAMES: HashMap<u64, TrapNames> = HashMap::with_max_entries(1024, 0);

/// Bounds on the records of each site; the least used make room.
#[map]
pub(crate) static SITES: LruPerCpuHashMap<SiteKey, SiteBucket> = LruPerCpuHashMap::with_max_entries(1024, 0);

/// Bounds on the records of each flow at a site; the least used make room.
#[map]
pub(crate) static FLOWS: LruPerCpuHashMap<FlowKey, FlowBucket> = LruPerCpuHashMap::with_max_entries(4096, 0);

/// Records of single drops.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// What [`crate::namespace`] answers: one element.
#[map]
pub(crate) static NAMESPACE: Array<NamespaceAnswer> = Array::with_max_entries(1, 0);
