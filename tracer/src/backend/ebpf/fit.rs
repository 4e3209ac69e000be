//! Writes the properties of this kernel into the kernel program before it is loaded.

use std::io;

use tracer_common::{
    BYTES_CAST, BYTES_NONE, CACHE_SLOTS, CGROUPS_COUNTED, CGROUPS_FILTERED, Config, FLOW_TABLES, GENERATIONS,
    MAX_SNAPLEN, MOST_TABLES, READ_PLAIN, REASON_ABSENT, UDP_RECEIVERS_UNKNOWN,
};

use super::feature::Features;
use super::loader::{Fitting, Loader};
use super::probe::QDISC_DROP;
use super::{Error, Mode, Options, filter, refused};
use crate::kernel::btf::KernelBtf;

/// The ring buffer of records, and that of the program's own log.
pub(super) const RECORDS: &str = "RECORDS";
/// The ring buffer of dropped segments and retransmissions, and its size in bytes: more than 25,000 records.
pub(super) const SEGMENTS: &str = "SEGMENTS";
const SEGMENT_ROOM: u32 = 4 << 20;
const LOG: &str = "AYA_LOGS";

/// No pointer of the kernel is below this address, with any number of levels of page tables. A value below it belongs to
/// another member of the pointer's union: the most significant byte of `dev_scratch` is a flag, 0 or 1 (`struct
/// udp_dev_scratch`, `include/net/udp.h`).
///
/// On x86 the kernel has the upper half of the addresses, of which `arch/x86/include/asm/page_64_types.h` uses the end.
/// On arm64 its own addresses begin at `0xfff0…` or above, but pointers to memory that KASAN tags with the help of the
/// processor have a tag of `0xf0` or more in that byte (`KASAN_TAG_MIN`, `include/linux/kasan-tags.h`). Kernels that
/// tag without its help, which are for debugging, use all tags: there an interface whose tag is below is unknown.
const KERNEL_SPACE: u64 = if cfg!(target_arch = "aarch64") { 0xf000_0000_0000_0000 } else { 0xff00_0000_0000_0000 };

/// Upper bound of the default number of aggregation keys.
const MOST_ROOM: u32 = 8192;
const LEAST_ROOM: u32 = 1024;

/// `aya-log`'s levels that log nothing, and all messages of the program.
const LOG_NOTHING: u8 = 0;
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;
/// `skb->pkt_type` of copies of sent packets (`include/uapi/linux/if_packet.h`).
const PACKET_OUTGOING: u32 = 4;

/// The configuration that userspace writes into the program, but for [`Config::udp_receivers`].
pub(super) fn config(options: &Options, btf: &KernelBtf, features: &Features, tick_ns: u32) -> Result<Config, Error> {
    let tracepoint = btf.tracepoint()?;
    let events = options.events.as_ref();
    let value_of = |enumeration, name| {
        let values = btf.enumerators(enumeration).into_iter();
        values.filter(|(known, _)| known == name).find_map(|(_, value)| u32::try_from(value).ok())
    };
    let general = if QDISC_DROP.exists(btf) { value_of("skb_drop_reason", "SKB_DROP_REASON_QDISC_DROP") } else { None };
    let reason = |name| value_of("skb_drop_reason", name).filter(|_| tracepoint.has_reason).unwrap_or(REASON_ABSENT);
    let (pkt_type_lowest, pkt_type_mask) = btf.pkt_type_mask();
    Ok(Config {
        kernel_space: KERNEL_SPACE,
        offsets: btf.offsets()?,
        types: features.types,
        reads: match features.reads() {
            Some(reads) => reads,
            // The helper can read all memory, so the features do not matter.
            None if options.mode == Mode::RawTracepoint => READ_PLAIN,
            None => return Err(Error::Unreadable),
        },
        bytes: features.bytes(),
        may_probe: features.may_probe.into(),
        absent_reason: if tracepoint.has_reason { 0 } else { REASON_ABSENT },
        tick_ns,
        events: events.is_some().into(),
        snaplen: captured(options, features),
        rate: events.map_or(0, |events| events.rate),
        // A quarter leaves the reader time to read while the rest fills.
        wakeup_bytes: events.map_or(0, |events| events.ring_size / 4),
        filters_netns: options.netns.is_some().into(),
        ifindex: options.ifindex,
        cache_mask: cache_slots(options.map_entries) - 1,
        cgroups: cgroups(options),
        flows: options.flows,
        tables: tables(options.map_entries),
        udp_receivers: UDP_RECEIVERS_UNKNOWN,
        stacks: events.is_some_and(|events| events.stacks).into(),
        sample_mask: events.map_or(0, |events| events.one_in.saturating_sub(1)),
        filter: options.filter.as_deref().map_or(0, filter::needs),
        sock_kernel_mask: btf.sock_kernel_mask(),
        retransmits: options.retransmits.into(),
        log: options.kernel_log.into(),
        qdisc_reason: general.unwrap_or(0),
        unspecified_reason: reason("SKB_DROP_REASON_NOT_SPECIFIED"),
        xdp_reason: reason("SKB_DROP_REASON_XDP"),
        // No type has the greatest number.
        trap_control: value_of("devlink_trap_type", "DEVLINK_TRAP_TYPE_CONTROL").unwrap_or(u32::MAX),
        vlan_present_mask: btf.vlan_present_mask(),
        pkt_type_mask,
        pkt_type_outgoing: if pkt_type_mask == 0 { u32::MAX } else { PACKET_OUTGOING * pkt_type_lowest },
    })
}

