//! The maps. Userspace sets the sizes that depend on options before loading.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use tracer_common::{
    Bucket, BucketKey, CpuState, DropCount, DropKey, HardwareState, InterfaceKey, InterfaceName, OVERFLOW_SLOTS,
    OverflowCount, TrapKey,
};

/// Counters and cache of each CPU: one element.
#[map]
pub(crate) static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// Counts of the keys that found their slot of the cache taken.
#[map]
pub(crate) static DROPS: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(8192, 0);

/// Counts by reason of the keys that found [`DROPS`] full.
#[map]
pub(crate) static OVERFLOW: PerCpuArray<OverflowCount> = PerCpuArray::with_max_entries(OVERFLOW_SLOTS, 0);

/// Counts of hardware drops.
#[map]
pub(crate) static TRAPS: PerCpuHashMap<TrapKey, DropCount> = PerCpuHashMap::with_max_entries(1024, 0);

/// Counters of hardware drops of each CPU: one element.
#[map]
pub(crate) static HARDWARE: PerCpuArray<HardwareState> = PerCpuArray::with_max_entries(1, 0);

/// Names of the interfaces that dropped, taken at their first drop: they may be gone when somebody asks.
#[map]
pub(crate) static INTERFACES: HashMap<InterfaceKey, InterfaceName> = HashMap::with_max_entries(1024, 0);

/// Bounds on records for each place and reason; the least used make room.
#[map]
pub(crate) static BUCKETS: LruPerCpuHashMap<BucketKey, Bucket> = LruPerCpuHashMap::with_max_entries(1024, 0);

/// Records of single drops.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(4096, 0);
