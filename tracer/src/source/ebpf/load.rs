//! Loads the kernel program with what this kernel is like written into it, and attaches it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::{Map, MapData, RingBuf};
use aya::programs::{BtfTracePoint, Program, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use tracer_common::{BYTES_CAST, BYTES_NONE, CACHE_SLOTS, Config, MAX_SNAPLEN, READ_CAST};
use zerocopy::IntoBytes;

use super::feature::Features;
use super::identify::NamespaceQuestion;
use super::object::{self, Fitting};
use super::{Error, Mode, Options};
use crate::kernel::btf::KernelBtf;

const TRACEPOINT: &str = "kfree_skb";
/// The ring buffer of records, and that of the program's own log.
const RECORDS: &str = "RECORDS";
const LOG: &str = "AYA_LOGS";

/// No pointer of the kernel is below this, with four or five levels of page tables alike; a pointer that another
/// member of its union shows through is (`dev_scratch` is small, `arch/x86/include/asm/page_64_types.h`).
const KERNEL_SPACE: u64 = 0xff00_0000_0000_0000;

/// `aya-log`'s level for nothing and for all that the program says.
const LOG_NOTHING: u8 = 0;
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

/// What userspace writes into the program.
pub(super) fn config(options: &Options, btf: &KernelBtf, features: &Features, tick_ns: u32) -> Result<Config, Error> {
    let tracepoint = btf.tracepoint()?;
    let events = options.events.as_ref();
    let value_of = |enumeration, name| {
        let values = btf.enumerators(enumeration).into_iter();
        values.filter(|(known, _)| known == name).find_map(|(_, value)| u32::try_from(value).ok())
    };
    let general =
        if btf.tells_qdisc_drops() { value_of("skb_drop_reason", "SKB_DROP_REASON_QDISC_DROP") } else { None };
    Ok(Config {
        kernel_space: KERNEL_SPACE,
        offsets: btf.offsets()?,
        types: features.types,
        reads: features.reads().ok_or(Error::Unreadable)?,
        bytes: features.bytes(),
        may_probe: features.may_probe.into(),
        has_reason: tracepoint.has_reason.into(),
        has_rx_sk: tracepoint.has_rx_sk.into(),
        tick_ns,
        events: events.is_some().into(),
        snaplen: captured(options, features),
        rate: events.map_or(0, |events| events.rate),
        // A quarter leaves the reader time to come while the rest fills.
        wakeup_bytes: events.map_or(0, |events| events.ring_size / 4),
        filters_netns: options.netns.is_some().into(),
        ifindex: options.ifindex,
        cache_mask: cache_slots(options.map_entries) - 1,
        qdisc_reason: general.unwrap_or(0),
        // No type has the greatest number.
        trap_control: value_of("devlink_trap_type", "DEVLINK_TRAP_TYPE_CONTROL").unwrap_or(u32::MAX),
        vlan_present_mask: btf.vlan_present_mask(),
        padding: 0,
    })
}

/// Leading bytes of each packet: without the helper they are read by words.
fn captured(options: &Options, features: &Features) -> u32 {
    let snaplen = options.events.as_ref().map_or(0, |events| events.snaplen);
    match features.bytes() {
        BYTES_NONE => 0,
        BYTES_CAST => snaplen.next_multiple_of(8).min(MAX_SNAPLEN),
        _ => snaplen,
    }
}

/// Slots of the cache that are used with so much room for keys: few where few are wanted.
fn cache_slots(map_entries: u32) -> u32 {
    let most = u32::try_from(CACHE_SLOTS).unwrap_or(u32::MAX);
    map_entries.checked_ilog2().map_or(1, |bits| 1 << bits).min(most)
}

/// Creates the maps and prepares the programs; nothing is attached yet.
pub(super) fn load_object(options: &Options, config: &Config, features: &Features) -> Result<Ebpf, Error> {
    let log_level = if options.kernel_log { LOG_DEBUG } else { LOG_NOTHING };
    let events = options.events.as_ref();
    let mut unused_rings = Vec::new();
    if events.is_none() {
        unused_rings.push(RECORDS);
    }
    if !options.kernel_log {
        unused_rings.push(LOG);
    }
    let rdonly_cast = features.rdonly_cast.filter(|_| config.reads == READ_CAST || config.bytes == BYTES_CAST);
    let object = object::fitted(tracer_ebpf::OBJECT, &Fitting { rdonly_cast, unused_rings: &unused_rings })?;
    // Keys that found their slot of a CPU's cache free are in no hash, but have names.
    let places = options.map_entries.saturating_add(config.cache_mask + 1);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("CONFIG", config.as_bytes(), true)
        .override_global("AYA_LOG_LEVEL", &log_level, true)
        .map_max_entries("DROPS_0", options.map_entries)
        .map_max_entries("DROPS_1", options.map_entries)
        .map_max_entries("PLACES_0", places)
        .map_max_entries("PLACES_1", places);
    if let Some(events) = events {
        loader.map_max_entries(RECORDS, events.ring_size);
    } else {
        // Nothing is sampled.
        loader.map_max_entries("SITES", 1).map_max_entries("FLOWS", 1);
    }
    loader.load(&object).map_err(|source| Error::Load { source: Box::new(source) })
}

/// Loads the program that says which namespace a file stands for.
pub(super) fn namespace_question(ebpf: &mut Ebpf) -> Result<NamespaceQuestion, Error> {
    const NAME: &str = "namespace_of_file";
    let answer = map_fd(ebpf, "NAMESPACE")?;
    let mut load = || {
        let program = extra_mut(ebpf, NAME)?;
        program.load()?;
        Ok(program.fd()?.as_fd().try_clone_to_owned()?)
    };
    let program = load().map_err(|source: ProgramError| {
        if let ProgramError::LoadError { verifier_log, .. } = &source {
            tracing::debug!("verifier log of {NAME}:\n{verifier_log}");
        }
        Error::Attach { mode: Mode::RawTracepoint, source: Box::new(source) }
    })?;
    Ok(NamespaceQuestion::new(program, answer))
}

/// The size of a page, which is the least that a ring buffer has.
pub fn page_size() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// Attaches the program of this mode.
pub(super) fn attach(ebpf: &mut Ebpf, mode: Mode) -> Result<(), Error> {
    let refused = |source| refusal(mode, source);
    match mode {
        Mode::TpBtf | Mode::Nothing => {
            let btf = Btf::from_sys_fs().map_err(|source| Error::AyaBtf { source: Box::new(source) })?;
            let program: &mut BtfTracePoint = program_mut(ebpf, mode)?.try_into().map_err(refused)?;
            program.load(TRACEPOINT, &btf).map_err(refused)?;
            program.attach().map_err(refused)?;
        }
        Mode::RawTracepoint => {
            let program: &mut RawTracePoint = program_mut(ebpf, mode)?.try_into().map_err(refused)?;
            program.load().map_err(refused)?;
            program.attach(TRACEPOINT).map_err(refused)?;
        }
    }
    Ok(())
}

/// The verifier's log goes to the debug log: it is for those who change the program.
fn refusal(mode: Mode, source: ProgramError) -> Error {
    match source {
        ProgramError::LoadError { io_error, verifier_log } => {
            tracing::debug!("verifier log of {}:\n{verifier_log}", mode.program());
            Error::Refused { mode, source: io_error }
        }
        source => Error::Attach { mode, source: Box::new(source) },
    }
}

fn program_mut(ebpf: &mut Ebpf, mode: Mode) -> Result<&mut Program, Error> {
    ebpf.program_mut(mode.program()).ok_or(Error::Missing { what: mode.program() })
}

/// Attaches a program beside the one on `kfree_skb`, to the tracepoint that it is named after; a handle on it.
pub(super) fn attach_extra(ebpf: &mut Ebpf, name: &'static str) -> Result<OwnedFd, ProgramError> {
    let program = extra_mut(ebpf, name)?;
    program.load()?;
    program.attach(name)?;
    Ok(program.fd()?.as_fd().try_clone_to_owned()?)
}

/// Detaches it.
pub(super) fn detach_extra(ebpf: &mut Ebpf, name: &'static str) -> Result<(), ProgramError> {
    extra_mut(ebpf, name)?.unload()
}

fn extra_mut<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut RawTracePoint, ProgramError> {
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

/// Detaches; the program stays loaded, so that its counters can be read.
pub(super) fn detach(ebpf: &mut Ebpf, mode: Mode) -> Result<(), Error> {
    let refused = |source| refusal(mode, source);
    match (mode, program_mut(ebpf, mode)?) {
        (Mode::TpBtf | Mode::Nothing, Program::BtfTracePoint(program)) => program.unload().map_err(refused),
        (Mode::RawTracepoint, Program::RawTracePoint(program)) => program.unload().map_err(refused),
        _ => Err(Error::Missing { what: mode.program() }),
    }
}

/// A second handle on the program, which outlives its unloading.
pub(super) fn program_fd(ebpf: &Ebpf, mode: Mode) -> Result<OwnedFd, Error> {
    let missing = Error::Missing { what: mode.program() };
    let program = ebpf.program(mode.program()).ok_or(missing)?;
    let info = program.fd().map_err(|source| refusal(mode, source))?;
    info.as_fd().try_clone_to_owned().map_err(|source| Error::Read { what: "program", source })
}

/// A handle on a map of counts.
pub(super) fn map_fd(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, Error> {
    let Some(Map::Array(map) | Map::PerCpuArray(map) | Map::PerCpuHashMap(map) | Map::HashMap(map)) = ebpf.map(name)
    else {
        return Err(Error::Missing { what: name });
    };
    map.fd().as_fd().try_clone_to_owned().map_err(|source| Error::Read { what: name, source })
}

/// The ring buffer of records.
pub(super) fn take_ring(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, Error> {
    let map = ebpf.take_map(RECORDS).ok_or(Error::Missing { what: RECORDS })?;
    RingBuf::try_from(map).map_err(|source| Error::Map { what: RECORDS, source: Box::new(source) })
}

/// The program's own log.
pub(super) fn take_log(ebpf: &mut Ebpf) -> Option<EbpfLogger<&'static dyn log::Log>> {
    EbpfLogger::init(ebpf).inspect_err(|error| tracing::warn!("cannot read the kernel program's log: {error}")).ok()
}

/// What the kernel knows of a program (`bpf_prog_show_fdinfo`, `kernel/bpf/syscall.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// Runs that did not happen, for the program was running already on that CPU; none where the kernel does not tell.
    pub recursion_misses: Option<u64>,
    /// Nanoseconds that it ran, while the kernel's BPF statistics were on.
    pub run_time_ns: u64,
    /// Runs in that time.
    pub runs: u64,
}

impl ProgramStats {
    pub(super) fn read(program: &OwnedFd) -> io::Result<Self> {
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).map(|text| Self::parse(&text))
    }

    fn parse(fdinfo: &str) -> Self {
        let field = |name| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
            fdinfo.lines().find_map(value)
        };
        Self {
            recursion_misses: field("recursion_misses"),
            run_time_ns: field("run_time_ns").unwrap_or(0),
            runs: field("run_cnt").unwrap_or(0),
        }
    }
}

/// Nanoseconds of a tick of the kernel's timer: what the coarse clocks can tell apart
/// (`KTIME_LOW_RES`, `include/linux/hrtimer_defs.h`).
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
    fn program_stats_are_read_from_fdinfo() {
        let fdinfo = "pos:\t0\nprog_type:\t26\nrun_time_ns:\t900\nrun_cnt:\t20\nrecursion_misses:\t17\n";
        let stats = ProgramStats { recursion_misses: Some(17), run_time_ns: 900, runs: 20 };
        assert_eq!(ProgramStats::parse(fdinfo), stats);
        assert_eq!(ProgramStats::parse("pos:\t0\nrecursion_misses:\tx\n"), ProgramStats::default());
    }

    #[test]
    fn the_cache_has_no_more_slots_than_the_hash_has_room() {
        let slots = [0, 1, 2, 17, 256, 8192].map(cache_slots);
        assert_eq!(slots, [1, 1, 2, 16, 256, 256]);
    }

    #[test]
    fn a_tick_is_a_tick() {
        let tick = tick_ns().unwrap();
        assert!((100_000..=10_000_000).contains(&tick), "CONFIG_HZ is between 100 and 1000 or so: {tick} ns");
    }
}
