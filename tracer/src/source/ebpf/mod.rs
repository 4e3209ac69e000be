//! The eBPF source: the kernel program on `kfree_skb`, its counts and its records.

mod hardware;
mod load;
mod record;
mod ring;
mod sys;
mod totals;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::programs::ProgramError;
use aya::{Ebpf, EbpfError};
use aya_log::EbpfLogger;
use thiserror::Error;
use tracer_common::{ABSENT, Config, InterfaceKey, InterfaceName};
use zerocopy::IntoBytes;

pub use load::{ProgramStats, page_size};
pub use record::{Record, interface_name, text};
pub use ring::{Drained, RingReader};
pub use totals::{Count, Totals};

use crate::kernel::btf::{BtfError, KernelBtf};
use crate::kernel::support::Facts;
use crate::ledger::{EbpfLedger, EventLedger, Ledger};
use crate::report::SourceReport;
use sys::MapReader;
use totals::TotalsReader;

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `BPF_TRACE_RAW_TP` with typed arguments: plain loads, the cheapest.
    TpBtf,
    /// `BPF_PROG_TYPE_RAW_TRACEPOINT`: fields are read by a helper.
    RawTracepoint,
    /// As `TpBtf`, with a program that does nothing: the yardstick of measurements.
    Nothing,
}

impl Mode {
    /// The name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::RawTracepoint => "raw_tracepoint",
            Self::Nothing => "nothing",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::TpBtf => "kfree_skb_btf",
            Self::RawTracepoint => "kfree_skb_raw",
            Self::Nothing => "kfree_skb_none",
        }
    }
}

/// What the source is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to attach.
    pub mode: Mode,
    /// Room for places in the hash; the cache of each CPU in front of it has as much, up to 256.
    pub map_entries: u32,
    /// Send records; none to count only.
    pub events: Option<EventOptions>,
    /// Count only this network namespace (inode number); 0 for all.
    pub netns: u32,
    /// Count only this interface; 0 for all.
    pub ifindex: u32,
    /// Let the kernel program log.
    pub kernel_log: bool,
    /// The kernel lets programs read its memory by address. Else records have no bytes, and an interface that a packet
    /// has left is told by its index.
    pub by_address: bool,
}

/// What records are to be like.
#[derive(Clone, Debug)]
pub struct EventOptions {
    /// Leading bytes of each packet, at most [`tracer_common::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// Records a second for each place, reason and CPU; 0 for no bound.
    pub rate: u32,
    /// Bytes of the ring buffer: a power of two, and at least a page.
    pub ring_size: u32,
}

/// Why the source cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel's types could not be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// As [`Error::Btf`], when attaching.
    #[error("cannot read the kernel's types from /sys/kernel/btf/vmlinux")]
    AyaBtf {
        /// What aya says.
        source: Box<aya::BtfError>,
    },
    /// The maps could not be created.
    #[error("cannot create the kernel program's maps")]
    Load {
        /// What aya says.
        source: Box<EbpfError>,
    },
    /// The verifier or a check of rights refused the program.
    #[error("the kernel refused the program for {} (its verifier's log is shown with -vv)", .mode.name())]
    Refused {
        /// Which program.
        mode: Mode,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The program was taken but could not be attached.
    #[error("cannot attach to the tracepoint kfree_skb as {}", .mode.name())]
    Attach {
        /// Which program.
        mode: Mode,
        /// What aya says.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program could not be detached.
    #[error("cannot detach from the tracepoint {what}")]
    Detach {
        /// The tracepoint.
        what: &'static str,
        /// What aya says.
        source: Box<aya::programs::ProgramError>,
    },
    /// The built object lacks a part; it does not fit this binary.
    #[error("the kernel program's object has no {what}")]
    Missing {
        /// Name of the map or program.
        what: &'static str,
    },
    /// A map is not what it should be.
    #[error("cannot open the map {what}")]
    Map {
        /// Name of the map.
        what: &'static str,
        /// What aya says.
        source: Box<aya::maps::MapError>,
    },
    /// Something that was loaded could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    /// The number of the error that the kernel answered with, if it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                return Some(errno);
            }
            cause = error.source();
        }
        None
    }

    /// What went wrong, and what can be done about it where that is known.
    pub fn explained(self, facts: &Facts) -> anyhow::Error {
        let obstacles = facts.explain_refusal(self.errno());
        let error = anyhow::Error::from(self);
        if obstacles.is_empty() {
            return error;
        }
        let advice: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{error:#}\n{}", advice.join("\n"))
    }
}

/// Tells the exact reason of what queueing disciplines drop.
const QDISC_DROP: &str = "qdisc_drop";
/// Tells what devices drop.
const TRAP_REPORT: &str = "devlink_trap_report";

/// The running source.
pub struct EbpfSource {
    ebpf: Ebpf,
    mode: Mode,
    program: OwnedFd,
    /// The programs on [`QDISC_DROP`] and [`TRAP_REPORT`], where they are attached.
    qdisc: Option<OwnedFd>,
    hardware: Option<OwnedFd>,
    totals: TotalsReader,
    interfaces: MapReader,
    has_events: bool,
}