/// One of the `CGROUPS_*` values, or 0 if nothing asks for control groups.
fn cgroups(options: &Options) -> u32 {
    if options.cgroups {
        CGROUPS_COUNTED
    } else if options.filter.as_deref().is_some_and(filter::asks_cgroups) {
        CGROUPS_FILTERED
    } else {
        0
    }
}

/// Leading bytes of each packet: without the helper, the program reads them by words.
fn captured(options: &Options, features: &Features) -> u32 {
    let snaplen = options.events.as_ref().map_or(0, |events| events.snaplen);
    match features.bytes() {
        BYTES_NONE => 0,
        BYTES_CAST => snaplen.next_multiple_of(8).min(MAX_SNAPLEN),
        _ => snaplen,
    }
}

/// Number of cache slots for so many aggregation keys: few slots where few keys are wanted.
fn cache_slots(map_entries: u32) -> u32 {
    let most = u32::try_from(CACHE_SLOTS).unwrap_or(u32::MAX);
    map_entries.checked_ilog2().map_or(1, |bits| 1 << bits).min(most)
}

/// Number of tables of a generation for so many aggregation keys: the tables have as many slots, or up to half as many
/// where the number is no power of two. Zero where the cache alone has more than half; bounded by the largest number of
/// tables.
fn tables(map_entries: u32) -> u32 {
    let most = u32::try_from(CACHE_SLOTS).unwrap_or(u32::MAX);
    match (map_entries / most).checked_ilog2() {
        None | Some(0) => 0,
        Some(bits) => (1 << bits).min(MOST_TABLES),
    }
}

/// Makes the maps, and prepares the loading of the programs. No program is attached yet.
pub(super) fn loader(options: &Options, config: &Config, features: &Features) -> Result<Loader, Error> {
    let log_level = if options.kernel_log { LOG_DEBUG } else { LOG_NOTHING };
    let mut unused_rings = Vec::new();
    if options.events.is_none() {
        unused_rings.push(RECORDS);
    }
    if !options.retransmits {
        unused_rings.push(SEGMENTS);
    }
    if !options.kernel_log {
        unused_rings.push(LOG);
    }
    // Each key may have names of its own, those in the cache too.
    let names = options.map_entries.saturating_add(config.cache_mask + 1);
    let mut max_entries = vec![
        ("TABLES", (GENERATIONS * config.tables).max(1)),
        ("FLOW_SLOTS", if options.flows == 0 { 1 } else { GENERATIONS * FLOW_TABLES }),
        ("DROPS_0", options.map_entries),
        ("DROPS_1", options.map_entries),
        ("NAMES_0", names),
        ("NAMES_1", names),
    ];
    if options.retransmits {
        max_entries.push((SEGMENTS, SEGMENT_ROOM));
    }
    if options.refused {
        max_entries.extend(refused::ROOMS);
    }
    match &options.events {
        Some(events) => max_entries.push((RECORDS, events.ring_size)),
        // The sampler is off.
        None => max_entries.extend([("SITES", 1), ("FLOWS", 1)]),
    }
    let rdonly_cast = features.rdonly_cast;
    let unused_rings = &unused_rings;
    Loader::new(
        tracer_ebpf::OBJECT,
        &Fitting { config, log_level, max_entries: &max_entries, rdonly_cast, unused_rings },
    )
}

/// Default number of aggregation keys: less on hosts with many CPUs, because each CPU has counts of its own (48 bytes
/// of a key in the hash and 128 in the tables, both generations together).
pub(crate) fn default_room() -> u32 {
    room_for(aya::util::nr_cpus().unwrap_or(1))
}

fn room_for(cpus: usize) -> u32 {
    /// Up to so many CPUs, there is room for the most keys.
    const MANY: usize = 128;
    let shrunk = MOST_ROOM >> cpus.div_ceil(MANY).next_power_of_two().ilog2();
    shrunk.max(LEAST_ROOM)
}

/// Nanoseconds of a tick of the kernel's timer, which is the resolution of the coarse clocks (`KTIME_LOW_RES`,
/// `include/linux/hrtimer_defs.h`).
pub(super) fn tick_ns() -> Result<u32, Error> {
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse);
    u32::try_from(resolution.tv_nsec).ok().filter(|ns| *ns > 0).ok_or_else(|| Error::Read {
        what: "resolution of CLOCK_MONOTONIC_COARSE",
        source: io::Error::other(format!("{resolution:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_has_no_more_slots_than_the_hash_has_room() {
        let slots = [0, 1, 2, 17, 256, 8192].map(cache_slots);
        assert_eq!(slots, [1, 1, 2, 16, 256, 256]);
    }

    #[test]
    fn tables_have_as_many_slots_as_there_is_room() {
        let tables = [0, 1, 256, 511, 512, 1024, 4096, 8191, 8192, u32::MAX].map(tables);
        assert_eq!(tables, [0, 0, 0, 0, 2, 4, 16, 16, 32, 32]);
    }

    #[test]
    fn there_is_less_room_for_each_of_many_cpus() {
        let rooms = [1, 64, 128, 129, 256, 512, 4096].map(room_for);
        assert_eq!(rooms, [8192, 8192, 8192, 4096, 4096, 2048, 1024]);
    }

    #[test]
    fn a_tick_is_a_tick() {
        let tick = tick_ns().unwrap();
        assert!((100_000..=10_000_000).contains(&tick), "CONFIG_HZ is between 100 and 1000 or so: {tick} ns");
    }
}