impl EbpfSource {
    /// Loads and attaches: drops are counted from here on. Records, when asked for, come by the reader.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(options: &Options, btf: &KernelBtf) -> Result<(Self, Option<RingReader>), Error> {
        let tick_ns = load::tick_ns()?;
        let config = load::config(options, btf, tick_ns)?;
        let hears_hardware = hears_hardware(options, btf, &config);
        let trap_entries = if hears_hardware { hardware::ENTRIES.min(options.map_entries) } else { 1 };
        let mut ebpf = load::load_object(options, &config, trap_entries)?;
        if options.kernel_log
            && let Some(log) = load::take_log(&mut ebpf)
        {
            forward_log(log);
        }
        let ring = match &options.events {
            Some(_) => Some(
                RingReader::new(load::take_ring(&mut ebpf)?)
                    .map_err(|source| Error::Read { what: "RECORDS", source })?,
            ),
            None => None,
        };
        let cpus = aya::util::nr_cpus().map_err(|(what, source)| Error::Read { what, source })?;
        let fd = |name| load::map_fd(&ebpf, name);
        let totals = TotalsReader::open(fd, hears_hardware, cpus, tick_ns)?;
        let interfaces = MapReader::new(fd("INTERFACES")?, size_of::<InterfaceKey>(), size_of::<InterfaceName>());
        let mode = options.mode;
        load::attach(&mut ebpf, mode)?;
        let program = load::program_fd(&ebpf, mode)?;
        // Behind the other one, so that it finds nobody's notes but takes all.
        let tells_qdisc = config.qdisc_reason != 0 && mode != Mode::Nothing;
        let qdisc = if tells_qdisc { attach_extra(&mut ebpf, QDISC_DROP, "exact reasons of qdiscs") } else { None };
        let hardware = if hears_hardware { attach_extra(&mut ebpf, TRAP_REPORT, "hardware drops") } else { None };
        let has_events = ring.is_some();
        Ok((Self { ebpf, mode, program, qdisc, hardware, totals, interfaces, has_events }, ring))
    }

    /// How the program is attached.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What was counted so far.
    pub fn totals(&self) -> Result<Totals, Error> {
        self.totals.read().map_err(|source| Error::Read { what: "the kernel program's counts", source })
    }

    /// The name that an interface had at its first drop.
    pub fn interface_name(&self, netns: u32, ifindex: u32) -> Option<String> {
        let mut name = InterfaceName::default();
        let found = self.interfaces.lookup(InterfaceKey { netns, ifindex }.as_bytes(), &mut name);
        found.is_ok_and(|found| found).then(|| interface_name(&name).map(str::to_owned)).flatten()
    }

    /// The account, given what was read of it.
    pub fn ledger(&self, totals: &Totals, drained: Drained) -> EbpfLedger {
        let counters = &totals.counters;
        EbpfLedger {
            hits: counters.hits,
            accounted: totals.accounted(),
            overflow: counters.overflow,
            filtered: counters.filtered,
            missed: self.missed(),
            qdisc_untaken: self.qdisc.as_ref().map(|_| totals.qdisc_untaken),
            events: self.has_events.then_some(EventLedger {
                offered: counters.offered,
                submitted: counters.submitted,
                suppressed: counters.suppressed,
                ring_full: counters.ring_full,
                delivered: drained.delivered,
                undecodable: drained.undecodable,
                unreadable: counters.unreadable,
            }),
        }
    }

    /// The account with the source's name, for sinks.
    pub fn report(&self, totals: &Totals, drained: Drained) -> SourceReport {
        let ledger = Ledger::Ebpf(self.ledger(totals, drained));
        SourceReport { mode: self.mode.name(), ledger }
    }

    /// Drops that the kernel did not show to the programs that count them.
    fn missed(&self) -> Option<u64> {
        let programs = [Some(&self.program), self.hardware.as_ref()].into_iter().flatten();
        programs.map(|program| ProgramStats::read(program).ok()?.recursion_misses).sum()
    }

    /// What the kernel knows of the program on `kfree_skb`.
    pub fn program_stats(&self) -> io::Result<ProgramStats> {
        ProgramStats::read(&self.program)
    }

    /// Detaches the program and waits for its last runs: what is read afterwards is final.
    pub fn detach(&mut self) -> Result<(), Error> {
        // The one that takes the other's notes is the last.
        for (name, _) in
            [(QDISC_DROP, &self.qdisc), (TRAP_REPORT, &self.hardware)].iter().filter(|(_, fd)| fd.is_some())
        {
            load::detach_extra(&mut self.ebpf, name)
                .map_err(|source| Error::Detach { what: name, source: Box::new(source) })?;
        }
        load::detach(&mut self.ebpf, self.mode)?;
        if let Err(error) = sys::wait_for_running_programs() {
            // A seccomp filter, or nohz_full CPUs. A run takes microseconds.
            tracing::debug!("membarrier: {error}; waiting instead");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Whether what devices drop can be heard here: their traps' names are read by address.
fn hears_hardware(options: &Options, btf: &KernelBtf, config: &Config) -> bool {
    let is_told = btf.tells_hardware_drops() && config.offsets.trap_name != ABSENT && options.mode != Mode::Nothing;
    if is_told && !options.by_address {
        tracing::warn!("the kernel is locked down (confidentiality): what network devices drop is not counted");
    }
    is_told && options.by_address
}

/// Attaches a program that the account can do without.
fn attach_extra(ebpf: &mut Ebpf, name: &'static str, what: &str) -> Option<OwnedFd> {
    load::attach_extra(ebpf, name)
        .inspect_err(|error| {
            tracing::warn!("{what} are not told: cannot attach to the tracepoint {name}: {error}");
            if let ProgramError::LoadError { verifier_log, .. } = error {
                tracing::debug!("verifier log of {name}:\n{verifier_log}");
            }
        })
        .ok()
}

/// Prints what the kernel program logs, for as long as the runtime lives.
fn forward_log(log: EbpfLogger<&'static dyn log::Log>) {
    let Ok(mut log) = sys::watch(log) else { return };
    tokio::spawn(async move {
        while let Ok(mut guard) = log.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    });
}
